//! A store in memory that fails on demand, for tests of the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use postroad_envelope::OutboxColumns;
use postroad_worker_core::{
    Begun, Claim, Cleaned, Heartbeat, InboxEntry, InboxRow, InboxStore, Maintenance, Occasion,
    OutboxRow, OutboxStore, Outcome, Quarantined, RowsByKind, RunEnd, Settlement, StoreError,
    Stored, WorkerRegistry, reason,
};
use tokio::time::{Instant, sleep};

/// How a call of the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Nothing was done.
    Before,
    /// It was done, and the answer was lost.
    After,
    /// It takes long.
    Slow(Duration),
}

type Faults = Box<dyn FnMut() -> Option<StoreFault> + Send>;

/// One database; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    faults: Arc<Mutex<Option<Faults>>>,
}

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) outbox: BTreeMap<i64, Row>,
    pub(crate) inbox: Vec<InboxRow>,
    pub(crate) quarantine: Vec<Quarantined>,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) cleaning: Cleaning,
    claims: u64,
}

/// What a database knows of cleaning up.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// Rows that are due.
    pub(crate) due: u64,
    /// When each run began.
    pub(crate) begun: Vec<Instant>,
    /// How each run ended that did.
    pub(crate) ends: Vec<RunEnd>,
    /// When each batch was, and its rows.
    pub(crate) batches: Vec<(Instant, u64)>,
    pub(crate) next_run: Option<Instant>,
    leased_until: Option<Instant>,
    is_refused: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) claimable: OutboxRow,
    pub(crate) status: &'static str,
    pub(crate) last_error: Option<String>,
    due_at: Instant,
    token: Option<String>,
}

impl MemoryStore {
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: impl FnMut() -> Option<StoreFault> + Send + 'static) {
        *self.faults.lock().unwrap() = Some(Box::new(faults));
    }

    /// As where a right to delete is missing.
    pub(crate) fn refuse_cleaning(&self, yes: bool) {
        self.tables().cleaning.is_refused = yes;
    }

    pub(crate) fn heal(&self) {
        *self.faults.lock().unwrap() = None;
    }

    pub(crate) fn insert(&self, columns: OutboxColumns, ordering_key: Option<String>) -> i64 {
        let mut tables = self.tables();
        let seq = i64::try_from(tables.outbox.len()).unwrap() + 1;
        let row =
            OutboxRow { seq, columns, headers: None, retry_count: 0, created_at: 1, ordering_key };
        let row = Row {
            claimable: row,
            status: "pending",
            last_error: None,
            due_at: Instant::now(),
            token: None,
        };
        tables.outbox.insert(seq, row);
        seq
    }

    /// Every lease is over, as it is for a worker that was stopped for long.
    pub(crate) fn end_leases(&self) {
        for row in self.tables().outbox.values_mut() {
            row.due_at = row.due_at.min(Instant::now());
        }
    }

    async fn call<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        let fault = self.faults.lock().unwrap().as_mut().and_then(|faults| faults());
        match fault {
            Some(StoreFault::Before) => {
                return Err(StoreError::Unavailable("down on demand".into()));
            }
            Some(StoreFault::Slow(time)) => sleep(time).await,
            Some(StoreFault::After) | None => sleep(Duration::from_millis(1)).await,
        }
        let value = work(&mut self.tables());
        match fault {
            Some(StoreFault::After) => Err(StoreError::Unavailable("answer lost on demand".into())),
            _ => Ok(value),
        }
    }
}

impl OutboxStore for MemoryStore {
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claim, StoreError> {
        self.call(|tables| {
            tables.claims += 1;
            let token = format!("claim-{}", tables.claims);
            let now = Instant::now();
            let mut seen_keys = Vec::new();
            let mut rows = Vec::new();
            for row in tables.outbox.values_mut().filter(|row| row.status == "pending") {
                if let Some(key) = &row.claimable.ordering_key {
                    if seen_keys.contains(key) {
                        continue;
                    }
                    seen_keys.push(key.clone());
                }
                if row.due_at <= now && rows.len() < limit {
                    row.due_at = now + lease;
                    row.token = Some(token.clone());
                    rows.push(row.claimable.clone());
                }
            }
            Claim { token, rows }
        })
        .await
    }

    async fn renew(&self, token: &str, lease: Duration) -> Result<usize, StoreError> {
        self.call(|tables| {
            let held = tables.outbox.values_mut().filter(|row| row.token.as_deref() == Some(token));
            held.map(|row| row.due_at = Instant::now() + lease).count()
        })
        .await
    }

    async fn settle(&self, token: &str, settlements: &[Settlement]) -> Result<usize, StoreError> {
        self.call(|tables| {
            settlements.iter().filter(|settlement| tables.settle(token, settlement)).count()
        })
        .await
    }
}

