//! What goes wrong next, by the dice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postroad_testbed::Worker;
use postroad_transport::testing::Proxy;
use tokio::sync::watch;

use super::lane::rss_mib;
use super::tally::Counts;
use crate::cells::POINTS;
use crate::launch::Launch;
use crate::servers::{Db, Lent, Server};
use crate::sql::Sql;
use crate::world::{LEASE, tail};

const CRASHED: i32 = 137;
/// SIGTERM before the worker had come so far as to take it.
const TOLD_TOO_EARLY: i32 = 143;
/// After a lease has ended, its rows are published before so long.
const TAKEOVER: Duration = Duration::from_secs(20);
const STARTING_MIB: u64 = 8;
/// So many complaints are kept.
const SHOWN: usize = 10;

pub(crate) struct Network<'w> {
    pub(crate) broker: &'w Proxy,
    pub(crate) database: Option<&'w Proxy>,
}

pub(crate) struct Striker<'w> {
    pub(crate) launch: Launch,
    pub(crate) workers: &'w mut Vec<Worker>,
    pub(crate) network: Network<'w>,
    pub(crate) server: &'w mut Option<Lent<Server>>,
    pub(crate) sql: &'w Sql,
    pub(crate) database: String,
    pub(crate) db: Db,
    pub(crate) dice: fastrand::Rng,
    /// Of the worker in each place.
    pub(crate) arguments: [&'static [&'static str]; 2],
    /// Places of workers that are going to crash.
    pub(crate) armed: BTreeSet<usize>,
    /// Whether the broker is away or just back, and nothing else is to go wrong.
    pub(crate) calm: watch::Receiver<bool>,
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<String>,
    pub(crate) takeovers: Vec<f64>,
    pub(crate) rss: Vec<u64>,
}

