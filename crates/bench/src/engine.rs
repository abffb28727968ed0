//! Workers in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postroad_store::{Database, SqlStore};
use postroad_transport::Transport;
use postroad_worker_core::{Counts, EnvelopeCodec, Settings, Worker, WorkerIdentity};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::counting::{Counters, Counting};

/// No measurement takes longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// What has to be through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Goal {
    /// Rows that are published and settled.
    pub(crate) settled: usize,
    /// Messages that are stored in the inbox.
    pub(crate) stored: usize,
}

/// Workers of one config, until they are stopped.
pub(crate) struct Engines {
    counters: Counters,
    stop: CancellationToken,
    workers: JoinSet<Counts>,
    started: Instant,
}

impl Engines {
    /// One worker for each database, which shares nothing with the others, as if it were another process.
    pub(crate) fn start(
        databases: &[Database],
        key: &str,
        transport: &Arc<impl Transport>,
        goal: Goal,
    ) -> Self {
        let counters = Counters::default();
        let stop = CancellationToken::new();
        let mut workers = JoinSet::new();
        let started = Instant::now();
        for database in databases {
            let store = SqlStore::new(database.clone(), key);
            let worker = Worker {
                store: Arc::new(Counting::new(store, counters.clone())),
                transport: Arc::clone(transport),
                codec: Arc::new(EnvelopeCodec),
                settings: Settings {
                    outbound: goal.settled > 0,
                    inbound: goal.stored > 0,
                    seed: Uuid::new_v4().as_u64_pair().0,
                    ..Settings::new(key, "bench")
                },
                identity: identity(),
            };
            workers.spawn(worker.run(stop.clone()));
        }
        Self { counters, stop, workers, started }
    }

    /// Waits until the goal is reached; the time since the start.
    pub(crate) async fn reached(&self, goal: Goal) -> Result<Duration> {
        let reached = self.counters.reached(goal.settled, goal.stored);
        let time = tokio::time::timeout(PATIENCE, reached).await.map(|()| self.started.elapsed());
        time.context("not every message was through within 5 minutes")
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(worker) = self.workers.join_next().await {
            worker.context("a worker panicked")?;
        }
        Ok(())
    }
}

fn identity() -> WorkerIdentity {
    WorkerIdentity {
        id: Uuid::new_v4().to_string(),
        host: "bench".to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
