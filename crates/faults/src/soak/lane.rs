//! One broker with one database, and what happens to them.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use tokio::sync::watch;

use super::PROGRESS;
use super::strike::{Network, Striker};
use super::tally::{Counts, Tally};
use crate::cell::{Cell, Fault, Needs, always};
use crate::ids::Way;
use crate::options::Options;
use crate::say;
use crate::servers::{Db, Kind, Servers};
use crate::traffic::Pace;
use crate::verdict::Verdict;
use crate::world::World;

/// Between the beginnings of two restarts of the broker. An hour is to hold a hundred.
const RESTARTS: Duration = Duration::from_secs(33);
/// Nothing else goes wrong so long after the broker is back, unless messages go on sooner.
const CALM: Duration = Duration::from_secs(12);
/// For the rest, when all is well again.
const DRAIN: Duration = Duration::from_mins(10);

const PAUSE: Duration = Duration::from_millis(40);
/// Mosquitto writes all that waits at each change, so that more of it would take ever longer.
const MOST_WAITING: u64 = 2_000;

/// Of two workers. Only one of them has the MQTT session: Mosquitto does not write down shared subscriptions, and so forgets
/// whatever comes between its restart and the return of the members.
pub(super) const ARGUMENTS: [[&[&str]; 2]; 2] = [[&[], &[]], [&[], &["--only", "outbound"]]];

static SOAK: Fault = Fault {
    id: "soak",
    title: "random faults without pause",
    needs: Needs::ALL,
    applies: always,
    inject: |_| Box::pin(async { Ok(()) }),
};

pub(crate) struct Lane {
    world: World,
    counts: Counts,
    failures: Vec<String>,
    takeovers: Vec<f64>,
    rss: Vec<u64>,
}

impl Lane {
    /// With so many messages a second each way.
    pub(crate) async fn open(
        broker: Kind,
        db: Db,
        rate: f64,
        seed: u64,
        servers: &Servers,
        options: Arc<Options>,
    ) -> Result<Self> {
        let cell = Cell { fault: &SOAK, db, broker };
        let mut world =
            World::open(cell, seed ^ broker.name().len() as u64, servers, options).await?;
        world.drain = DRAIN;
        world
            .set_pace(Pace {
                batch: 60,
                pause: PAUSE,
                per_second: Some(rate),
                most_waiting: MOST_WAITING,
            })
            .await?;
        for arguments in ARGUMENTS[usize::from(broker == Kind::Mqtt)] {
            let worker = world.launch.worker_with(arguments, &[]);
            world.workers.push(worker);
        }
        world.moved(20).await?;
        Ok(Self {
            world,
            counts: Counts::default(),
            failures: Vec::new(),
            takeovers: Vec::new(),
            rss: Vec::new(),
        })
    }

    /// Lets everything go wrong for so long. What this program itself fails in is for the verdict to say.
    pub(crate) async fn live(&mut self, time: Duration) {
        let failure = match AssertUnwindSafe(self.suffer(time)).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => panic
                .downcast_ref::<String>()
                .map_or_else(|| "it panicked".to_owned(), Clone::clone),
        };
        say(&format!("{} goes no further: {failure}", self.world.cell.broker.name()));
        self.failures.push(failure);
    }

    async fn suffer(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let (calm, is_calm) = watch::channel(false);
        let world = &mut self.world;
        let mut striker = Striker {
            launch: world.launch.clone(),
            workers: &mut world.workers,
            network: Network { broker: &world.network, database: world.database.as_ref() },
            server: &mut world.server,
            sql: &world.sql,
            database: world.name.clone(),
            db: world.cell.db,
            dice: world.dice.fork(),
            arguments: ARGUMENTS[usize::from(world.cell.broker == Kind::Mqtt)],
            armed: std::collections::BTreeSet::new(),
            calm: is_calm,
            counts: Counts::default(),
            failures: Vec::new(),
            takeovers: Vec::new(),
            rss: Vec::new(),
        };
        let mut dice = world.dice.fork();
        let broker = world.broker.own()?;
        let ledger = &world.ledger;
        let kind = world.cell.broker;
        let (mut kills, mut stops) = (0, 0);
        let restarts = async {
            let mut next = Instant::now() + RESTARTS / 2;
            while next < until {
                tokio::time::sleep_until(next.into()).await;
                calm.send_replace(true);
                if dice.u8(..3) > 0 {
                    if kind == Kind::Mqtt {
                        ledger.broker_killed();
                    }
                    broker.kill();
                    kills += 1;
                } else {
                    broker.stop().await;
                    stops += 1;
                }
                broker.run().await;
                ledger.await_resume(Way::Outbox);
                let before = ledger.lock().outbox.resumed.len();
                let back = Instant::now();
                while ledger.lock().outbox.resumed.len() == before && back.elapsed() < CALM {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                calm.send_replace(false);
                next = (next + RESTARTS).max(Instant::now() + RESTARTS / 3);
            }
        };
        let progress = async {
            let began = Instant::now();
            while Instant::now() < until {
                tokio::time::sleep(PROGRESS).await;
                let (committed, heard) = ledger.counts();
                say(&format!(
                    "{:>5.0} s  {:<8}  committed {committed}, crossed the wire {heard}",
                    began.elapsed().as_secs_f64(),
                    kind.name(),
                ));
            }
        };
        tokio::join!(restarts, striker.strike_until(until), progress);
        let Striker { counts, failures, takeovers, rss, .. } = striker;
        self.counts = Counts { broker_kills: kills, broker_stops: stops, ..counts };
        self.failures.extend(failures);
        (self.takeovers, self.rss) = (takeovers, rss);
        Ok(())
    }

    /// Waits until everything has arrived, and judges.
    pub(crate) async fn finish(&mut self) -> Tally {
        let world = &mut self.world;
        let incidents = self.counts.incidents();
        world.incidents(incidents);
        if world.cell.broker == Kind::Mqtt {
            // What Mosquitto had delivered and not written is delivered again.
            world.incidents(4 * self.counts.broker_kills);
        }
        let drained = world.settle().await;
        let stopped = world.stop_workers().await;
        let quarantined = world.read_inbox().await;
        let mut verdict =
            Verdict::of(&world.ledger.lock(), world.terms, *quarantined.as_ref().unwrap_or(&0));
        let drained_seconds = drained.as_ref().map_or(0.0, Duration::as_secs_f64);
        let errors = [drained.err(), stopped.err(), quarantined.err()];
        verdict.failures.extend(errors.into_iter().flatten().map(|error| format!("{error:#}")));
        verdict.failures.append(&mut self.failures);
        if !verdict.is_good() {
            let folder =
                world.launch.options.out.join(format!("soak-{}", world.cell.broker.name()));
            // The report matters more.
            world.save_logs(&folder).ok();
        }
        let mut resumed = world.ledger.lock().outbox.resumed.clone();
        resumed.sort_by(f64::total_cmp);
        self.takeovers.sort_by(f64::total_cmp);
        Tally {
            broker: world.cell.broker,
            db: world.cell.db,
            verdict,
            counts: self.counts.clone(),
            resumed,
            takeovers: std::mem::take(&mut self.takeovers),
            drained_seconds,
            worker_rss_mib: std::mem::take(&mut self.rss),
            own_rss_mib: rss_mib(std::process::id()).unwrap_or(0),
        }
    }

    pub(crate) async fn close(self, servers: &Servers) {
        self.world.close(servers).await;
    }
}

/// How much memory a process has.
pub(crate) fn rss_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
