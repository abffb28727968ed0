//! From commit to the broker's confirm, at fixed rates, beside what commit and confirm take alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use postroad_store::Database;
use postroad_transport::{Outgoing, Publisher, Transport};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::args::{Args, BrokerKind};
use crate::bus::Bus;
use crate::engine::{Engines, Goal};
use crate::feed::{self, Written};
use crate::input::{self, TOPIC};
use crate::servers::Store;
use crate::timed::{Confirms, Timed};

/// Time for a worker to connect and to fall idle before rows come.
const SETTLE_IN: Duration = Duration::from_secs(3);

/// In milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    /// Who writes the rows: the worker's own process, or another one.
    pub(crate) writer: &'static str,
    pub(crate) rows_per_second: u32,
    pub(crate) rows: u64,
    pub(crate) commit_to_confirm: Percentiles,
    /// One row written and committed.
    pub(crate) commit_alone: Percentiles,
    /// One message published and confirmed, at the same rate, without any database.
    pub(crate) confirm_alone: Percentiles,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Every rate on every database, written by this process and by another one.
pub(crate) async fn measure(
    args: &Args,
    stores: &[Store],
    broker: BrokerKind,
) -> Result<Vec<Latency>> {
    let mut found = Vec::new();
    for &rate in &args.rates {
        let confirm_alone = confirm_alone(args, broker, rate).await.context("the confirm alone")?;
        for store in stores {
            for own in [true, false] {
                let writer = if own { "own process" } else { "another process" };
                eprintln!("latency: {}, {broker}, {rate} rows/s, {writer}", store.kind);
                let (way, commit) = commit_to_confirm(args, store, broker, rate, own).await?;
                found.push(Latency {
                    database: store.kind.name(),
                    broker: broker.name(),
                    writer,
                    rows_per_second: rate,
                    rows: way.len(),
                    commit_to_confirm: Percentiles::of(&way),
                    commit_alone: Percentiles::of(&commit),
                    confirm_alone,
                });
            }
        }
    }
    Ok(found)
}

async fn commit_to_confirm(
    args: &Args,
    store: &Store,
    broker: BrokerKind,
    rate: u32,
    own: bool,
) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let bus = Bus::open(broker).await?;
    let Bus::Amqp(amqp) = &bus else { bail!("latency is measured with RabbitMQ") };
    let confirms = Confirms::default();
    let transport = Arc::new(Timed::new(Arc::clone(&amqp.transport), confirms.clone()));
    let key = Uuid::new_v4().to_string();
    // The relay alone works, without an end of its own: it is the confirms that are waited for.
    let goal = Goal { settled: usize::MAX, stored: 0 };
    let engines = Engines::start(std::slice::from_ref(&store.database), &key, &transport, goal);
    tokio::time::sleep(SETTLE_IN).await;
    let plan = feed::Plan { key, rate, seconds: args.seconds, bytes: args.bytes };
    let rows = if own {
        let database: Database = postroad_store::connect(&store.url).await?;
        feed::write(&database, &plan).await?
    } else {
        feed::write_elsewhere(&store.url, &plan).await?
    };
    let confirmed = confirms.of(rows.iter().map(|row| row.id.as_str())).await;
    engines.stop().await?;
    bus.remove().await?;
    let (mut way, mut commit) = (histogram(), histogram());
    for (Written { committed_at, took, .. }, confirmed_at) in rows.iter().zip(confirmed?) {
        // A row may be confirmed before its writer has heard of the commit.
        record(&mut way, confirmed_at.saturating_sub(*committed_at));
        record(&mut commit, *took);
    }
    Ok((way, commit))
}

/// Messages at a rate, each published when it is due.
async fn confirm_alone(args: &Args, broker: BrokerKind, rate: u32) -> Result<Percentiles> {
    let bus = Bus::open(broker).await?;
    let Bus::Amqp(amqp) = &bus else { bail!("latency is measured with RabbitMQ") };
    let publisher = Arc::new(amqp.transport.connect_publisher().await?);
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut publishing = JoinSet::new();
    for n in 0..usize::try_from(u64::from(rate) * args.seconds)? {
        ticks.tick().await;
        let (publisher, message) = (Arc::clone(&publisher), message(n, args.bytes));
        publishing.spawn(async move {
            let began = Instant::now();
            publisher.publish(message).await.map(|()| began.elapsed())
        });
    }
    let mut times = histogram();
    while let Some(time) = publishing.join_next().await {
        record(&mut times, time??);
    }
    publisher.close().await;
    bus.remove().await?;
    Ok(Percentiles::of(&times))
}

fn message(n: usize, bytes: usize) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        body: input::body(n, bytes).into(),
        message_id: Uuid::new_v4().to_string(),
        message_type: None,
        correlation_id: None,
        reply_to: None,
        app_id: None,
        timestamp: None,
        headers: serde_json::Map::new(),
    }
}

/// Of microseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros).expect("it grows with what is recorded");
}

impl Percentiles {
    pub(crate) fn of(times: &Histogram<u64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no latency has 2^52 microseconds")]
        let millis = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| millis(times.value_at_quantile(quantile));
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: millis(times.max()) }
    }
}
