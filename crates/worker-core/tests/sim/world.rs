//! One world: its services, its faults and what must hold in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad_envelope::OutboxColumns;
use postroad_transport_memory::{Broker, Fault, FaultPoint, MemorySettings, MemoryTransport};
use postroad_worker_core::{Backoff, EnvelopeCodec, Settings, Worker as Engine, WorkerIdentity};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::store::{MemoryStore, StoreFault};

const MAX_RETRIES: u32 = 4;
/// Virtual time in which things fail.
const TROUBLE: Duration = Duration::from_secs(45);
/// Virtual time after which everything must have gone out.
const HEALED_WITHIN: Duration = Duration::from_mins(10);

/// What happened, over all worlds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sent: usize,
    resent: usize,
    invalid: usize,
    failed: usize,
    retried: usize,
    duplicates: u64,
    lease_lost: u64,
    kills: usize,
    clean_stops: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.resent += other.resent;
        self.invalid += other.invalid;
        self.failed += other.failed;
        self.retried += other.retried;
        self.duplicates += other.duplicates;
        self.lease_lost += other.lease_lost;
        self.kills += other.kills;
        self.clean_stops += other.clean_stops;
    }

    pub(crate) fn has_seen_everything(&self) -> bool {
        let counts = [
            self.sent,
            self.resent,
            self.invalid,
            self.failed,
            self.retried,
            self.kills,
            self.clean_stops,
        ];
        counts.iter().all(|count| *count > 0) && self.duplicates > 0 && self.lease_lost > 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Published,
    Invalid,
    Error,
}

pub(crate) struct World {
    rng: fastrand::Rng,
    broker: Broker,
    /// Both services use one database here, as two configs of one would.
    sender: MemoryStore,
    receiver: MemoryStore,
    expected: BTreeMap<i64, Fate>,
    tally: Tally,
}

struct Worker {
    task: JoinHandle<postroad_worker_core::Counts>,
    stop: CancellationToken,
}

