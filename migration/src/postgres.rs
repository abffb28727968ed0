//! What only PostgreSQL needs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Runs the script where the database is PostgreSQL, and does nothing in another one.
pub(crate) async fn in_postgres(manager: &SchemaManager<'_>, script: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    if connection.get_database_backend() == DbBackend::Postgres {
        connection.execute_unprepared(script).await?;
    }
    Ok(())
}
