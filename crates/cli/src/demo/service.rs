//! A service of the demo: it knows its own outbox and inbox, and nothing of a broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postroad_store::config::Config;
use postroad_store::query::inbox::{self, InboxRecord};
use postroad_store::query::outbox::{self, Filter, OutboxRecord};
use postroad_store::query::quarantine::{self, QuarantineRecord};
use postroad_store::query::status::{self, ConfigStatus};
use postroad_store::{Database, NewMessage, SqlStore, enqueue};
use postroad_transport::Transport;
use postroad_worker_core::{Codec, Counts, Settings, Worker, WorkerIdentity};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A step that takes longer has failed.
const STEP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Service {
    pub(crate) name: &'static str,
    database: Database,
    worker: JoinHandle<Counts>,
    stop: CancellationToken,
}

impl Service {
    /// Starts the worker of a service by the config of its name.
    pub(crate) fn start<T: Transport, C: Codec>(
        database: &Database,
        config: &Config,
        name: &'static str,
        transport: T,
        codec: C,
    ) -> Self {
        let settings = Settings {
            poll_interval: Duration::from_millis(config.runtime.poll_interval_ms.into()),
            heartbeat_interval: Duration::from_secs(
                config.runtime.heartbeat_interval_seconds.into(),
            ),
            ..Settings::new(name, name)
        };
        let identity = WorkerIdentity {
            id: Uuid::now_v7().to_string(),
            host: "demo".to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let stop = CancellationToken::new();
        let worker = Worker {
            store: Arc::new(SqlStore::new(database.clone(), name)),
            transport: Arc::new(transport),
            codec: Arc::new(codec),
            settings,
            identity,
        };
        let worker = tokio::spawn(worker.run(stop.clone()));
        Self { name, database: database.clone(), worker, stop }
    }

    /// Waits until the worker is connected both ways.
    pub(crate) async fn connected(&self) -> Result<()> {
        self.until("its broker", async || {
            let status = status::status(&self.database, Some(self.name)).await?;
            let running =
                |config: &ConfigStatus| config.worker_status.as_deref() == Some("running");
            Ok(status.configs.iter().any(running).then_some(()))
        })
        .await
    }

    /// Writes messages into the outbox in one transaction, as a service would beside its own tables.
    pub(crate) async fn send(
        &self,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<Vec<String>> {
        let transaction = self.database.begin().await?;
        let mut ids = Vec::new();
        for message in messages {
            ids.push(enqueue(&transaction, message.config_key(self.name)).await?);
        }
        transaction.commit().await?;
        Ok(ids)
    }

    /// Waits for a message in the inbox and marks it as processed.
    pub(crate) async fn take(
        &self,
        what: &str,
        wanted: impl Fn(&InboxRecord) -> bool,
    ) -> Result<InboxRecord> {
        let filter = Filter {
            config_key: Some(self.name.to_owned()),
            status: Some("pending".to_owned()),
            limit: 100,
        };
        self.until(what, async || {
            let pending = inbox::list(&self.database, &filter).await?;
            let Some(record) = pending.into_iter().find(&wanted) else { return Ok(None) };
            inbox::done(&self.database, &record.id).await?;
            Ok(Some(record))
        })
        .await
    }

    /// Waits for a message in quarantine.
    pub(crate) async fn quarantined(&self, topic: &str) -> Result<QuarantineRecord> {
        self.until("the message in quarantine", async || {
            let kept = quarantine::list(&self.database, Some(self.name), 100).await?;
            Ok(kept.into_iter().find(|record| record.topic == topic))
        })
        .await
    }

    /// Waits until an outbox row is no longer pending.
    pub(crate) async fn settled(&self, id: &str) -> Result<OutboxRecord> {
        self.until("a row to be settled", async || match outbox::get(&self.database, id).await? {
            Some(record) => Ok((record.status != "pending").then_some(record)),
            None => bail!("outbox row {id} is gone"),
        })
        .await
    }

    /// Looks until there is something to be seen.
    async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let seen = async {
            loop {
                if let Some(seen) = look().await? {
                    return Ok(seen);
                }
                sleep(LOOK).await;
            }
        };
        timeout(STEP, seen)
            .await
            .with_context(|| format!("{} waited in vain for {what}", self.name))?
    }

    pub(crate) async fn stop(self) -> Result<Counts> {
        self.stop.cancel();
        self.worker.await.with_context(|| format!("the worker of {} panicked", self.name))
    }
}
