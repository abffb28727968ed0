//! Cleaning up, beside the work and never in its way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::StoreError;
use crate::context::{Context, jittered};
use crate::outage::chain;
use crate::retention::{Begun, Cleaned, Maintenance, Occasion, RowsByKind, RunEnd};

/// From the end of one run to the next.
const INTERVAL: Duration = Duration::from_hours(1);
/// From the first worker of a config to its first run.
const FIRST_RUN: Duration = Duration::from_mins(3);
/// A worker looks whether a run is due so soon after it started; when that is stands in the database.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// It looks again after this at the earliest.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
/// Up to so much later, so that not all workers look at once.
const SPREAD: Duration = Duration::from_secs(10);
/// After a run that failed.
const AFTER_FAILURE: Duration = Duration::from_mins(10);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A cleaner that says nothing for so long is dead.
const LEASE: Duration = Duration::from_mins(2);
/// No batch and no pause is longer, so that the lease lasts over both.
const LONGEST: Duration = Duration::from_secs(40);

/// Rows of a first batch.
const FIRST_ROWS: usize = 500;
const FEWEST_ROWS: usize = 20;
const MOST_ROWS: usize = 1_000;
/// A batch that takes longer is too large: it holds locks and a share of the disk for so long.
const SLOW_BATCH: Duration = Duration::from_millis(100);
/// One that takes less than this may be larger.
const QUICK_BATCH: Duration = Duration::from_millis(25);
/// After each batch a pause so many times as long: a fifth of the time goes into cleaning.
const PAUSES_PER_BATCH: u32 = 4;

/// Failures in a row after which a run is given up.
const MOST_FAILURES: u32 = 5;
/// After the first of them, then twice, three times as long and so on.
const AFTER_FAILED_BATCH: Duration = Duration::from_secs(2);
/// A batch in hand has so long after a stop, and so has the note of how the run ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs until stopped; looks now and then whether a run is due, and then is the one that does it or leaves it to another.
pub(crate) async fn run<S: Maintenance, C>(context: Arc<Context<S, C>>) {
    let mut rng = fastrand::Rng::with_seed(context.settings.seed ^ 2);
    let mut wait = FIRST_LOOK;
    loop {
        context.pause(wait + SPREAD.mul_f64(rng.f64())).await;
        let looked = tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            looked = look(&context, &mut rng) => looked,
        };
        wait = match looked {
            Ok(Begun::Run(run)) => {
                let next = jittered(INTERVAL, &mut rng);
                let cleaning = Cleaning { store: &*context.store, stop: &context.stop, next };
                let (end, deleted) = cleaning.through(run, |_| ()).await;
                tell(&context.settings.config_key, &end, &deleted);
                SHORTEST_WAIT
            }
            Ok(Begun::Later(time)) => time.clamp(SHORTEST_WAIT, INTERVAL),
            Err(error) => {
                tell_failed_look(&context.settings.config_key, &error);
                LOOK_AGAIN
            }
        };
    }
}

async fn look<S: Maintenance, C>(
    context: &Context<S, C>,
    rng: &mut fastrand::Rng,
) -> Result<Begun<S::Run>, StoreError> {
    let first = jittered(FIRST_RUN, rng);
    within(LONGEST, context.store.begin(Occasion::Due, LEASE, first)).await
}

/// Cleans now, because a person asks for it: `Ok(None)` where somebody else is at it. `progress` hears after each batch
/// what is gone so far. Cancelling `stop` ends it after the batch in hand.
pub async fn clean_by_hand<S: Maintenance>(
    store: &S,
    stop: &CancellationToken,
    progress: impl FnMut(&RowsByKind),
) -> Result<Option<(RunEnd, RowsByKind)>, StoreError> {
    match store.begin(Occasion::ByHand, LEASE, FIRST_RUN).await? {
        Begun::Later(_) => Ok(None),
        Begun::Run(run) => {
            Ok(Some(Cleaning { store, stop, next: INTERVAL }.through(run, progress).await))
        }
    }
}

struct Cleaning<'a, S> {
    store: &'a S,
    stop: &'a CancellationToken,
    /// From the end of a complete run to the next.
    next: Duration,
}

