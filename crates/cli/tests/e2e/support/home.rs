//! A place for tests that need no server.

use tempfile::TempDir;

use super::postroad::Postroad;
use super::sql::Sql;

/// One service, `ebmr`, over the broker inside the worker.
const CONFIG: &str = r#"
[config.default]
broker_type = "memory"
source_service = "ebmr"
heartbeat_interval_seconds = 1
poll_interval_ms = 20
"#;

/// A new SQLite database in a folder that goes with it.
pub(crate) struct Home {
    pub(crate) postroad: Postroad,
    pub(crate) sql: Sql,
    _folder: TempDir,
}

impl Home {
    /// Without tables.
    pub(crate) async fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/bus.db?mode=rwc", folder.path().display());
        let sql = Sql::connect(&url).await;
        Self { postroad: Postroad::new(url, folder.path()), sql, _folder: folder }
    }

    /// With tables.
    pub(crate) async fn migrated() -> Self {
        let home = Self::empty().await;
        home.postroad.done(&["migrate", "up"]);
        home
    }

    /// With the config `default` for the service `ebmr`.
    pub(crate) async fn configured() -> Self {
        let home = Self::migrated().await;
        home.postroad.import(CONFIG);
        home
    }
}
