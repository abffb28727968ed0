//! How an engine is to behave.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use postroad_envelope::Limits;

use crate::{Backoff, Counts};

/// Everything the engine needs to know of a runtime config; checked by whoever reads the config.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For logs.
    pub config_key: String,
    /// Goes into envelopes whose row names no service.
    pub source_service: String,
    /// Largest message and deepest chain.
    pub limits: Limits,
    /// Whether rows are published.
    pub outbound: bool,
    /// Whether messages are taken in.
    pub inbound: bool,
    /// Most rows of one claim and of one inbox transaction.
    pub batch_size: usize,
    /// Most rows that are published and not settled: what a crash may send again.
    pub window: usize,
    /// How long claimed rows stay ours without a sign of life.
    pub lease: Duration,
    /// How often to look for rows while there are none.
    pub poll_interval: Duration,
    /// Between attempts to reach a broker.
    pub reconnect_interval: Duration,
    /// Between heartbeats.
    pub heartbeat_interval: Duration,
    /// Refused publishes after which a row is tried again; one more refusal makes it `error`.
    pub max_retry_count: u32,
    /// Delays between those tries.
    pub backoff: Backoff,
    /// How long a clean stop may take. A broker that does not answer takes a third of it, a database all of it.
    pub grace: Duration,
    /// Seeds the dice for jitter.
    pub seed: u64,
    /// What the same process counted before, by another config: the totals go on from there.
    pub counted: Counts,
    /// Set before a stop after which the same process goes on by another config: the last heartbeat then says `starting`.
    pub goes_on: Arc<AtomicBool>,
}

impl Settings {
    /// The defaults of the runtime config, for one service.
    pub fn new(config_key: impl Into<String>, source_service: impl Into<String>) -> Self {
        Self {
            config_key: config_key.into(),
            source_service: source_service.into(),
            limits: Limits::default(),
            outbound: true,
            inbound: true,
            batch_size: 500,
            window: 256,
            lease: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            reconnect_interval: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(10),
            max_retry_count: 10,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_mins(5)),
            grace: Duration::from_secs(10),
            seed: 0,
            counted: Counts::default(),
            goes_on: Arc::default(),
        }
    }

    /// Publishing without a renewed lease ends this long after the claim, well before the lease does.
    pub(crate) fn publish_time(&self) -> Duration {
        self.lease.mul_f64(0.75)
    }

    /// How often a lease is renewed while confirms are outstanding.
    pub(crate) fn renew_interval(&self) -> Duration {
        self.lease / 3
    }

    /// A stop waits no longer for the next confirm of a broker.
    pub(crate) fn confirm_patience(&self) -> Duration {
        self.grace / 4
    }

    /// Nor so long for the answer to a good-bye.
    pub(crate) fn farewell_patience(&self) -> Duration {
        self.grace / 10
    }

    /// How long one call of the store may take.
    pub(crate) fn store_deadline(&self) -> Duration {
        self.lease
    }
}