impl<S: Maintenance> Cleaning<'_, S> {
    /// Batch after batch, each followed by a pause, and in the end a note of how it went.
    async fn through(
        &self,
        mut run: S::Run,
        mut progress: impl FnMut(&RowsByKind),
    ) -> (RunEnd, RowsByKind) {
        let mut deleted = RowsByKind::default();
        let end = self.batches(&mut run, &mut deleted, &mut progress).await;
        let next = match end {
            RunEnd::Complete => Some(self.next),
            RunEnd::Failed(_) => Some(AFTER_FAILURE),
            RunEnd::Stopped | RunEnd::LeaseLost => None,
        };
        let noted = self.unless_stopped(self.store.end(&run, &end, next)).await;
        let stopped = || Err(StoreError::Unavailable("the worker is stopping".into()));
        if let Err(error) = noted.unwrap_or_else(stopped) {
            let error = chain(&error);
            tracing::warn!(error, "cannot note how the cleaning ended, its lease ends by itself");
        }
        (end, deleted)
    }

    async fn batches(
        &self,
        run: &mut S::Run,
        deleted: &mut RowsByKind,
        progress: &mut impl FnMut(&RowsByKind),
    ) -> RunEnd {
        let mut rows = FIRST_ROWS;
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let Some(cleaned) = self.unless_stopped(self.store.clean(run, rows, LEASE)).await
            else {
                break;
            };
            let (more, is_all) = match cleaned {
                Ok(Cleaned::Some(more)) => (more, false),
                Ok(Cleaned::All(more)) => (more, true),
                Ok(Cleaned::LeaseLost) => return RunEnd::LeaseLost,
                Err(error) => {
                    failures += 1;
                    let error = chain(&error);
                    if failures == MOST_FAILURES {
                        return RunEnd::Failed(error);
                    }
                    tracing::debug!(error, attempt = failures, "cannot clean up, trying again");
                    rows = (rows / 2).max(FEWEST_ROWS);
                    self.pause(AFTER_FAILED_BATCH * failures).await;
                    continue;
                }
            };
            failures = 0;
            note(deleted, more);
            progress(deleted);
            if is_all {
                return RunEnd::Complete;
            }
            let took = began.elapsed();
            rows = next_rows(rows, took);
            self.pause((took * PAUSES_PER_BATCH).min(LONGEST)).await;
        }
        RunEnd::Stopped
    }

    /// A call with its deadline; `None` where a stop could not wait for it. What was not committed then is undone.
    async fn unless_stopped<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<Result<T, StoreError>> {
        let stopped = async {
            self.stop.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            biased;
            answer = within(LONGEST, call) => Some(answer),
            () = stopped => None,
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = sleep(time) => {}
        }
    }
}

fn note(deleted: &mut RowsByKind, more: RowsByKind) {
    for (kind, rows) in more.by_kind() {
        if rows > 0 {
            metrics::counter!("postroad_deleted_total", "kind" => kind).increment(rows);
        }
    }
    *deleted += more;
}

/// How large the next batch is, by how long the last one took.
fn next_rows(rows: usize, took: Duration) -> usize {
    if took > SLOW_BATCH {
        (rows / 2).max(FEWEST_ROWS)
    } else if took < QUICK_BATCH {
        (rows * 2).min(MOST_ROWS)
    } else {
        rows
    }
}

/// One call of the store with a deadline.
async fn within<T>(
    time: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(time, call).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", time.as_secs());
        Err(StoreError::Unavailable(why.into()))
    })
}

fn tell_failed_look(config_key: &str, error: &StoreError) {
    let why = chain(error);
    match error {
        // An outage is told by those who work.
        StoreError::Unavailable(_) => tracing::debug!(config_key, error = why, "cannot clean up"),
        StoreError::Refused(_) => tracing::warn!(config_key, error = why, "cannot clean up"),
    }
}

fn tell(config_key: &str, end: &RunEnd, deleted: &RowsByKind) {
    let rows = deleted.total();
    match end {
        RunEnd::Complete => tracing::info!(config_key, rows, "cleaned up"),
        RunEnd::Stopped => tracing::info!(config_key, rows, "stopped cleaning up"),
        RunEnd::LeaseLost => {
            tracing::warn!(config_key, rows, "another worker took over cleaning up");
        }
        RunEnd::Failed(error) => {
            tracing::warn!(config_key, rows, error, "cannot clean up, trying again later");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_large_as_it_is_quick() {
        assert_eq!(next_rows(500, Duration::from_millis(10)), MOST_ROWS);
        assert_eq!(next_rows(500, Duration::from_millis(50)), 500);
        assert_eq!(next_rows(500, Duration::from_millis(101)), 250);
        assert_eq!(next_rows(30, Duration::from_secs(9)), FEWEST_ROWS);
    }
}
