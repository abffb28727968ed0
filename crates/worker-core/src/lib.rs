//! The engine: outbound relay, inbound intake, backoff, supervision and heartbeats. It knows no SQL and no broker.
//!
//! A [`Worker`] drives any [`OutboxStore`], [`InboxStore`] and [`WorkerRegistry`] over any
//! [`Transport`](postroad_transport::Transport). A row is settled as published only after the broker confirmed it; a
//! delivery is acknowledged only after its batch was committed.

mod backoff;
mod batch;
mod codec;
mod context;
mod decode;
mod encode;
mod idle;
mod inbound;
mod lease;
mod link;
mod outage;
mod outbound;
pub mod reason;
mod settings;
mod state;
mod store;
mod worker;

pub use backoff::Backoff;
pub use codec::{Codec, EnvelopeCodec};
pub use decode::decode;
pub use encode::encode;
pub use settings::Settings;
pub use store::{
    Claim, Counts, Heartbeat, InboxEntry, InboxRow, InboxStore, Original, Others, OutboxRow,
    OutboxStore, Outcome, Quarantined, Settlement, StoreError, Stored, WorkerIdentity,
    WorkerRegistry, WorkerStatus,
};
pub use worker::Worker;
