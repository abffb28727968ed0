//! Applying and taking back migrations, one process at a time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use crate::m0001_create_tables::CreateTables;

/// Any number, as long as nobody else takes it: the lock that lets one process migrate at a time.
const ADVISORY_LOCK: i64 = 7_077_190_413_511_042;

/// The list of migrations, for programs that run their own. The record of what was applied is the table
/// `postroad_migrations`, so that the service whose database this is can keep its `seaql_migrations` to itself.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateTables)]
    }

    fn migration_table_name() -> DynIden {
        "postroad_migrations".into_iden()
    }
}

/// Applies every migration that is missing. All or nothing; processes that do it at the same time wait for each other.
pub async fn up(db: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}

/// Takes back the newest `steps` migrations, with the data in their tables. All or nothing.
pub async fn down(db: &DatabaseConnection, steps: u32) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    Migrator::down(&transaction, Some(steps)).await?;
    transaction.commit().await
}

async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction
            .execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            .await?;
    }
    Ok(transaction)
}
