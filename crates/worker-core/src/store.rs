//! What the engine needs of a database.
//!
//! A store belongs to one `config_key`. Every method is one short transaction of its own.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use postroad_envelope::OutboxColumns;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Unreachable, busy, restarting, a deadlock, a commit whose outcome is unknown: the same call is right to repeat.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The database answered that it will not do this: a missing table or permission. A person is needed; repeating
    /// does no harm.
    #[error("the database refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

/// A row of the outbox as claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Primary key.
    pub seq: i64,
    /// What the message is made of.
    pub columns: OutboxColumns,
    /// JSON text of the `headers` column.
    pub headers: Option<String>,
    /// Refused publishes so far.
    pub retry_count: u32,
    /// When the row was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Set where the row takes part in an order, so that its settling may free the next one.
    pub ordering_key: Option<String>,
}

/// Rows taken under one lease. Nobody else gets them before it ends by the database's clock.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claim {
    /// Random; every settling write is fenced by it.
    pub token: String,
    /// In the order in which they are due.
    pub rows: Vec<OutboxRow>,
}

/// What became of a claimed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker confirmed it.
    Published,
    /// It was sent where nothing confirms, which the settings allow: published, and `last_error` says so.
    Unacknowledged,
    /// It can never be sent: status `invalid`, with why.
    Invalid(String),
    /// Refused once more: stays `pending`, `retry_count` grows by one, due again after `delay`.
    Retry {
        /// From the database's now.
        delay: Duration,
        /// Kept in `last_error`.
        error: String,
    },
    /// Refused for the last time: status `error`, with why.
    Failed(String),
    /// Not tried, or of unknown outcome: due again at once, no attempt counted. `None` leaves `last_error` alone.
    Released(Option<String>),
}

/// One row's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Primary key of the row.
    pub seq: i64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The outbox of one config.
pub trait OutboxStore: Send + Sync + 'static {
    /// Takes up to `limit` due rows under a lease of `lease`, by the database's clock. Of rows with one
    /// `ordering_key` only the first that is not settled is due, so none while an earlier one is claimed. One that had ended and
    /// is put back by hand is the first again, even while a later one is claimed, which it cannot be before any more.
    ///
    /// After `Err` rows may be claimed all the same; their lease ends by itself.
    fn claim(
        &self,
        limit: usize,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Extends the lease of every row still held under `token` to `lease` from the database's now, and returns how many
    /// there are. After `Err` the lease may or may not have been extended.
    fn renew(
        &self,
        token: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Ends when rows may have become due since it ended last. Only a hint, which may come too early, too often or not at
    /// all: the relay looks by itself too. By default there never is one.
    fn woken(&self) -> impl Future<Output = Hint> + Send {
        std::future::pending()
    }

    /// Whether every row that is committed is followed by a hint at once, as far as is known. The relay then looks less
    /// often by itself.
    fn is_told(&self) -> bool {
        false
    }

    /// Writes outcomes, each only where the row is still held under `token`, and returns how many rows were (the rest
    /// lost their lease). Repeating after an `Err` is safe: a row settled already is no longer held, so it counts as
    /// lost then.
    fn settle(
        &self,
        token: &str,
        settlements: &[Settlement],
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// What is known when rows may have become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Rows were written. Their transaction may still be open, so that one look may come too early.
    Written,
    /// Something was committed, so that one look is enough.
    Committed,
}

/// A message to be stored as an inbox row.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxRow {
    /// Routing key or topic.
    pub topic: String,
    /// Identity; with `topic` and the config the deduplication key.
    pub message_id: String,
    /// `request`, `response`, `event` or `raw`.
    pub message_type: &'static str,
    /// `success` or `error`, of a response.
    pub message_status: Option<&'static str>,
    /// The request this belongs to.
    pub request_id: Option<String>,
    /// Of an event.
    pub event_type: Option<String>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// Who sent it.
    pub source_service: Option<String>,
    /// The request that caused this one.
    pub parent_request_id: Option<String>,
    /// How many requests led here.
    pub chain_depth: u32,
    /// JSON text, as it came.
    pub payload: String,
    /// JSON text of an object: the message's headers, and its unknown fields under `extra`.
    pub headers: Option<String>,
    /// Tells whether another message of the same identity is the same one; `None`: by its payload.
    pub fingerprint: Option<[u8; 32]>,
    /// What to keep should the row turn out to be a conflict or not storable.
    pub original: Original,
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Original {
    /// Exact bytes of the body.
    pub body: Bytes,
    /// JSON text: `{"headers": {..}, "properties": {..}}`.
    pub headers: Option<String>,
    /// Whether it may have been stored before, and not been acknowledged.
    pub redelivered: bool,
    /// An id of its arrival, the same each time it is delivered, where there is one.
    pub arrival_id: Option<String>,
}

/// A message that cannot be an inbox row, kept as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Routing key or topic.
    pub topic: String,
    /// A fixed word, see [`crate::reason`].
    pub reason: &'static str,
    /// What exactly is wrong, for a person.
    pub detail: String,
    /// What came.
    pub original: Original,
}

/// What an arrived message becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum InboxEntry {
    /// A row of `inbound_event`, unless it is there already.
    Message(Box<InboxRow>),
    /// A row of `quarantined_message`.
    Quarantine(Quarantined),
}

