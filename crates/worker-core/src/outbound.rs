//! The outbound relay: claim, publish, settle.
//!
//! A few lanes do the same thing at once, so that one publishes while another settles. Only one lane at a time claims
//! or waits for work; the broker connection is kept by a supervisor of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postroad_transport::{Outgoing, PublishError, Publisher, Transport};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, jittered};
use crate::encode::encode;
use crate::link::{self, Link};
use crate::{Claim, OutboxStore, Outcome, Settings, Settlement};

/// One publishes while the next claims or settles; a third brought nothing.
const LANES: u64 = 2;
/// Payload bytes to aim for in one claim.
const CLAIM_BYTES: usize = 8 << 20;
/// Row size to assume before the first claim.
const FIRST_GUESS_BYTES: usize = 64 << 10;
/// Outcomes do not wait longer than this for the rest of their batch.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);
/// A connection that let a message down is given this long to be replaced before it is tried again.
const SUSPECT: Duration = Duration::from_secs(2);

/// Runs until stopped; then finishes what is in hand.
pub(crate) async fn run<S, T>(context: Arc<Context<S>>, transport: Arc<T>)
where
    S: OutboxStore,
    T: Transport,
{
    let (sender, link) = watch::channel(None);
    let relay = Arc::new(Relay {
        gate: Mutex::new(()),
        wake: Notify::new(),
        row_bytes: AtomicUsize::new(FIRST_GUESS_BYTES),
        context: Arc::clone(&context),
        link,
    });
    let done = CancellationToken::new();
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let rng = fastrand::Rng::with_seed(context.settings.seed.wrapping_add(lane));
        lanes.spawn(Arc::clone(&relay).lane(rng));
    }
    let lanes = async {
        let _done = done.clone().drop_guard();
        while let Some(lane) = lanes.join_next().await {
            lane.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    };
    tokio::join!(lanes, link::keep(&context, &*transport, sender, &done));
}

struct Relay<S, P> {
    context: Arc<Context<S>>,
    link: watch::Receiver<Link<P>>,
    gate: Mutex<()>,
    /// A settled row may have freed the next of its key.
    wake: Notify,
    /// Mean size of the rows of the last claim.
    row_bytes: AtomicUsize,
}

impl<S: OutboxStore, P: Publisher> Relay<S, P> {
    async fn lane(self: Arc<Self>, mut rng: fastrand::Rng) {
        let mut suspect = None;
        while let Some((claim, publisher, claimed_at)) = self.take(&mut suspect, &mut rng).await {
            if !self.relay(claim, &*publisher, claimed_at, &mut rng).await {
                suspect = Some(publisher);
            }
        }
    }

