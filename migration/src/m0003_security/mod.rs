//! What is dangerous has to be allowed: plain text to other machines, and sessions that the broker forgets.

use sea_orm_migration::prelude::*;

const COLUMNS: [(&str, &str); 2] = [
    ("event_bus_runtime_config", "allow_plaintext"),
    ("event_bus_mqtt_settings", "allow_clean_session"),
];

/// Whoever had set it goes on as before.
const AS_BEFORE: &str =
    "UPDATE event_bus_mqtt_settings SET allow_clean_session = clean_session WHERE clean_session";

pub(crate) struct Security;

impl MigrationName for Security {
    fn name(&self) -> &'static str {
        "m0003_security"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for Security {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            if !manager.has_column(table, column).await? {
                let added = ColumnDef::new(column).boolean().not_null().default(false).to_owned();
                manager
                    .alter_table(Table::alter().table(table).add_column(added).to_owned())
                    .await?;
            }
        }
        manager.get_connection().execute_unprepared(AS_BEFORE).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            if manager.has_column(table, column).await? {
                manager
                    .alter_table(Table::alter().table(table).drop_column(column).to_owned())
                    .await?;
            }
        }
        Ok(())
    }
}
