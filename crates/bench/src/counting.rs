//! A store that tells when a number of rows is settled or stored, so that nobody has to ask the database.

use std::sync::Arc;
use std::time::Duration;

use postroad_store::{CleaningRun, SqlStore};
use postroad_worker_core::{
    Begun, Claim, Cleaned, Heartbeat, InboxEntry, InboxStore, Maintenance, Occasion, OutboxStore,
    RunEnd, Settlement, StoreError, Stored, WorkerRegistry,
};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Counting {
    inner: SqlStore,
    done: Arc<watch::Sender<usize>>,
}

impl Counting {
    pub(crate) fn new(inner: SqlStore) -> Self {
        Self { inner, done: Arc::new(watch::Sender::new(0)) }
    }

    /// Waits until this many rows are settled or stored.
    pub(crate) async fn reached(&self, rows: usize) {
        let mut done = self.done.subscribe();
        done.wait_for(|done| *done >= rows).await.expect("the sender is in self");
    }

    fn add(&self, rows: usize) {
        self.done.send_modify(|done| *done += rows);
    }
}

impl OutboxStore for Counting {
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claim, StoreError> {
        self.inner.claim(limit, lease).await
    }

    async fn renew(&self, token: &str, lease: Duration) -> Result<usize, StoreError> {
        self.inner.renew(token, lease).await
    }

    async fn settle(&self, token: &str, settlements: &[Settlement]) -> Result<usize, StoreError> {
        let settled = self.inner.settle(token, settlements).await?;
        self.add(settled);
        Ok(settled)
    }
}

impl InboxStore for Counting {
    async fn store(&self, entries: &[InboxEntry]) -> Result<Stored, StoreError> {
        let stored = self.inner.store(entries).await?;
        self.add(stored.inserted);
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
