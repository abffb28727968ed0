//! What every task of a worker is given.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::outage::chain;
use crate::state::State;
use crate::{Settings, StoreError};

/// Between attempts to reach the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Context<S, C> {
    pub(crate) store: Arc<S>,
    pub(crate) codec: Arc<C>,
    pub(crate) settings: Settings,
    /// As the list of workers has it.
    pub(crate) worker_id: String,
    pub(crate) state: State,
    /// Take no more work; finish what is in hand.
    pub(crate) stop: CancellationToken,
    /// When that was noticed.
    pub(crate) stopped_at: OnceLock<Instant>,
    /// The time for finishing is over.
    pub(crate) give_up: CancellationToken,
}

impl<S, C> Context<S, C> {
    /// One call of the store with a deadline, its failures told to the outage of the database.
    pub(crate) async fn ask<T>(
        &self,
        party: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let error = match timeout(self.settings.store_deadline(), call).await {
            Ok(Ok(value)) => {
                self.state.database.over(party);
                return Some(value);
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {} s", self.settings.store_deadline().as_secs()),
        };
        self.state.database.note(party, &error);
        None
    }

    /// Repeats a call of the store until it succeeds; `None` where the time for finishing ran out first.
    pub(crate) async fn insist<T, F>(&self, party: &'static str, call: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            if let Some(value) = self.ask(party, call()).await {
                return Some(value);
            }
            tokio::select! {
                biased;
                () = self.give_up.cancelled() => return None,
                () = sleep(DATABASE_PAUSE) => {}
            }
        }
    }

    /// Waits until the worker is being stopped and the broker, last heard at that time, is too silent to be waited for.
    pub(crate) async fn broker_is_silent(&self, heard_at: Instant) {
        self.stop.cancelled().await;
        let stopped_at = *self.stopped_at.get_or_init(Instant::now);
        sleep_until(heard_at.max(stopped_at) + self.settings.confirm_patience()).await;
    }

    /// Closes a connection in good order, which a broker that does not answer does not hold up for long.
    pub(crate) async fn part(&self, close: impl Future<Output = ()>) {
        if timeout(self.settings.farewell_patience(), close).await.is_err() {
            tracing::debug!("the broker did not answer to a good-bye");
        }
    }

    /// Waits, unless the worker is stopped first.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = sleep(time) => {}
        }
    }

    /// Waits before asking the database again.
    pub(crate) async fn pause_for_database(&self) {
        self.pause(DATABASE_PAUSE).await;
    }
}

/// A time that different workers do not share: less up to a tenth.
pub(crate) fn jittered(time: Duration, rng: &mut fastrand::Rng) -> Duration {
    time.mul_f64(1.0 - 0.1 * rng.f64())
}
