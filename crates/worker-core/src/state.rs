//! What the tasks of one worker share: totals, connections and outages.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::quiet::Quiet;
use crate::{Counts, Stored, WorkerStatus};

/// One way through the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Outbound,
    Inbound,
}

/// Shared by all tasks of a worker.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) totals: Totals,
    pub(crate) database: Outage,
    pub(crate) broker: Outage,
    pub(crate) quiet: Quiet,
    /// Wakes the heartbeat when there is something to tell at once.
    pub(crate) changed: Notify,
    /// The database knows that this worker is stopping.
    pub(crate) stop_is_known: CancellationToken,
    /// The intake was connected, once at least, or is not wanted.
    pub(crate) has_inbox: CancellationToken,
    sides: Mutex<Sides>,
}

#[derive(Debug)]
struct Sides {
    outbound: Connection,
    inbound: Connection,
    stopping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    NotWanted,
    NotYet,
    Up,
    Down,
}

impl State {
    pub(crate) fn new(outbound: bool, inbound: bool, counted: &Counts) -> Self {
        let wanted = |yes| if yes { Connection::NotYet } else { Connection::NotWanted };
        let has_inbox = CancellationToken::new();
        if !inbound {
            has_inbox.cancel();
        }
        Self {
            totals: Totals::from(counted),
            database: Outage::of("database", "database not available, trying again until it is"),
            broker: Outage::of("broker", "broker not available, trying again until it is"),
            quiet: Quiet::default(),
            changed: Notify::new(),
            stop_is_known: CancellationToken::new(),
            has_inbox,
            sides: Mutex::new(Sides {
                outbound: wanted(outbound),
                inbound: wanted(inbound),
                stopping: false,
            }),
        }
    }

    /// What was held back from the log and is due.
    pub(crate) fn held_back(&self, now: Instant) -> Vec<(&'static str, u64)> {
        [self.quiet.due(now), self.database.due(now), self.broker.due(now)].concat()
    }

    /// All that was held back, at the end.
    pub(crate) fn rest(&self, now: Instant) -> Vec<(&'static str, u64)> {
        [self.quiet.rest(now), self.database.rest(now), self.broker.rest(now)].concat()
    }

    pub(crate) fn connected(&self, side: Side) {
        self.set(side, Connection::Up);
        if side == Side::Inbound {
            self.has_inbox.cancel();
        }
    }

    pub(crate) fn disconnected(&self, side: Side) {
        self.totals.disconnects.add(1);
        self.set(side, Connection::Down);
    }

    /// Counts a batch. The first one is told at once: a worker that stops leaves its group only to those who told of one.
    pub(crate) fn took_in(&self, stored: &Stored) {
        let totals = &self.totals;
        let taken_in =
            || totals.received.get() + totals.duplicates.get() + totals.quarantined.get();
        let before = taken_in();
        totals.received.add(stored.inserted);
        totals.duplicates.add(stored.duplicates);
        totals.quarantined.add(stored.quarantined);
        if before == 0 && taken_in() > 0 {
            self.changed.notify_one();
        }
    }

    pub(crate) fn stopping(&self) {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
        self.changed.notify_one();
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        let sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        let both = [sides.outbound, sides.inbound];
        if sides.stopping {
            WorkerStatus::Stopping
        } else if both.contains(&Connection::Down) {
            WorkerStatus::Reconnecting
        } else if both.contains(&Connection::NotYet) {
            WorkerStatus::Starting
        } else {
            WorkerStatus::Running
        }
    }

    fn set(&self, side: Side, connection: Connection) {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match side {
            Side::Outbound => &mut sides.outbound,
            Side::Inbound => &mut sides.inbound,
        };
        if *slot != connection {
            *slot = connection;
            self.changed.notify_one();
        }
    }
}

/// The totals of [`Counts`], counted as they happen; each also goes to the `metrics` facade.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) published: Total,
    pub(crate) refused: Total,
    pub(crate) invalid: Total,
    pub(crate) received: Total,
    pub(crate) duplicates: Total,
    pub(crate) quarantined: Total,
    pub(crate) lease_lost: Total,
    pub(crate) disconnects: Total,
}

impl From<&Counts> for Totals {
    fn from(counted: &Counts) -> Self {
        Self {
            published: Total::of("postroad_published_total", counted.published),
            refused: Total::of("postroad_refused_total", counted.refused),
            invalid: Total::of("postroad_invalid_total", counted.invalid),
            received: Total::of("postroad_received_total", counted.received),
            duplicates: Total::of("postroad_duplicates_total", counted.duplicates),
            quarantined: Total::of("postroad_quarantined_total", counted.quarantined),
            lease_lost: Total::of("postroad_lease_lost_total", counted.lease_lost),
            disconnects: Total::of("postroad_disconnects_total", counted.disconnects),
        }
    }
}

impl Totals {
    pub(crate) fn snapshot(&self) -> Counts {
        Counts {
            published: self.published.get(),
            refused: self.refused.get(),
            invalid: self.invalid.get(),
            received: self.received.get(),
            duplicates: self.duplicates.get(),
            quarantined: self.quarantined.get(),
            lease_lost: self.lease_lost.get(),
            disconnects: self.disconnects.get(),
            ..Counts::default()
        }
    }
}

/// A number that only grows.
#[derive(Debug)]
pub(crate) struct Total {
    name: &'static str,
    value: AtomicU64,
}

impl Total {
    fn of(name: &'static str, value: u64) -> Self {
        Self { name, value: AtomicU64::new(value) }
    }

    pub(crate) fn add(&self, more: usize) {
        if more > 0 {
            self.value.fetch_add(more as u64, Ordering::Relaxed);
            metrics::counter!(self.name).increment(more as u64);
        }
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_runs_when_every_wanted_side_is_connected() {
        let state = State::new(true, true, &Counts::default());
        assert_eq!(state.status(), WorkerStatus::Starting);
        state.connected(Side::Outbound);
        assert_eq!(state.status(), WorkerStatus::Starting);
        state.connected(Side::Inbound);
        assert_eq!(state.status(), WorkerStatus::Running);
        state.disconnected(Side::Inbound);
        assert_eq!(state.status(), WorkerStatus::Reconnecting);
        state.stopping();
        assert_eq!(state.status(), WorkerStatus::Stopping);
    }

    #[test]
    fn a_side_that_is_not_wanted_is_not_waited_for() {
        let state = State::new(true, false, &Counts::default());
        state.connected(Side::Outbound);
        assert_eq!(state.status(), WorkerStatus::Running);
    }
}
