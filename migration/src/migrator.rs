//! Applying and taking back migrations, one process at a time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use crate::m0001_create_tables::CreateTables;
use crate::m0002_retention::Retention;
use crate::m0003_security::Security;
use crate::m0004_wake_up::WakeUp;
use crate::m0005_late_rows::LateRows;
use crate::m0007_quarantine::Quarantine;
use crate::m0008_late_numbers::LateNumbers;
use crate::mysql;

/// Any number, as long as nobody else takes it: the lock that lets one process migrate at a time.
const ADVISORY_LOCK: i64 = 7_077_190_413_511_042;

/// The list of migrations, for programs that run their own. The record of what was applied is the table
/// `postroad_migrations`, so that the service whose database this is can keep its `seaql_migrations` to itself.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateTables),
            Box::new(Retention),
            Box::new(Security),
            Box::new(WakeUp),
            Box::new(LateRows),
            Box::new(Quarantine),
            Box::new(LateNumbers),
        ]
    }

    fn migration_table_name() -> DynIden {
        "postroad_migrations".into_iden()
    }
}

/// Applies every migration that is missing; processes that do it at the same time wait for each other. All or nothing, but in
/// MariaDB and MySQL, which commit each statement about tables: there a migration that failed halfway goes on the next time.
pub async fn up(db: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    let outcome = Migrator::up(&transaction, None).await;
    end(transaction, outcome).await
}

/// Takes back the newest `steps` migrations, with the data in their tables. All or nothing, but in MariaDB and MySQL.
pub async fn down(db: &DatabaseConnection, steps: u32) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    let outcome = Migrator::down(&transaction, Some(steps)).await;
    end(transaction, outcome).await
}

async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    match transaction.get_database_backend() {
        DbBackend::Postgres => {
            transaction
                .execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
                .await?;
        }
        DbBackend::MySql => mysql::lock(&transaction).await?,
        _ => {}
    }
    Ok(transaction)
}

async fn end(transaction: DatabaseTransaction, outcome: Result<(), DbErr>) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::MySql {
        // Where that fails, so did the connection, and the lock with it.
        mysql::unlock(&transaction).await.ok();
    }
    outcome?;
    transaction.commit().await
}
