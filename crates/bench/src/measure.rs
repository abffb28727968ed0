//! The measurements, each of the same number of messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postroad_envelope::Limits;
use postroad_store::{Database, NewMessage, SqlStore, enqueue};
use postroad_transport::{Incoming, Subscriber, Transport};
use postroad_worker_core::{
    EnvelopeCodec, InboxEntry, InboxStore, OutboxStore, Outcome, Settings, Settlement, Worker,
    WorkerIdentity, decode,
};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::Client;
use crate::counting::Counting;
use crate::input::{self, Args, Rabbit, TOPIC};
use crate::{paho, transport};

/// Rows of one claim and one settle, as in the default config.
const BATCH: usize = 500;
/// Messages of one inbox transaction: half of the default prefetch.
const INBOX_BATCH: usize = 250;

/// Messages a second, in one round.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Three {
    /// The broker's client alone.
    pub(crate) client: f64,
    /// The database alone.
    pub(crate) database: f64,
    /// The whole way.
    pub(crate) postroad: f64,
}

/// One measurement of each kind.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Round {
    pub(crate) rabbitmq_outbound: Three,
    pub(crate) rabbitmq_inbound: Three,
    pub(crate) mqtt_outbound: Three,
    pub(crate) mqtt_inbound: Three,
}

pub(crate) struct Bench {
    pub(crate) args: Args,
    pub(crate) rabbit: Rabbit,
    pub(crate) mqtt_url: String,
    pub(crate) database: Database,
}

impl Bench {
    pub(crate) async fn round(&self) -> Result<Round> {
        let out = self.database_claims().await.context("the database alone, outbound")?;
        let into = self.database_stores().await.context("the database alone, inbound")?;
        let (rabbitmq_outbound, rabbitmq_inbound) = self.rabbitmq(out, into).await?;
        let (mqtt_outbound, mqtt_inbound) = self.mqtt(out, into).await?;
        Ok(Round { rabbitmq_outbound, rabbitmq_inbound, mqtt_outbound, mqtt_inbound })
    }

    async fn rabbitmq(&self, out: f64, into: f64) -> Result<(Three, Three)> {
        let names = transport::Names::fresh();
        let transport = Arc::new(transport::to(&self.rabbit, &names)?);
        transport::declare(&*transport).await?;
        let publishing = self.client_publishes(&names).await.context("amqprs alone, publishing")?;
        let consuming = self.client_consumes(&names).await.context("amqprs alone, consuming")?;
        let relay = self.relay(&transport).await.context("the relay to RabbitMQ")?;
        let intake = self.intake(&transport).await.context("the intake from RabbitMQ")?;
        transport::remove(&self.rabbit, &names).await?;
        Ok((
            Three { client: publishing, database: out, postroad: relay },
            Three { client: consuming, database: into, postroad: intake },
        ))
    }

    /// Mosquitto writes down all it has queued whenever that changes, so nothing is queued here: what is received is
    /// published meanwhile, to paho alone as well as to the intake.
    async fn mqtt(&self, out: f64, into: f64) -> Result<(Three, Three)> {
        let folder = tempfile::tempdir()?;
        let session = Uuid::new_v4().to_string();
        let transport = Arc::new(transport::mqtt(&self.mqtt_url, &session, folder.path())?);
        let publishing = self.paho(paho::publish).await.context("paho alone, publishing")?;
        let relay = self.relay(&transport).await.context("the relay to MQTT")?;
        let receiving = self.paho(paho::receive).await.context("paho alone, receiving")?;
        // The session, so that what is published before the worker has connected is kept.
        transport.connect_subscriber().await?.close().await;
        let feed = self.paho(paho::publish);
        let intake = async { self.intake(&transport).await.context("the intake from MQTT") };
        let (intake, _) = tokio::try_join!(intake, feed)?;
        transport::forget(&self.mqtt_url, &session).await?;
        Ok((
            Three { client: publishing, database: out, postroad: relay },
            Three { client: receiving, database: into, postroad: intake },
        ))
    }

    async fn paho(&self, work: fn(&str, &str, &[Vec<u8>]) -> Result<Duration>) -> Result<f64> {
        let (url, bodies) = (self.mqtt_url.clone(), self.bodies());
        let time = spawn_blocking(move || work(&url, TOPIC, &bodies)).await??;
        Ok(self.rate(time))
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        (0..self.args.messages).map(|n| input::body(n, self.args.bytes)).collect()
    }

