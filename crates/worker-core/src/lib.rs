//! The engine: outbound relay, inbound intake, backoff, cleaning up, supervision and heartbeats. It knows no SQL and no broker.
//!
//! A [`Worker`] drives any [`OutboxStore`], [`InboxStore`], [`WorkerRegistry`] and [`Maintenance`] over any
//! [`Transport`](postroad_transport::Transport). A row is settled as published only after the broker confirmed it; a
//! delivery is acknowledged only after its batch was committed.

mod backoff;
mod batch;
mod codec;
mod context;
mod decode;
mod encode;
mod headers;
mod idle;
mod inbound;
mod lease;
mod link;
mod maintenance;
mod outage;
mod outbound;
mod quiet;
pub mod reason;
mod retention;
mod settings;
mod state;
mod store;
mod worker;

pub use backoff::Backoff;
pub use codec::{Codec, EnvelopeCodec};
pub use decode::decode;
pub use encode::encode;
pub use maintenance::clean_by_hand;
/// What a check-up of a store says, as that of a transport does.
pub use postroad_transport::{Finding, Level};
pub use retention::{Begun, Cleaned, Maintenance, Occasion, RowsByKind, RunEnd};
pub use settings::Settings;
pub use store::{
    Claim, Counts, Heartbeat, Hint, InboxEntry, InboxRow, InboxStore, Kept, Original, Others,
    OutboxRow, OutboxStore, Outcome, Quarantined, Settlement, StoreError, Stored, WorkerIdentity,
    WorkerRegistry, WorkerStatus,
};
pub use worker::Worker;
