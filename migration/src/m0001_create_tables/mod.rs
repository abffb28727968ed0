//! Every table of the first release.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::mysql;

/// In an order in which they can be dropped.
const TABLES: [&str; 8] = [
    "event_bus_worker",
    "event_bus_mqtt_settings",
    "event_bus_rabbitmq_settings",
    "event_bus_runtime_config",
    "quarantined_message",
    "inbound_dedupe",
    "inbound_event",
    "outbound_event",
];

pub(crate) struct CreateTables;

impl MigrationName for CreateTables {
    fn name(&self) -> &'static str {
        "m0001_create_tables"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for CreateTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let script = match connection.get_database_backend() {
            DbBackend::Sqlite => include_str!("sqlite.sql").to_owned(),
            DbBackend::Postgres => include_str!("postgres.sql").to_owned(),
            DbBackend::MySql => mysql::script(connection, include_str!("mysql.sql")).await?,
            other => {
                return Err(DbErr::BackendNotSupported {
                    db: other.as_str(),
                    ctx: "the tables of Postroad",
                });
            }
        };
        connection.execute_unprepared(&script).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager.drop_table(Table::drop().table(table).if_exists().to_owned()).await?;
        }
        Ok(())
    }
}
