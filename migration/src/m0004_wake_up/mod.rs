//! New rows of the outbox wake the workers, where the database can tell them.

use sea_orm_migration::prelude::*;

use crate::postgres::in_postgres;

pub(crate) struct WakeUp;

impl MigrationName for WakeUp {
    fn name(&self) -> &'static str {
        "m0004_wake_up"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for WakeUp {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        in_postgres(manager, include_str!("postgres_down.sql")).await
    }
}