impl Striker<'_> {
    pub(crate) async fn strike_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.pause(1_500, 3_500).await;
            self.revive();
            self.note_memory();
            // Killing workers while the broker is away is part of it; the rest would only make its return look slow.
            match self.dice.u8(..100) {
                0..45 => self.kill().await,
                45..60 => self.crash(),
                60..65 => self.stop().await,
                65..72 => self.freeze().await,
                72..90 => self.cut().await,
                _ => self.strike_database().await,
            }
        }
        self.revive();
        // None is to crash when nobody is there any more to start another in its place.
        for place in std::mem::take(&mut self.armed) {
            self.workers[place].kill();
            self.counts.kills += 1;
            self.replace(place, &[]);
        }
    }

    async fn pause(&mut self, least: u64, most: u64) {
        let time = Duration::from_millis(self.dice.u64(least..most));
        tokio::time::sleep(time).await;
        // It is never closed before us.
        self.calm.wait_for(|calm| !calm).await.ok();
    }

    /// Starts others in the places of those that ended, which only a crash point excuses.
    fn revive(&mut self) {
        for place in 0..self.workers.len() {
            let worker = &mut self.workers[place];
            if worker.runs() {
                continue;
            }
            let (code, log) = (worker.code(), worker.log());
            if code == Some(CRASHED) {
                self.counts.crashes += 1;
            } else {
                self.complain(format!("a worker ended by itself with {code:?}: {}", tail(&log)));
            }
            self.replace(place, &[]);
        }
    }

    fn replace(&mut self, place: usize, environment: &[(&str, &str)]) {
        let next = self.launch.worker_with(self.arguments[place], environment);
        if environment.is_empty() {
            self.armed.remove(&place);
        } else {
            self.armed.insert(place);
        }
        let log = std::mem::replace(&mut self.workers[place], next).log();
        if log.contains("panicked at") {
            self.complain(format!("a task panicked: {}", tail(&log)));
        }
    }

    fn complain(&mut self, what: String) {
        if self.failures.len() < SHOWN {
            self.failures.push(what);
        }
    }

    fn place(&mut self) -> usize {
        self.dice.usize(..self.workers.len())
    }

    async fn kill(&mut self) {
        let place = self.place();
        let claimed = if self.dice.u8(..4) == 0 { self.claimed().await } else { Vec::new() };
        self.workers[place].kill();
        self.counts.kills += 1;
        self.replace(place, &[]);
        if !claimed.is_empty() {
            self.watch_takeover(&claimed).await;
        }
    }

    /// The rows that some worker has claimed.
    async fn claimed(&self) -> Vec<String> {
        let rows = "SELECT seq FROM outbound_event WHERE claim_token IS NOT NULL";
        let rows = self.sql.rows(rows).await.unwrap_or_default();
        rows.iter().map(|row| row["seq"].to_string()).collect()
    }

    /// How long it takes until all of them are published, unless the broker goes away meanwhile.
    async fn watch_takeover(&mut self, claimed: &[String]) {
        let began = Instant::now();
        let left = format!(
            "SELECT count(*) FROM outbound_event WHERE status = 'pending' AND seq IN ({})",
            claimed.join(", ")
        );
        while began.elapsed() < TAKEOVER && !*self.calm.borrow() {
            if matches!(self.sql.count(&left).await, Ok(0)) {
                self.takeovers.push(began.elapsed().as_secs_f64());
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if !*self.calm.borrow() {
            self.complain(format!("rows of a killed worker wait for {} s", TAKEOVER.as_secs()));
        }
    }

    /// The next one in this place crashes at some point, sooner or later.
    fn crash(&mut self) {
        let place = self.place();
        let point = POINTS[self.dice.usize(..POINTS.len() - 1)];
        let at = format!("{point}:{}", self.dice.u32(1..60));
        self.workers[place].kill();
        self.counts.kills += 1;
        self.replace(place, &[("POSTROAD_CRASH_AT", &at)]);
    }

    async fn stop(&mut self) {
        let place = self.place();
        if self.armed.contains(&place) || !self.workers[place].runs() {
            return;
        }
        self.workers[place].terminate();
        let code = self.workers[place].ended().await;
        if code == TOLD_TOO_EARLY {
            self.counts.kills += 1;
            self.replace(place, &[]);
            return;
        }
        if code != 0 {
            let log = self.workers[place].log();
            self.complain(format!("a worker stopped with {code}: {}", tail(&log)));
        }
        self.counts.stops += 1;
        self.replace(place, &[]);
    }

    async fn freeze(&mut self) {
        let place = self.place();
        if self.armed.contains(&place) || !self.workers[place].runs() {
            return;
        }
        self.workers[place].freeze();
        let most = u64::try_from((LEASE * 2).as_millis()).unwrap_or(10_000);
        tokio::time::sleep(Duration::from_millis(self.dice.u64(500..most))).await;
        self.workers[place].go_on();
        self.counts.freezes += 1;
    }

    async fn cut(&mut self) {
        let proxy = self.network.broker;
        let time = Duration::from_millis(self.dice.u64(200..6_000));
        let hold: Option<fn(&Proxy, bool)> = match self.dice.u8(..6) {
            0 => Some(Proxy::blackhole),
            1 => Some(Proxy::drop_replies),
            2 => Some(Proxy::hold_requests),
            3 => {
                proxy.finish();
                None
            }
            _ => None,
        };
        if let Some(hold) = hold {
            hold(proxy, true);
            // A broker that is back is to be reached.
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                _ = self.calm.wait_for(|calm| *calm) => {}
            }
            proxy.cut();
            hold(proxy, false);
        } else {
            proxy.cut();
        }
        self.counts.network += 1;
    }

    async fn strike_database(&mut self) {
        let restart = self.db == Db::Postgres && self.dice.u8(..4) == 0;
        match (self.network.database, self.server.as_mut()) {
            (Some(_), Some(Lent::Own(server))) if restart => {
                if self.dice.bool() {
                    server.kill();
                } else {
                    server.stop().await;
                }
                server.run().await;
            }
            (Some(proxy), Some(_)) => match self.dice.u8(..3) {
                0 => proxy.cut(),
                1 => {
                    proxy.drop_replies(true);
                    tokio::time::sleep(Duration::from_millis(self.dice.u64(50..500))).await;
                    proxy.cut();
                    proxy.drop_replies(false);
                }
                _ => self.end_sessions().await,
            },
            // SQLite.
            _ => return,
        }
        self.counts.database += 1;
    }

    /// Ours end too, which the next statement mends.
    async fn end_sessions(&self) {
        let name = &self.database;
        if self.db == Db::Postgres {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
            );
            // Those that have ended by themselves are as good.
            self.sql.execute(&end).await.ok();
            return;
        }
        let list = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{name}' AND id <> connection_id()"
        );
        for row in self.sql.rows(&list).await.unwrap_or_default() {
            let id = &row["id"];
            self.sql.execute(&format!("KILL {id}")).await.ok();
        }
    }

    fn note_memory(&mut self) {
        let pids = self.workers.iter().map(Worker::pid);
        // One that has just been started has not much yet.
        self.rss.extend(pids.filter_map(rss_mib).filter(|mib| *mib > STARTING_MIB));
    }
}
