//! The measurements, each of the same number of messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postroad_envelope::Limits;
use postroad_store::{Database, NewMessage, SqlStore, enqueue};
use postroad_transport::Incoming;
use postroad_transport_amqp::AmqpTransport;
use postroad_worker_core::{
    EnvelopeCodec, InboxEntry, InboxStore, OutboxStore, Outcome, Settings, Settlement, Worker,
    WorkerIdentity, decode,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::Client;
use crate::counting::Counting;
use crate::input::{self, Args, Rabbit, TOPIC};
use crate::transport;

/// Rows of one claim and one settle, as in the default config.
const BATCH: usize = 500;
/// Messages of one inbox transaction: half of the default prefetch.
const INBOX_BATCH: usize = 250;

/// Messages a second of each kind, in one round.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Round {
    pub(crate) outbound_client: f64,
    pub(crate) outbound_database: f64,
    pub(crate) outbound_relay: f64,
    pub(crate) inbound_client: f64,
    pub(crate) inbound_database: f64,
    pub(crate) inbound_intake: f64,
}

pub(crate) struct Bench {
    pub(crate) args: Args,
    pub(crate) rabbit: Rabbit,
    pub(crate) database: Database,
}

impl Bench {
    pub(crate) async fn round(&self) -> Result<Round> {
        let names = transport::Names::fresh();
        let transport = Arc::new(transport::to(&self.rabbit, &names)?);
        transport::declare(&transport).await?;
        let outbound_client =
            self.client_publishes(&names).await.context("amqprs alone, publishing")?;
        let inbound_client =
            self.client_consumes(&names).await.context("amqprs alone, consuming")?;
        let outbound_database =
            self.database_claims().await.context("the database alone, outbound")?;
        let outbound_relay = self.relay(&transport).await.context("the relay")?;
        let inbound_database =
            self.database_stores().await.context("the database alone, inbound")?;
        let inbound_intake = self.intake(&transport).await.context("the intake")?;
        transport::remove(&self.rabbit, &names).await?;
        Ok(Round {
            outbound_client,
            outbound_database,
            outbound_relay,
            inbound_client,
            inbound_database,
            inbound_intake,
        })
    }

    fn rate(&self, time: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 messages")]
        let messages = self.args.messages as f64;
        messages / time.as_secs_f64()
    }

    async fn client_publishes(&self, names: &transport::Names) -> Result<f64> {
        let bodies: Vec<_> =
            (0..self.args.messages).map(|n| input::body(n, self.args.bytes)).collect();
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

    async fn relay(&self, transport: &Arc<AmqpTransport>) -> Result<f64> {
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
    async fn intake(&self, transport: &Arc<AmqpTransport>) -> Result<f64> {
        self.work(transport, Uuid::new_v4().to_string(), false).await
    }

    /// A whole worker for one side, until every message is through.
    async fn work(
        &self,
        transport: &Arc<AmqpTransport>,
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
