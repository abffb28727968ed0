//! The number of a row with an ordering key is not older than the lock on the key.

use sea_orm_migration::prelude::*;

use crate::postgres::in_postgres;

pub(crate) struct LateNumbers;

impl MigrationName for LateNumbers {
    fn name(&self) -> &'static str {
        "m0008_late_numbers"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for LateNumbers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres_down.sql")).await
    }
}
