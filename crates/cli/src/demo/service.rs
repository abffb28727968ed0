//! A service of the demo: it knows its own outbox and inbox, and nothing of a broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postroad_store::query::inbox::{self, InboxRecord};
use postroad_store::query::outbox::{self, Filter, OutboxRecord};
use postroad_store::{Database, NewMessage, SqlStore, config, enqueue};
use postroad_transport_memory::Broker;
use postroad_worker_core::{Counts, EnvelopeCodec, Settings, Worker, WorkerIdentity};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::transports;

/// A step that takes longer has failed.
const STEP: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Service {
    pub(crate) name: &'static str,
    database: Database,
    worker: JoinHandle<Counts>,
    stop: CancellationToken,
}

impl Service {
    /// Starts the worker of a service that has a config by its name.
    pub(crate) async fn start(
        database: &Database,
        broker: &Broker,
        name: &'static str,
    ) -> Result<Self> {
        let config = config::load(database, name).await?.context("the config was imported")?;
        let transport = transports::memory(broker.clone(), &config.runtime, &config.rabbitmq)?;
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
            codec: Arc::new(EnvelopeCodec),
            settings,
            identity,
        };
        let worker = tokio::spawn(worker.run(stop.clone()));
        Ok(Self { name, database: database.clone(), worker, stop })
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
        let found = async {
            loop {
                let pending = inbox::list(&self.database, &filter).await?;
                if let Some(record) = pending.into_iter().find(&wanted) {
                    inbox::done(&self.database, &record.id).await?;
                    return anyhow::Ok(record);
                }
                sleep(LOOK).await;
            }
        };
        timeout(STEP, found)
            .await
            .with_context(|| format!("{} waited in vain for {what}", self.name))?
    }

    /// Waits until an outbox row is no longer pending.
    pub(crate) async fn settled(&self, id: &str) -> Result<OutboxRecord> {
        let settled = async {
            loop {
                match outbox::get(&self.database, id).await? {
                    Some(record) if record.status != "pending" => return Ok(record),
                    Some(_) => sleep(LOOK).await,
                    None => bail!("outbox row {id} is gone"),
                }
            }
        };
        timeout(STEP, settled)
            .await
            .with_context(|| format!("row {id} of {} stays pending", self.name))?
    }

    pub(crate) async fn stop(self) -> Result<Counts> {
        self.stop.cancel();
        self.worker.await.with_context(|| format!("the worker of {} panicked", self.name))
    }
}
