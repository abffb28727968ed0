//! The engine: outbound relay, inbound intake, backoff, supervision and heartbeats. It knows no SQL and no broker.

pub mod reason;
mod store;

pub use store::{
    Claim, Counts, Heartbeat, InboxEntry, InboxRow, InboxStore, Original, OutboxRow, OutboxStore, Outcome, Quarantined,
    Settlement, StoreError, Stored, WorkerIdentity, WorkerRegistry, WorkerStatus,
};