    fn rate(&self, time: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 messages")]
        let messages = self.args.messages as f64;
        messages / time.as_secs_f64()
    }

    async fn client_publishes(&self, names: &transport::Names) -> Result<f64> {
        let bodies = self.bodies();
        let client = Client::connect(&self.rabbit).await?;
        let time = client.publish(&names.exchange, TOPIC, &bodies).await?;
        client.close().await?;
        Ok(self.rate(time))
    }

    async fn client_consumes(&self, names: &transport::Names) -> Result<f64> {
        let client = Client::connect(&self.rabbit).await?;
        let time = client.consume(&names.queue, self.args.messages).await?;
        client.close().await?;
        Ok(self.rate(time))
    }

    async fn database_claims(&self) -> Result<f64> {
        let key = self.fill_outbox(self.args.messages).await?;
        let store = SqlStore::new(self.database.clone(), key);
        let started = Instant::now();
        let mut settled = 0;
        while settled < self.args.messages {
            let claim = store.claim(BATCH, Duration::from_secs(30)).await?;
            let settle = |seq| Settlement { seq, outcome: Outcome::Published };
            let settlements: Vec<_> = claim.rows.iter().map(|row| settle(row.seq)).collect();
            ensure!(!settlements.is_empty(), "the outbox is empty too early");
            settled += store.settle(&claim.token, &settlements).await?;
        }
        Ok(self.rate(started.elapsed()))
    }

    async fn relay(&self, transport: &Arc<impl Transport>) -> Result<f64> {
        let key = self.fill_outbox(self.args.messages).await?;
        self.work(transport, key, true).await
    }

    async fn database_stores(&self) -> Result<f64> {
        let entries: Vec<_> = (0..self.args.messages).map(|n| self.entry(n)).collect();
        let store = SqlStore::new(self.database.clone(), Uuid::new_v4().to_string());
        let started = Instant::now();
        let mut stored = 0;
        for batch in entries.chunks(INBOX_BATCH) {
            stored += store.store(batch).await?.inserted;
        }
        ensure!(stored == self.args.messages, "only {stored} rows were stored");
        Ok(self.rate(started.elapsed()))
    }

    /// Consumes what the relay published just before.
    async fn intake(&self, transport: &Arc<impl Transport>) -> Result<f64> {
        self.work(transport, Uuid::new_v4().to_string(), false).await
    }

    /// A whole worker for one side, until every message is through.
    async fn work(
        &self,
        transport: &Arc<impl Transport>,
        key: String,
        outbound: bool,
    ) -> Result<f64> {
        let store = Counting::new(SqlStore::new(self.database.clone(), key.as_str()));
        let settings = Settings { outbound, inbound: !outbound, ..Settings::new(key, "bench") };
        let stop = CancellationToken::new();
        let started = Instant::now();
        let worker = Worker {
            store: Arc::new(store.clone()),
            transport: Arc::clone(transport),
            codec: Arc::new(EnvelopeCodec),
            settings,
            identity: identity(),
        };
        let worker = tokio::spawn(worker.run(stop.clone()));
        let through =
            tokio::time::timeout(Duration::from_mins(5), store.reached(self.args.messages)).await;
        let time = started.elapsed();
        stop.cancel();
        worker.await.context("the worker panicked")?;
        through.context("not every message was through within 5 minutes")?;
        Ok(self.rate(time))
    }

    fn entry(&self, n: usize) -> InboxEntry {
        let body = input::body(n, self.args.bytes).into();
        decode(
            &Incoming { topic: TOPIC.to_owned(), body, ..Incoming::default() },
            &Limits::default(),
        )
    }

    /// Rows of a config of their own.
    pub(crate) async fn fill_outbox(&self, rows: usize) -> Result<String> {
        let key = Uuid::new_v4().to_string();
        let transaction = self.database.begin().await?;
        for n in 0..rows {
            let payload = input::payload(n, self.args.bytes);
            let event = NewMessage::event(TOPIC, "measured", ()).config_key(&key);
            let message = NewMessage { payload, ..event };
            enqueue(&transaction, message).await?;
        }
        transaction.commit().await?;
        Ok(key)
    }
}

fn identity() -> WorkerIdentity {
    WorkerIdentity {
        id: Uuid::new_v4().to_string(),
        host: "bench".to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
