//! The database of a command that needs it now, with the schema of this version.

use anyhow::{Context, Result, bail};
use postroad_migration::SchemaState;
use postroad_store::Database;

/// Opens the database and checks that it answers and has the tables.
pub(crate) async fn open(url: &str) -> Result<Database> {
    let database = connect(url).await?;
    let state = postroad_migration::schema_state(database.connection()).await;
    match state.context("cannot read the schema")? {
        SchemaState::Current => Ok(database),
        state @ SchemaState::TooNew { .. } => bail!("{state}: upgrade postroad"),
        state => bail!("{state}: run `postroad migrate up`"),
    }
}

/// Opens the database and checks that it answers.
pub(crate) async fn connect(url: &str) -> Result<Database> {
    let database =
        postroad_store::connect(url).await.context("cannot use --database-url or DATABASE_URL")?;
    database.ping().await.context("cannot reach the database of --database-url or DATABASE_URL")?;
    Ok(database)
}
