//! The rows of one claim, from being claimed to being settled.

use std::collections::BTreeMap;

use postroad_transport::{Outgoing, PublishError};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::quiet::Quiet;
use crate::{Codec, OutboxRow, Outcome, Settings, Settlement};

const INVALID: &str = "row can never be sent";
const FAILED: &str = "publish refused for the last time";

/// The rows of one claim on their way.
pub(crate) struct Batch<'w> {
    /// Retries so far of the rows that are with the broker.
    pub(crate) underway: BTreeMap<i64, u32>,
    pub(crate) settled: Outcomes<'w>,
    confirms: bool,
    quiet: &'w Quiet,
}

/// What is to be written, with the places in the window that this frees.
#[derive(Default)]
pub(crate) struct Outcomes<'w> {
    pub(crate) rows: Vec<Settlement>,
    places: Option<SemaphorePermit<'w>>,
}

impl<'w> Outcomes<'w> {
    fn push(&mut self, seq: i64, outcome: Outcome) {
        self.rows.push(Settlement { seq, outcome });
    }

    fn hold(&mut self, place: SemaphorePermit<'w>) {
        match &mut self.places {
            Some(places) => places.merge(place),
            None => self.places = Some(place),
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
        if let Some(places) = other.places {
            self.hold(places);
        }
    }
}

impl<'w> Batch<'w> {
    /// Makes the messages; rows that can never be sent are settled at once.
    pub(crate) fn prepare(
        rows: Vec<OutboxRow>,
        codec: &impl Codec,
        settings: &Settings,
        confirms: bool,
        quiet: &'w Quiet,
    ) -> (Self, Vec<(i64, Outgoing)>) {
        let (underway, settled) = (BTreeMap::new(), Outcomes::default());
        let mut batch = Self { underway, settled, confirms, quiet };
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            match codec.encode(&row, settings) {
                Ok(message) => {
                    batch.underway.insert(row.seq, row.retry_count);
                    messages.push((row.seq, message));
                }
                Err(problem) => batch.invalid(row.seq, problem),
            }
        }
        (batch, messages)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.underway.is_empty() && self.settled.rows.is_empty()
    }

    /// Half a window, or all there is, or whatever there is by `settle_at`.
    pub(crate) fn wants_settling(&self, settings: &Settings, settle_at: Instant) -> bool {
        let rows = self.settled.rows.len();
        rows >= (settings.window / 2).max(1)
            || (rows > 0 && (self.underway.is_empty() || Instant::now() >= settle_at))
    }

    fn invalid(&mut self, seq: i64, problem: String) {
        if let Some(more) = self.quiet.tell(INVALID, Instant::now()) {
            tracing::warn!(seq, error = %problem, more, "{INVALID}");
        }
        self.settled.push(seq, Outcome::Invalid(problem));
    }

    pub(crate) fn judge(
        &mut self,
        seq: i64,
        result: Result<(), PublishError>,
        place: Option<SemaphorePermit<'w>>,
        settings: &Settings,
        rng: &mut fastrand::Rng,
    ) {
        let Some(retries) = self.underway.remove(&seq) else { return };
        if let Some(place) = place {
            self.settled.hold(place);
        }
        let outcome = match result {
            Ok(()) if self.confirms => Outcome::Published,
            Ok(()) => Outcome::Unacknowledged,
            Err(error) if error.is_refusal() && retries < settings.max_retry_count => {
                let delay = settings.backoff.delay(retries, rng.f64());
                tracing::debug!(seq, attempt = retries + 1, ?delay, %error, "publish refused, will be retried");
                Outcome::Retry { delay, error: error.to_string() }
            }
            Err(error) if error.is_refusal() => {
                if let Some(more) = self.quiet.tell(FAILED, Instant::now()) {
                    tracing::warn!(seq, attempts = retries + 1, %error, more, "{FAILED}");
                }
                Outcome::Failed(error.to_string())
            }
            Err(error) if error.is_transient() => Outcome::Released(Some(error.to_string())),
            Err(error) => return self.invalid(seq, error.to_string()),
        };
        self.settled.push(seq, outcome);
    }

    pub(crate) fn release_rest(&mut self, why: &str) {
        for seq in std::mem::take(&mut self.underway).into_keys() {
            self.settled.push(seq, Outcome::Released(Some(why.to_owned())));
        }
    }
}
