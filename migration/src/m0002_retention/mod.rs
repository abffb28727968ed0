//! How long what is done with is kept, and who deletes it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::mysql;

const CONFIG: &str = "event_bus_runtime_config";

const COLUMNS: [&str; 7] = [
    "retention_days_published",
    "retention_days_processed",
    "retention_days_error",
    "retention_days_invalid",
    "retention_days_quarantined",
    "retention_days_dedupe",
    "delete_on_publish",
];

const INDEX: &str = "inbound_dedupe_created";

pub(crate) struct Retention;

impl MigrationName for Retention {
    fn name(&self) -> &'static str {
        "m0002_retention"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for Retention {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let script = match connection.get_database_backend() {
            DbBackend::Sqlite => include_str!("sqlite.sql"),
            DbBackend::Postgres => include_str!("postgres.sql"),
            DbBackend::MySql => return up_in_mysql(manager).await,
            other => {
                return Err(DbErr::BackendNotSupported {
                    db: other.as_str(),
                    ctx: "the tables of Postroad",
                });
            }
        };
        connection.execute_unprepared(script).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("inbound_dedupe", INDEX).await? {
            manager
                .drop_index(Index::drop().name(INDEX).table("inbound_dedupe").to_owned())
                .await?;
        }
        let table = Table::drop().table("event_bus_maintenance").if_exists().to_owned();
        manager.drop_table(table).await?;
        for column in COLUMNS {
            if manager.has_column(CONFIG, column).await? {
                let alter = Table::alter().table(CONFIG).drop_column(column).to_owned();
                manager.alter_table(alter).await?;
            }
        }
        Ok(())
    }
}

/// Goes on where a migration that failed halfway left off: neither MariaDB nor MySQL can take back what it did.
async fn up_in_mysql(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    if !manager.has_column(CONFIG, COLUMNS[0]).await? {
        connection.execute_unprepared(include_str!("mysql_columns.sql")).await?;
    }
    let table = mysql::script(connection, include_str!("mysql_table.sql")).await?;
    connection.execute_unprepared(&table).await?;
    if !manager.has_index("inbound_dedupe", INDEX).await? {
        let create = format!("CREATE INDEX {INDEX} ON inbound_dedupe (config_key, created_at)");
        connection.execute_unprepared(&create).await?;
    }
    Ok(())
}
