//! Random faults without pause, on both brokers at once, while rows and messages keep coming.

mod lane;
mod strike;
mod tally;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::join_all;

use crate::options::Options;
use crate::say;
use crate::servers::{Db, Kind, Servers};
use lane::Lane;

/// Between two lines about how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs for so many minutes and says what came of it. Whether nothing failed.
pub(crate) async fn run(options: Options, minutes: u64, seed: u64) -> Result<bool> {
    let time = Duration::from_mins(minutes);
    let options = Arc::new(options);
    let servers = Servers::default();
    let mut lanes = Vec::new();
    let sites = sites(&options);
    let shares: f64 = sites.iter().map(|(broker, _)| share(*broker)).sum();
    for (broker, db) in sites {
        say(&format!("starting {} with {}", broker.name(), db.name()));
        let rate = options.rate * share(broker) / shares / 2.0;
        lanes.push(Lane::open(broker, db, rate, seed, &servers, options.clone()).await?);
    }
    let began = Instant::now();
    join_all(lanes.iter_mut().map(|lane| lane.live(time))).await;
    let seconds = began.elapsed().as_secs_f64();
    let mut good = true;
    let mut found = Vec::new();
    for mut lane in lanes {
        let tally = lane.finish().await;
        say(&tally.text());
        good &= tally.verdict.is_good();
        found.push(tally);
        lane.close(&servers).await;
    }
    let total: u64 = found.iter().map(|tally| tally.verdict.committed).sum();
    say(&format!(
        "{total} messages in {seconds:.0} s; seed {seed}; {}",
        if good { "nothing lost" } else { "FAILED" }
    ));
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    fs::write(out.join("soak.json"), serde_json::to_string_pretty(&found)?)?;
    let text: String = found.iter().map(|tally| tally.text() + "\n").collect();
    fs::write(
        out.join("soak.md"),
        format!("# Soak\n\nSeed {seed}, {minutes} minutes, {total} messages.\n\n{text}"),
    )?;
    Ok(good)
}

/// How much of all messages a broker has to take: Mosquitto that writes down each change is the slower one.
fn share(broker: Kind) -> f64 {
    match broker {
        Kind::Rabbitmq => 3.0,
        Kind::Mqtt => 1.0,
    }
}

/// Each broker with a database: those that were named, in turn.
fn sites(options: &Options) -> Vec<(Kind, Db)> {
    let brokers = if options.broker.is_empty() {
        vec![Kind::Rabbitmq, Kind::Mqtt]
    } else {
        options.broker.clone()
    };
    let dbs =
        if options.db.is_empty() { vec![Db::Postgres, Db::Sqlite] } else { options.db.clone() };
    brokers.into_iter().zip(dbs.into_iter().cycle()).collect()
}
