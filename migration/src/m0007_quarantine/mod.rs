//! A message that is delivered again is kept in quarantine once.

use sea_orm_migration::prelude::*;

const TABLE: &str = "quarantined_message";
/// SHA-256 of what arrived. Null for rows from before, which nothing is compared with.
const COLUMN: &str = "arrival_digest";
const INDEX: &str = "quarantined_message_arrival";
const DIGEST_BYTES: u32 = 32;

pub(crate) struct Quarantine;

impl MigrationName for Quarantine {
    fn name(&self) -> &'static str {
        "m0007_quarantine"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's own signature leaves the lifetime out")]
impl MigrationTrait for Quarantine {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column(TABLE, COLUMN).await? {
            let added = ColumnDef::new(COLUMN).binary_len(DIGEST_BYTES).to_owned();
            manager.alter_table(Table::alter().table(TABLE).add_column(added).to_owned()).await?;
        }
        if !manager.has_index(TABLE, INDEX).await? {
            let create = format!("CREATE INDEX {INDEX} ON {TABLE} ({COLUMN})");
            manager.get_connection().execute_unprepared(&create).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index(TABLE, INDEX).await? {
            manager.drop_index(Index::drop().name(INDEX).table(TABLE).to_owned()).await?;
        }
        if manager.has_column(TABLE, COLUMN).await? {
            manager.alter_table(Table::alter().table(TABLE).drop_column(COLUMN).to_owned()).await?;
        }
        Ok(())
    }
}