    /// The next rows and the connection to publish them on; `None` when stopped.
    async fn take(
        &self,
        suspect: &mut Option<Arc<P>>,
        rng: &mut fastrand::Rng,
    ) -> Option<(Claim, Arc<P>, Instant)> {
        let context = &*self.context;
        let _gate = tokio::select! {
            biased;
            () = context.stop.cancelled() => return None,
            gate = self.gate.lock() => gate,
        };
        while !context.stop.is_cancelled() {
            let publisher = self.connection(suspect.take()).await?;
            let claimed_at = Instant::now();
            let claim = context.store.claim(self.claim_size(), context.settings.lease);
            match context.ask("outbound", claim).await {
                Some(claim) if claim.rows.is_empty() => tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = context.pause(jittered(context.settings.poll_interval, rng)) => {}
                },
                Some(claim) => {
                    let bytes: usize = claim.rows.iter().map(|row| row.columns.payload.len()).sum();
                    self.row_bytes.store(bytes / claim.rows.len(), Ordering::Relaxed);
                    return Some((claim, publisher, claimed_at));
                }
                None => context.pause_for_database().await,
            }
        }
        None
    }

    /// Waits for a connection, and a while for another one than `suspect`.
    async fn connection(&self, suspect: Option<Arc<P>>) -> Option<Arc<P>> {
        let mut link = self.link.clone();
        if let Some(suspect) = suspect {
            let replaced =
                link.wait_for(|now| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &suspect)));
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return None,
                // Elapsed or replaced: either way the next wait decides.
                result = timeout(SUSPECT, replaced) => drop(result),
            }
        }
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => None,
            connected = link.wait_for(Option::is_some) => connected.ok()?.clone(),
        }
    }

    /// As many rows as fit into the budget of bytes, by the size of the last ones.
    fn claim_size(&self) -> usize {
        let row_bytes = self.row_bytes.load(Ordering::Relaxed).max(1);
        (CLAIM_BYTES / row_bytes).clamp(1, self.context.settings.batch_size.max(1))
    }

    /// Publishes and settles every row of a claim; whether the connection served every message.
    async fn relay(
        &self,
        claim: Claim,
        publisher: &P,
        claimed_at: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let context = &*self.context;
        let settings = &context.settings;
        let (mut batch, messages) = Batch::prepare(claim, settings);
        let mut publishing: FuturesUnordered<_> = messages
            .into_iter()
            .map(|(seq, message)| async move { (seq, publisher.publish(message).await) })
            .collect();
        let mut served = true;
        let mut until = claimed_at + settings.publish_time();
        let mut renew_at = claimed_at + settings.renew_interval();
        let mut settle_at = Instant::now() + SETTLE_WITHIN;
        let gave_up = loop {
            tokio::select! {
                biased;
                answer = publishing.next() => {
                    let Some((seq, result)) = answer else { break None };
                    served &= !matches!(result, Err(PublishError::Unconfirmed(_)));
                    batch.judge(seq, result, settings, rng);
                }
                () = sleep_until(settle_at), if !batch.settled.is_empty() => {
                    let call = context.store.settle(&batch.token, &batch.settled);
                    if let Ok(Some(held)) = timeout_at(until, context.ask("outbound", call)).await {
                        let settled = std::mem::take(&mut batch.settled);
                        self.count(&settled, held, batch.ordered);
                    }
                    settle_at = Instant::now() + SETTLE_WITHIN;
                }
                () = sleep_until(until) => break Some("no confirm before the lease ended"),
                () = context.give_up.cancelled() => break Some("no confirm before the worker stopped"),
                () = sleep_until(renew_at) => {
                    let asked_at = Instant::now();
                    let call = context.store.renew(&batch.token, settings.lease);
                    if let Ok(Some(_)) = timeout_at(until, context.ask("outbound", call)).await {
                        until = asked_at + settings.publish_time();
                    }
                    renew_at = asked_at + settings.renew_interval();
                }
            }
        };
        // Whatever is not on the wire yet is not sent any more.
        drop(publishing);
        if let Some(why) = gave_up {
            served = false;
            batch.release_rest(why);
        }
        self.settle(batch).await;
        served
    }

    /// Writes the rest of the outcomes, however long the database takes. The token is the fence, not the time: a row
    /// that another worker took over meanwhile is not touched.
    async fn settle(&self, batch: Batch) {
        let Batch { token, settled, ordered, .. } = batch;
        if settled.is_empty() {
            return;
        }
        let context = &*self.context;
        match context.insist("outbound", || context.store.settle(&token, &settled)).await {
            Some(held) => self.count(&settled, held, ordered),
            None => {
                tracing::warn!(
                    rows = settled.len(),
                    "stopped before outcomes were written, these rows go out again"
                );
            }
        }
    }

    fn count(&self, settled: &[Settlement], held: usize, ordered: bool) {
        let count =
            |kind: fn(&Outcome) -> bool| settled.iter().filter(|row| kind(&row.outcome)).count();
        let totals = &self.context.state.totals;
        totals.published.add(count(|outcome| matches!(outcome, Outcome::Published)));
        totals.invalid.add(count(|outcome| matches!(outcome, Outcome::Invalid(_))));
        totals
            .refused
            .add(count(|outcome| matches!(outcome, Outcome::Retry { .. } | Outcome::Failed(_))));
        if held < settled.len() {
            let rows = settled.len() - held;
            totals.lease_lost.add(rows);
            tracing::warn!(rows, "rows were no longer ours when they were settled");
        }
        if ordered {
            self.wake.notify_one();
        }
    }
}

/// The rows of one claim on their way.
struct Batch {
    token: String,
    /// Retries so far of the rows that are with the broker.
    underway: BTreeMap<i64, u32>,
    settled: Vec<Settlement>,
    /// Whether settling may free another row.
    ordered: bool,
}

impl Batch {
    /// Makes the messages; rows that can never be sent are settled at once.
    fn prepare(claim: Claim, settings: &Settings) -> (Self, Vec<(i64, Outgoing)>) {
        let ordered = claim.rows.iter().any(|row| row.ordering_key.is_some());
        let mut batch =
            Self { token: claim.token, underway: BTreeMap::new(), settled: Vec::new(), ordered };
        let mut messages = Vec::with_capacity(claim.rows.len());
        for row in claim.rows {
            match encode(&row, settings) {
                Ok(message) => {
                    batch.underway.insert(row.seq, row.retry_count);
                    messages.push((row.seq, message));
                }
                Err(problem) => batch.invalid(row.seq, problem),
            }
        }
        (batch, messages)
    }

    fn invalid(&mut self, seq: i64, problem: String) {
        tracing::warn!(seq, error = %problem, "row can never be sent");
        self.settled.push(Settlement { seq, outcome: Outcome::Invalid(problem) });
    }

    fn judge(
        &mut self,
        seq: i64,
        result: Result<(), PublishError>,
        settings: &Settings,
        rng: &mut fastrand::Rng,
    ) {
        let Some(retries) = self.underway.remove(&seq) else { return };
        let outcome = match result {
            Ok(()) => Outcome::Published,
            Err(error) if error.is_refusal() && retries < settings.max_retry_count => {
                let delay = settings.backoff.delay(retries, rng.f64());
                tracing::debug!(seq, attempt = retries + 1, ?delay, %error, "publish refused, will be retried");
                Outcome::Retry { delay, error: error.to_string() }
            }
            Err(error) if error.is_refusal() => {
                tracing::warn!(seq, attempts = retries + 1, %error, "publish refused for the last time");
                Outcome::Failed(error.to_string())
            }
            Err(error) if error.is_transient() => Outcome::Released(Some(error.to_string())),
            Err(error) => return self.invalid(seq, error.to_string()),
        };
        self.settled.push(Settlement { seq, outcome });
    }

    fn release_rest(&mut self, why: &str) {
        let rest = std::mem::take(&mut self.underway).into_keys();
        self.settled.extend(
            rest.map(|seq| Settlement { seq, outcome: Outcome::Released(Some(why.to_owned())) }),
        );
    }
}