impl Tables {
    fn settle(&mut self, token: &str, settlement: &Settlement) -> bool {
        let Some(row) = self.outbox.get_mut(&settlement.seq) else { return false };
        if row.token.as_deref() != Some(token) {
            return false;
        }
        row.token = None;
        row.due_at = Instant::now();
        match &settlement.outcome {
            Outcome::Published | Outcome::Unacknowledged => row.status = "published",
            Outcome::Invalid(error) => row.end("invalid", error),
            Outcome::Failed(error) => row.end("error", error),
            Outcome::Retry { delay, error } => {
                row.due_at += *delay;
                row.claimable.retry_count += 1;
                row.last_error = Some(error.clone());
            }
            Outcome::Released(_) => {}
        }
        true
    }

    fn store(&mut self, entry: &InboxEntry) -> Stored {
        let row = match entry {
            InboxEntry::Message(row) => row,
            InboxEntry::Quarantine(kept) => {
                self.quarantine.push(kept.clone());
                return Stored { quarantined: 1, ..Stored::default() };
            }
        };
        let known = self
            .inbox
            .iter()
            .find(|known| known.topic == row.topic && known.message_id == row.message_id);
        match known {
            None => {
                self.inbox.push((**row).clone());
                Stored { inserted: 1, ..Stored::default() }
            }
            Some(known) if known.payload == row.payload => {
                Stored { duplicates: 1, ..Stored::default() }
            }
            Some(_) => {
                self.quarantine.push(Quarantined {
                    topic: row.topic.clone(),
                    reason: reason::ID_CONFLICT,
                    detail: String::new(),
                    original: row.original.clone(),
                });
                Stored { quarantined: 1, ..Stored::default() }
            }
        }
    }
}

impl Row {
    pub(crate) fn is_claimed(&self) -> bool {
        self.token.is_some()
    }

    fn end(&mut self, status: &'static str, error: &str) {
        self.status = status;
        self.last_error = Some(error.to_owned());
    }
}

impl InboxStore for MemoryStore {
    async fn store(&self, entries: &[InboxEntry]) -> Result<Stored, StoreError> {
        self.call(|tables| {
            entries.iter().map(|entry| tables.store(entry)).fold(Stored::default(), |sum, one| {
                Stored {
                    inserted: sum.inserted + one.inserted,
                    duplicates: sum.duplicates + one.duplicates,
                    quarantined: sum.quarantined + one.quarantined,
                    ..Stored::default()
                }
            })
        })
        .await
    }
}

impl WorkerRegistry for MemoryStore {
    async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        self.call(|tables| tables.heartbeats.push(heartbeat.clone())).await
    }
}

impl Maintenance for MemoryStore {
    /// The number of the run.
    type Run = usize;

    async fn begin(
        &self,
        occasion: Occasion,
        lease: Duration,
        first: Duration,
    ) -> Result<Begun<usize>, StoreError> {
        self.call(|tables| {
            let (cleaning, now) = (&mut tables.cleaning, Instant::now());
            let next_run = *cleaning.next_run.get_or_insert(now + first);
            let free_at = cleaning.leased_until.unwrap_or(now);
            let due_at = if occasion == Occasion::Due { next_run.max(free_at) } else { free_at };
            if due_at > now {
                return Begun::Later(due_at - now);
            }
            cleaning.leased_until = Some(now + lease);
            cleaning.begun.push(now);
            Begun::Run(cleaning.begun.len())
        })
        .await
    }

    async fn clean(
        &self,
        run: &mut usize,
        rows: usize,
        lease: Duration,
    ) -> Result<Cleaned, StoreError> {
        if self.tables().cleaning.is_refused {
            return Err(StoreError::Refused("no permission".into()));
        }
        self.call(|tables| {
            let (cleaning, now) = (&mut tables.cleaning, Instant::now());
            if cleaning.begun.len() != *run {
                return Cleaned::LeaseLost;
            }
            cleaning.leased_until = Some(now + lease);
            let published = cleaning.due.min(rows as u64);
            cleaning.due -= published;
            cleaning.batches.push((now, published));
            let deleted = RowsByKind { published, ..RowsByKind::default() };
            if cleaning.due == 0 { Cleaned::All(deleted) } else { Cleaned::Some(deleted) }
        })
        .await
    }

    async fn end(
        &self,
        run: &usize,
        end: &RunEnd,
        next: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.call(|tables| {
            let (cleaning, now) = (&mut tables.cleaning, Instant::now());
            if cleaning.begun.len() == *run {
                cleaning.leased_until = None;
                cleaning.ends.push(end.clone());
                cleaning.next_run = next.map_or(cleaning.next_run, |next| Some(now + next));
            }
        })
        .await
    }
}