impl World {
    /// Lives one seed through, and panics where something does not hold in the end.
    pub(crate) async fn live(seed: u64) -> Tally {
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            broker: Broker::recording(),
            sender: MemoryStore::default(),
            receiver: MemoryStore::default(),
            expected: BTreeMap::new(),
            tally: Tally::default(),
        };
        let healed = world.start_trouble();
        let mut workers: Vec<(bool, Worker)> =
            vec![(true, world.worker(true)), (false, world.worker(false))];
        if world.rng.bool() {
            workers.push((true, world.worker(true)));
        }
        let until = Instant::now() + TROUBLE;
        while Instant::now() < until {
            world.write_rows();
            sleep(Duration::from_millis(world.rng.u64(0..5_000))).await;
            if world.rng.u8(0..5) == 0 {
                let victim = world.rng.usize(0..workers.len());
                let (sends, worker) = workers.swap_remove(victim);
                world.end(worker).await;
                workers.push((sends, world.worker(sends)));
            }
        }
        healed.store(true, Ordering::Relaxed);
        world.broker.clear_faults();
        world.sender.heal();
        world.receiver.heal();
        world.drain().await;
        for (sends, worker) in workers {
            worker.stop.cancel();
            let counts = worker.task.await.unwrap();
            world.tally.lease_lost += counts.lease_lost;
            world.tally.duplicates += if sends { 0 } else { counts.duplicates };
        }
        world.judge();
        world.tally
    }

    /// Faults come in bursts of their own likelihood, from dice of their own.
    fn start_trouble(&mut self) -> Arc<AtomicBool> {
        let healed = Arc::new(AtomicBool::new(false));
        for store in [&self.sender, &self.receiver] {
            let mut dice = self.rng.fork();
            let one_in = dice.u32(3..40);
            store.set_faults(move || {
                (dice.u32(0..one_in) == 0).then(|| match dice.u8(0..5) {
                    0 | 1 => StoreFault::Before,
                    2 | 3 => StoreFault::After,
                    _ => StoreFault::Slow(Duration::from_secs(dice.u64(1..60))),
                })
            });
        }
        let mut dice = self.rng.fork();
        let one_in = dice.u32(3..60);
        self.broker.set_confirm_latency(Duration::from_millis(dice.u64(0..50)));
        self.broker.set_confirm_timeout(Duration::from_secs(dice.u64(5..60)));
        self.broker.set_faults(move |point| {
            if dice.u32(0..one_in) != 0 {
                return None;
            }
            Some(match (point, dice.u8(0..5)) {
                (FaultPoint::Connect(_), 0) | (FaultPoint::BeforeTaking(_), 1) => Fault::Refuse,
                (FaultPoint::Connect(_), _) | (_, 0) => Fault::Disconnect,
                (_, 1 | 2) => Fault::DropConfirm,
                (_, 3) => Fault::Duplicate,
                (_, _) => Fault::Delay(Duration::from_millis(dice.u64(1..20_000))),
            })
        });
        healed
    }

    fn settings(&mut self, sends: bool) -> Settings {
        Settings {
            outbound: sends,
            inbound: !sends,
            batch_size: self.rng.usize(1..20),
            window: self.rng.usize(1..20),
            max_retry_count: MAX_RETRIES,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(20)),
            seed: self.rng.u64(..),
            ..Settings::new("default", "ebmr")
        }
    }

    fn worker(&mut self, sends: bool) -> Worker {
        let settings = self.settings(sends);
        let transport = MemoryTransport::new(
            self.broker.clone(),
            MemorySettings {
                queue: "inbox".to_owned(),
                bindings: vec!["event.#".to_owned(), "here.request.#".to_owned()],
                prefetch: self.rng.usize(1..30),
                window: self.rng.usize(1..30),
            },
        );
        let store = if sends { &self.sender } else { &self.receiver };
        let stop = CancellationToken::new();
        let identity = WorkerIdentity {
            id: self.rng.u64(..).to_string(),
            host: "sim".into(),
            pid: 1,
            version: "0".into(),
        };
        let worker = Engine {
            store: Arc::new(store.clone()),
            transport: Arc::new(transport),
            codec: Arc::new(EnvelopeCodec),
            settings,
            identity,
        };
        let task = tokio::spawn(worker.run(stop.clone()));
        Worker { task, stop }
    }

    /// Kills a worker, or stops it in good order.
    async fn end(&mut self, worker: Worker) {
        if self.rng.bool() {
            worker.task.abort();
            worker.task.await.unwrap_err();
            self.tally.kills += 1;
            return;
        }
        let stopped_at = Instant::now();
        worker.stop.cancel();
        let counts = worker.task.await.unwrap();
        assert!(
            stopped_at.elapsed() < Duration::from_secs(13),
            "took {:?} to stop",
            stopped_at.elapsed()
        );
        self.tally.lease_lost += counts.lease_lost;
        self.tally.duplicates += counts.duplicates;
        self.tally.clean_stops += 1;
    }

    fn write_rows(&mut self) {
        for _ in 0..self.rng.usize(0..4) {
            let n = self.expected.len();
            let mut columns = OutboxColumns {
                id: format!("row-{n}"),
                topic: "event.machine.spindle.started".to_owned(),
                event_type: Some("started".to_owned()),
                payload: format!(r#"{{"n": {n}}}"#),
                ..OutboxColumns::default()
            };
            let mut key = None;
            let fate = match self.rng.u8(0..10) {
                0 => {
                    "event.too.short".clone_into(&mut columns.topic);
                    Fate::Invalid
                }
                1 => {
                    request(&mut columns, "nowhere");
                    Fate::Error
                }
                2 | 3 => {
                    request(&mut columns, "here");
                    Fate::Published
                }
                4..7 => {
                    key = Some(format!("key-{}", self.rng.u8(0..2)));
                    Fate::Published
                }
                _ => Fate::Published,
            };
            let seq = self.sender.insert(columns, key);
            self.expected.insert(seq, fate);
        }
    }

    async fn drain(&self) {
        let until = Instant::now() + HEALED_WITHIN;
        while Instant::now() < until {
            let pending = self.sender.tables().outbox.values().any(|row| row.status == "pending");
            if !pending
                && self.broker.depth("inbox") == 0
                && self.broker.unacknowledged("inbox") == 0
            {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let tables = self.sender.tables();
        let pending: Vec<_> =
            tables.outbox.values().filter(|row| row.status == "pending").collect();
        panic!("not drained: {pending:#?}, {} in the queue", self.broker.depth("inbox"));
    }

    fn judge(&mut self) {
        let sent = self.sender.tables();
        let received = self.receiver.tables();
        let taken = self.broker.taken();
        for (seq, fate) in &self.expected {
            let row = &sent.outbox[seq];
            let id = &row.claimable.columns.id;
            let on_the_wire: Vec<_> =
                taken.iter().filter(|message| message.message_id == *id).collect();
            let in_the_inbox: Vec<_> =
                received.inbox.iter().filter(|inbox| inbox.message_id == *id).collect();
            if row.status == "error" && *fate == Fate::Published {
                // Refused by chance as often as the limit allows; then it may have arrived all the same or not.
                assert_eq!(row.claimable.retry_count, MAX_RETRIES, "{row:?}");
                continue;
            }
            match fate {
                Fate::Published => {
                    assert_eq!(row.status, "published", "{row:?}");
                    assert_eq!(
                        in_the_inbox.len(),
                        1,
                        "{row:?} is {} times in the inbox",
                        in_the_inbox.len()
                    );
                    assert_eq!(in_the_inbox[0].payload, row.claimable.columns.payload);
                    assert!(!on_the_wire.is_empty());
                    assert!(
                        on_the_wire.iter().all(|message| **message == *on_the_wire[0]),
                        "a resend differs"
                    );
                    self.tally.sent += 1;
                    self.tally.resent += usize::from(on_the_wire.len() > 1);
                    self.tally.retried += usize::from(row.claimable.retry_count > 0);
                }
                Fate::Invalid => {
                    assert_eq!((row.status, row.claimable.retry_count), ("invalid", 0), "{row:?}");
                    assert!(on_the_wire.is_empty() && in_the_inbox.is_empty());
                    self.tally.invalid += 1;
                }
                Fate::Error => {
                    assert_eq!(
                        (row.status, row.claimable.retry_count),
                        ("error", MAX_RETRIES),
                        "{row:?}"
                    );
                    assert!(in_the_inbox.is_empty());
                    self.tally.failed += 1;
                }
            }
        }
        assert!(received.quarantine.is_empty(), "{:?}", received.quarantine);
        let known = |id: &str| sent.outbox.values().any(|row| row.claimable.columns.id == id);
        assert!(received.inbox.iter().all(|row| known(&row.message_id)), "something was made up");
        let mut last = BTreeMap::new();
        for row in &received.inbox {
            let source =
                sent.outbox.values().find(|source| source.claimable.columns.id == row.message_id);
            let Some(source) = source.filter(|source| source.claimable.ordering_key.is_some())
            else {
                continue;
            };
            let before = last.insert(source.claimable.ordering_key.clone(), source.claimable.seq);
            assert!(
                before < Some(source.claimable.seq),
                "{:?} arrived after {before:?}",
                source.claimable
            );
        }
    }
}

fn request(columns: &mut OutboxColumns, service: &str) {
    columns.topic = format!("{service}.request.machine.read");
    columns.event_type = None;
    columns.request_id = Some(format!("request-{}", columns.id));
    columns.reply_to = Some("ebmr.response.machine.read".to_owned());
}
