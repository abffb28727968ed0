//! Rows of one ordering key keep their order though they may be committed in another one.
//!
//! MariaDB and MySQL can read what is not committed, and SQLite has one writer at a time: neither needs anything.

use sea_orm_migration::prelude::*;

use crate::postgres::in_postgres;

pub(crate) struct LateRows;

impl MigrationName for LateRows {
    fn name(&self) -> &'static str {
        "m0005_late_rows"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for LateRows {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres_down.sql")).await
    }
}