/// What [`InboxStore::store`] did with a batch; the sum of the numbers is the batch's length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// New inbox rows.
    pub inserted: usize,
    /// Known already, with an equal payload; ignored.
    pub duplicates: usize,
    /// Kept in quarantine: entries that said so, `id_conflict`s and `unstorable` ones. One that was kept already when it was
    /// delivered before is a duplicate instead.
    pub quarantined: usize,
    /// Which ones are in quarantine now, those that were before too.
    pub kept: Vec<Kept>,
}

/// An entry that is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the batch.
    pub index: usize,
    /// A fixed word, see [`crate::reason`].
    pub reason: &'static str,
    /// What exactly is wrong, for a person.
    pub detail: String,
}

/// The inbox of one config.
pub trait InboxStore: Send + Sync + 'static {
    /// Stores a whole batch; `Ok` means that it is committed and may be acknowledged. After `Err` nothing may be
    /// acknowledged; storing the same batch again is safe. A message that the database will not take is set apart by
    /// splitting the batch, and goes to quarantine as `unstorable`, costing the others nothing. One that was delivered before
    /// and is in quarantine since is not kept twice.
    fn store(
        &self,
        entries: &[InboxEntry],
    ) -> impl Future<Output = Result<Stored, StoreError>> + Send;
}

/// What a worker is doing, as `event_bus_worker.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerStatus {
    /// Not connected for the first time yet.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Without a broker connection, trying again.
    Reconnecting,
    /// Finishing what is in hand.
    Stopping,
    /// Gone in good order.
    Stopped,
}

impl WorkerStatus {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Reconnecting => "reconnecting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// Who a worker is; one per process start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// UUID.
    pub id: String,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
}

/// Totals since the worker started, and what the transport keeps now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows confirmed and settled.
    pub published: u64,
    /// Publishes refused by the broker.
    pub refused: u64,
    /// Rows settled as `invalid`.
    pub invalid: u64,
    /// Inbox rows stored.
    pub received: u64,
    /// Deliveries that were known already.
    pub duplicates: u64,
    /// Deliveries kept in quarantine.
    pub quarantined: u64,
    /// Rows that were no longer ours when we settled them.
    pub lease_lost: u64,
    /// Broker connections that ended or could not be made.
    pub disconnects: u64,
    /// Messages that the transport keeps for the database now.
    pub spool_messages: u64,
    /// Their size.
    pub spool_bytes: u64,
    /// How often the broker had lost what it kept for us.
    pub possible_gaps: u64,
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerIdentity,
    /// Doing what.
    pub status: WorkerStatus,
    /// The fault that lasts, if one does. Never holds a secret.
    pub last_error: Option<String>,
    /// Totals.
    pub counts: Counts,
}

/// The list of live workers.
pub trait WorkerRegistry: Send + Sync + 'static {
    /// Writes the worker's row, making it where it is missing, and mirrors status, time and error into the runtime
    /// config. A first heartbeat also clears away rows of workers that stopped or were not seen for a day.
    fn heartbeat(
        &self,
        heartbeat: &Heartbeat,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Which other workers of this config go on, as far as their heartbeats tell. By default there is none.
    ///
    /// Asked once the heartbeat of this worker says that it is stopping. Only where [`Others::last_sign`] grows is somebody
    /// there for sure; so of several that stop at once, the last one never hears of another.
    fn others(&self, _worker_id: &str) -> impl Future<Output = Result<Others, StoreError>> + Send {
        async { Ok(Others::default()) }
    }
}

/// The other workers of a config that were heard of within three heartbeats and did not say that they stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Whether there is one at all. It may be about to take messages in, and not have told so yet.
    pub any: bool,
    /// The last heartbeat that told of a running one that it has taken messages in: a time in the database's words, greater
    /// as text where it is later.
    pub last_sign: Option<String>,
}
