//! A store that tells when a number of rows is settled or stored, so that nobody has to ask the database.

use std::sync::Arc;
use std::time::Duration;

use postroad_store::{CleaningRun, SqlStore};
use postroad_worker_core::{
    Begun, Claim, Cleaned, Heartbeat, Hint, InboxEntry, InboxStore, Maintenance, Occasion,
    OutboxStore, RunEnd, Settlement, StoreError, Stored, WorkerRegistry,
};
use tokio::sync::watch;

/// Shared by the stores of all workers of one measurement.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    settled: Arc<watch::Sender<usize>>,
    stored: Arc<watch::Sender<usize>>,
}

impl Counters {
    /// Waits until so many rows are settled and so many stored.
    pub(crate) async fn reached(&self, settled: usize, stored: usize) {
        for (counter, goal) in [(&self.settled, settled), (&self.stored, stored)] {
            let mut count = counter.subscribe();
            count.wait_for(|count| *count >= goal).await.expect("the sender is in self");
        }
    }
}

#[derive(Clone)]
pub(crate) struct Counting {
    inner: SqlStore,
    counters: Counters,
}

impl Counting {
    pub(crate) fn new(inner: SqlStore, counters: Counters) -> Self {
        Self { inner, counters }
    }
}

impl OutboxStore for Counting {
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claim, StoreError> {
        self.inner.claim(limit, lease).await
    }

    async fn renew(&self, token: &str, lease: Duration) -> Result<usize, StoreError> {
        self.inner.renew(token, lease).await
    }

    async fn woken(&self) -> Hint {
        self.inner.woken().await
    }

    fn is_told(&self) -> bool {
        self.inner.is_told()
    }

    async fn settle(&self, token: &str, settlements: &[Settlement]) -> Result<usize, StoreError> {
        let settled = self.inner.settle(token, settlements).await?;
        self.counters.settled.send_modify(|count| *count += settled);
        Ok(settled)
    }
}

impl InboxStore for Counting {
    async fn store(&self, entries: &[InboxEntry]) -> Result<Stored, StoreError> {
        let stored = self.inner.store(entries).await?;
        self.counters.stored.send_modify(|count| *count += stored.inserted);
        Ok(stored)
    }
}

impl WorkerRegistry for Counting {
    async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        self.inner.heartbeat(heartbeat).await
    }
}

impl Maintenance for Counting {
    type Run = CleaningRun;

    async fn begin(
        &self,
        occasion: Occasion,
        lease: Duration,
        first: Duration,
    ) -> Result<Begun<CleaningRun>, StoreError> {
        self.inner.begin(occasion, lease, first).await
    }

    async fn clean(
        &self,
        run: &mut CleaningRun,
        rows: usize,
        lease: Duration,
    ) -> Result<Cleaned, StoreError> {
        self.inner.clean(run, rows, lease).await
    }

    async fn end(
        &self,
        run: &CleaningRun,
        end: &RunEnd,
        next: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.inner.end(run, end, next).await
    }
}
