//! Messages a second out, in, and both at once, beside the ceilings of the same round.

use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

use crate::args::{Args, BrokerKind, DatabaseKind};
use crate::bus::Bus;
use crate::engine::Goal;
use crate::servers::Store;
use crate::stats::{in_series, median, per_second};
use crate::{ceilings, input};

/// One round, in messages a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    client_out: f64,
    client_in: f64,
    database_out: f64,
    database_in: f64,
    out: f64,
    into: f64,
    both: f64,
}

/// One database with one broker; medians over the rounds, in messages a second.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    pub(crate) out: Side,
    pub(crate) into: Side,
    pub(crate) both: Side,
    pub(crate) rounds: Vec<Round>,
}

/// What was reached of what the client and the database alone would do in series.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Side {
    pub(crate) client: f64,
    pub(crate) database: f64,
    /// `1 / (1/client + 1/database)`
    pub(crate) in_series: f64,
    pub(crate) postroad: f64,
    /// Median over the rounds of `postroad / in_series`, each round for itself.
    pub(crate) reached: f64,
}

/// Every database with every broker, one after the other within a round, so that none has the better weather.
pub(crate) async fn measure(args: &Args, stores: &[Store]) -> Result<Vec<Throughput>> {
    let mut cells: Vec<(DatabaseKind, BrokerKind, Vec<Round>)> = Vec::new();
    for store in stores {
        cells.extend(args.brokers.iter().map(|broker| (store.kind, *broker, Vec::new())));
    }
    for number in 1..=args.rounds {
        for store in stores {
            let database_out = ceilings::claim_and_settle(&store.database, args).await;
            let database_out = database_out.context("the database alone, outbound")?;
            let database_in = ceilings::store(&store.database, args).await;
            let database_in = database_in.context("the database alone, inbound")?;
            for (_, broker, rounds) in cells.iter_mut().filter(|(kind, ..)| *kind == store.kind) {
                eprintln!("throughput {number}/{}: {}, {}", args.rounds, store.kind, broker);
                let round = round(args, store, *broker, database_out, database_in).await;
                rounds.push(round.with_context(|| format!("{} with {broker}", store.kind))?);
            }
        }
    }
    Ok(cells
        .into_iter()
        .map(|(database, broker, rounds)| summary(database, broker, rounds))
        .collect())
}

async fn round(
    args: &Args,
    store: &Store,
    broker: BrokerKind,
    database_out: Duration,
    database_in: Duration,
) -> Result<Round> {
    let rate = |time| per_second(args.messages, time);
    let bodies = || input::bodies(args.messages, args.bytes);
    let databases = std::slice::from_ref(&store.database);
    let out_only = Goal { settled: args.messages, stored: 0 };
    let in_only = Goal { settled: 0, stored: args.messages };
    let bus = Bus::open(broker).await?;
    let client_out = bus.publish_alone(bodies()).await.context("the client alone, publishing")?;
    let client_in = bus.receive_alone(bodies()).await.context("the client alone, receiving")?;
    let key = input::fill(&store.database, args.messages, args.bytes).await?;
    let out = bus.work(databases, &key, out_only, Vec::new()).await.context("outbound")?;
    // RabbitMQ's queue holds what the relay has just published; nobody kept it at Mosquitto.
    let feed = if broker == BrokerKind::Mqtt { bodies() } else { Vec::new() };
    let key = Uuid::new_v4().to_string();
    let into = bus.work(databases, &key, in_only, feed).await.context("inbound")?;
    let key = input::fill(&store.database, args.messages, args.bytes).await?;
    let goal = Goal { settled: args.messages, stored: args.messages };
    let both = bus.work(databases, &key, goal, Vec::new()).await.context("both at once")?;
    bus.remove().await?;
    Ok(Round {
        client_out: rate(client_out),
        client_in: rate(client_in),
        database_out: rate(database_out),
        database_in: rate(database_in),
        out: rate(out),
        into: rate(into),
        both: rate(both),
    })
}

fn summary(database: DatabaseKind, broker: BrokerKind, rounds: Vec<Round>) -> Throughput {
    let side = |client: fn(&Round) -> f64, database: fn(&Round) -> f64, way: fn(&Round) -> f64| {
        let over = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value));
        Side {
            client: over(&client),
            database: over(&database),
            in_series: over(&|round| in_series(client(round), database(round))),
            postroad: over(&way),
            reached: over(&|round| way(round) / in_series(client(round), database(round))),
        }
    };
    Throughput {
        database: database.name(),
        broker: broker.name(),
        out: side(|round| round.client_out, |round| round.database_out, |round| round.out),
        into: side(|round| round.client_in, |round| round.database_in, |round| round.into),
        both: side(
            |round| in_series(round.client_out, round.client_in),
            |round| in_series(round.database_out, round.database_in),
            |round| round.both,
        ),
        rounds,
    }
}
