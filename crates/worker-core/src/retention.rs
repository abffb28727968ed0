//! What cleaning up needs of a database.

use std::future::Future;
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use crate::StoreError;

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It is time for one.
    Due,
    /// A person asks for one now. It looks through the whole of each table.
    ByHand,
}

/// What came of the wish to clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun<R> {
    /// The lease is ours.
    Run(R),
    /// Somebody else cleans, or nothing is due yet; worth asking again after so long.
    Later(Duration),
}

/// What one batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaned {
    /// So much is gone, and there may be more.
    Some(RowsByKind),
    /// So much is gone, and that was all.
    All(RowsByKind),
    /// Somebody else took over; nothing was deleted.
    LeaseLost,
}

/// How a run ended, as `event_bus_maintenance.last_result` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Nothing is left that was due when it began.
    Complete,
    /// It was told to stop; whoever comes next goes on.
    Stopped,
    /// Somebody else took over.
    LeaseLost,
    /// The database would not, and said why. Never holds a secret.
    Failed(String),
}

/// How many rows of each kind, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RowsByKind {
    /// Outbox rows that were published.
    pub published: u64,
    /// Inbox rows that were processed.
    pub processed: u64,
    /// Rows of either that ended as `error`.
    pub error: u64,
    /// Outbox rows that could never be sent.
    pub invalid: u64,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// Notes of messages that came, by which a duplicate is known.
    pub dedupe: u64,
}

impl RowsByKind {
    /// All of them.
    pub const fn total(&self) -> u64 {
        let Self { published, processed, error, invalid, quarantined, dedupe } = *self;
        published + processed + error + invalid + quarantined + dedupe
    }

    /// Each with the word for it, as in `retention_days_<word>`.
    pub const fn by_kind(&self) -> [(&'static str, u64); 6] {
        [
            ("published", self.published),
            ("processed", self.processed),
            ("error", self.error),
            ("invalid", self.invalid),
            ("quarantined", self.quarantined),
            ("dedupe", self.dedupe),
        ]
    }
}

impl AddAssign for RowsByKind {
    fn add_assign(&mut self, more: Self) {
        self.published += more.published;
        self.processed += more.processed;
        self.error += more.error;
        self.invalid += more.invalid;
        self.quarantined += more.quarantined;
        self.dedupe += more.dedupe;
    }
}

/// Deleting what one config has kept for long enough. One cleaner at a time, by a lease on the database's clock.
pub trait Maintenance: Send + Sync + 'static {
    /// A run under way: its lease, and how far it got.
    type Run: Send;

    /// Takes the lease for `lease`, where nobody else has it and, for [`Occasion::Due`], the time for a run has come. The
    /// first asking for a config whose turn never came sets that time to `first` from now.
    ///
    /// After `Err` the lease may be taken all the same; it ends by itself.
    fn begin(
        &self,
        occasion: Occasion,
        lease: Duration,
        first: Duration,
    ) -> impl Future<Output = Result<Begun<Self::Run>, StoreError>> + Send;

    /// Looks at up to `rows` rows, deletes those whose time is over, and extends the lease to `lease`: one short transaction,
    /// in which nothing is deleted where the lease is somebody else's by now. After `Err` the same call is right to repeat.
    fn clean(
        &self,
        run: &mut Self::Run,
        rows: usize,
        lease: Duration,
    ) -> impl Future<Output = Result<Cleaned, StoreError>> + Send;

    /// Gives the lease back and writes down how the run ended; the next one is due after `next`, or as before where that is
    /// `None`. Nothing happens where the lease is somebody else's.
    fn end(
        &self,
        run: &Self::Run,
        end: &RunEnd,
        next: Option<Duration>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
