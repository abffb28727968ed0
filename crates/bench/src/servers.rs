//! Where the servers are.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use postroad_store::Database;

use crate::args::DatabaseKind;

/// A database under test.
pub(crate) struct Store {
    pub(crate) kind: DatabaseKind,
    pub(crate) url: String,
    pub(crate) database: Database,
}

impl Store {
    /// With all tables. SQLite's file is in `folder`.
    pub(crate) async fn open(kind: DatabaseKind, folder: &Path) -> Result<Self> {
        let url = match kind {
            DatabaseKind::Postgres => variable("POSTROAD_TEST_POSTGRES_URL")?,
            DatabaseKind::Mariadb => variable("POSTROAD_TEST_MARIADB_URL")?,
            DatabaseKind::Sqlite => {
                format!("sqlite://{}?mode=rwc", folder.join("bench.db").display())
            }
        };
        let database = postroad_store::connect(&url).await?;
        postroad_migration::up(database.connection()).await.context("cannot make the tables")?;
        Ok(Self { kind, url, database })
    }
}

/// Where RabbitMQ is.
#[derive(Debug, Clone)]
pub(crate) struct Rabbit {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) virtual_host: String,
}

impl Rabbit {
    /// From `amqp://user:password@host:port/%2f`.
    pub(crate) fn from_env() -> Result<Self> {
        let url = variable("POSTROAD_TEST_AMQP_URL")?;
        Self::parse(&url)
            .context("POSTROAD_TEST_AMQP_URL is not amqp://user:password@host:port/vhost")
    }

    fn parse(url: &str) -> Option<Self> {
        let (user, rest) = url.strip_prefix("amqp://")?.split_once('@')?;
        let (username, password) = user.split_once(':')?;
        let (address, virtual_host) = rest.split_once('/').unwrap_or((rest, "%2f"));
        let (host, port) = address.rsplit_once(':')?;
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
            username: username.to_owned(),
            password: password.to_owned(),
            virtual_host: virtual_host.replace("%2f", "/").replace("%2F", "/"),
        })
    }
}

pub(crate) fn mqtt_url() -> Result<String> {
    variable("POSTROAD_TEST_MQTT_URL")
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set; `cargo xtask bench` sets it"))
}
