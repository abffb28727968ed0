//! The outbound relay: claim, publish, settle.
//!
//! A few lanes do the same thing at once, so that one publishes while another settles. Only one lane at a time claims
//! or waits for work; the broker connection is kept by a supervisor of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postroad_fault_points::{Point, reached};
use postroad_transport::{Outgoing, PublishError, Publisher, Transport};
use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Outcomes};
use crate::context::{Context, jittered};
use crate::idle::Idle;
use crate::lease::Lease;
use crate::link::{self, Link};
use crate::{Claim, Codec, Hint, OutboxStore, Outcome, Settlement};

/// One publishes while the other claims or settles.
const LANES: u64 = 2;
/// Payload bytes to aim for in one claim.
const CLAIM_BYTES: usize = 8 << 20;
/// Row size to assume before the first claim.
const FIRST_GUESS_BYTES: usize = 64 << 10;
/// Outcomes do not wait longer than this for the rest of their batch.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);
/// A connection that let a message down is given this long to be replaced before it is tried again.
const SUSPECT: Duration = Duration::from_secs(2);

/// Runs until stopped; then finishes what is in hand.
pub(crate) async fn run<S, C, T>(context: Arc<Context<S, C>>, transport: Arc<T>)
where
    S: OutboxStore,
    C: Codec,
    T: Transport,
{
    let (sender, link) = watch::channel(None);
    let relay = Arc::new(Relay {
        gate: Mutex::new(()),
        wake: Notify::new(),
        careful: AtomicUsize::new(0),
        window: Semaphore::new(context.settings.window.max(1)),
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

const STOPPED: &str = "no confirm before the worker stopped";

const LEASE_LOST: &str = "rows were no longer ours when they were settled";

const NEVER_CLOSED: &str = "the window is never closed";

struct Relay<S, C, P> {
    context: Arc<Context<S, C>>,
    link: watch::Receiver<Link<P>>,
    gate: Mutex<()>,
    /// A settled row may have freed the next of its key.
    wake: Notify,
    /// Places for rows that are published and not settled.
    window: Semaphore,
    /// Rows yet to be published one by one, since a connection was lost with so many under way.
    careful: AtomicUsize,
    /// Mean size of the rows of the last claim.
    row_bytes: AtomicUsize,
}

impl<S: OutboxStore, C: Codec, P: Publisher> Relay<S, C, P> {
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
        let mut idle = Idle::default();
        while !context.stop.is_cancelled() {
            let publisher = self.connection(suspect.take()).await?;
            let claimed_at = Instant::now();
            let claim = context.store.claim(self.claim_size(), context.settings.lease);
            match context.ask("outbound", claim).await {
                Some(claim) if claim.rows.is_empty() => {
                    let pause = idle.pause(context.settings.poll_interval, context.store.is_told());
                    tokio::select! {
                        biased;
                        () = self.wake.notified() => idle = Idle::after(Hint::Written),
                        hint = context.store.woken() => idle = Idle::after(hint),
                        () = context.pause(jittered(pause, rng)) => {}
                    }
                }
                Some(claim) => {
                    reached(Point::AfterClaim);
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
    ///
    /// A row takes a place in the window before it is published and gives it back when it is settled, so that a crash
    /// sends no more than a window of rows again. Outcomes are written while the rest is being published.
    async fn relay(
        &self,
        claim: Claim,
        publisher: &P,
        claimed_at: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let context = &*self.context;
        let settings = &context.settings;
        let Claim { token, rows } = claim;
        let ordered = rows.iter().any(|row| row.ordering_key.is_some());
        let count = rows.len();
        let lease = Lease::new(settings, claimed_at);
        let quiet = &context.state.quiet;
        let (mut batch, messages) =
            Batch::prepare(rows, &*context.codec, settings, publisher.confirms(), quiet);
        let mut publishing: FuturesUnordered<_> = messages
            .into_iter()
            .map(|(seq, message)| self.publish(publisher, &lease, seq, message))
            .collect();
        let mut settling = FuturesUnordered::new();
        let mut served = true;
        let mut renew_at = lease.renew_at();
        let mut settle_at = Instant::now() + SETTLE_WITHIN;
        let mut heard_at = Instant::now();
        let gave_up = loop {
            if settling.is_empty() {
                if batch.is_done() {
                    break None;
                }
                if batch.wants_settling(settings, settle_at) {
                    settling.push(self.settle(&token, std::mem::take(&mut batch.settled)));
                    settle_at = Instant::now() + SETTLE_WITHIN;
                }
            }
            tokio::select! {
                biased;
                Some((outcomes, held)) = settling.next() => match held {
                    Some(held) => self.count(&outcomes.rows, held, ordered),
                    None => batch.settled.append(outcomes),
                },
                Some((seq, result, place)) = publishing.next() => {
                    heard_at = Instant::now();
                    if result.is_ok() {
                        reached(Point::AfterConfirmBeforeSettle);
                    }
                    served &= !matches!(result, Err(PublishError::Unconfirmed(_)));
                    batch.judge(seq, result, place, settings, rng);
                }
                () = sleep_until(settle_at), if !batch.settled.rows.is_empty() && settling.is_empty() => {}
                () = sleep_until(lease.until()), if !batch.underway.is_empty() => {
                    break Some("no confirm before the lease ended");
                }
                () = context.give_up.cancelled() => break Some(STOPPED),
                () = context.broker_is_silent(heard_at), if !batch.underway.is_empty() => break Some(STOPPED),
                () = sleep_until(renew_at), if !batch.underway.is_empty() => {
                    let asked_at = Instant::now();
                    let call = context.store.renew(&token, settings.lease);
                    match timeout_at(lease.until(), context.ask("outbound", call)).await {
                        // Nobody settles these but us, so somebody else has them.
                        Ok(Some(held)) if held < batch.underway.len() => {
                            break Some("the lease was lost before a confirm came");
                        }
                        Ok(Some(_)) => lease.renewed(asked_at),
                        Ok(None) | Err(_) => {}
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
            while let Some((outcomes, held)) = settling.next().await {
                match held {
                    Some(held) => self.count(&outcomes.rows, held, ordered),
                    None => batch.settled.append(outcomes),
                }
            }
            self.settle_rest(&token, &batch.settled.rows, ordered).await;
        }
        if !served {
            // One of them may have been what broke the connection; it must not take the others with it for ever.
            self.careful.fetch_max(count, Ordering::Relaxed);
        }
        served
    }

    async fn publish(
        &self,
        publisher: &P,
        lease: &Lease,
        seq: i64,
        message: Outgoing,
    ) -> (i64, Result<(), PublishError>, Option<SemaphorePermit<'_>>) {
        if self.careful.load(Ordering::Relaxed) == 0 {
            let place = self.window.acquire().await.expect(NEVER_CLOSED);
            lease.allows().await;
            reached(Point::BeforePublish);
            return (seq, publisher.publish(message).await, Some(place));
        }
        // Alone, so that a message that breaks the connection is known by it.
        let whole = u32::try_from(self.context.settings.window.max(1)).unwrap_or(u32::MAX);
        let alone = self.window.acquire_many(whole).await.expect(NEVER_CLOSED);
        lease.allows().await;
        reached(Point::BeforePublish);
        let result = publisher.publish(message).await;
        if !matches!(result, Err(PublishError::Unconfirmed(_))) {
            let less = |left: usize| Some(left.saturating_sub(1));
            // It always succeeds, since there is always a new value.
            self.careful.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        }
        drop(alone);
        (seq, result, None)
    }

    /// Tries once to write outcomes, and gives them back with how many rows were still held; `None` where the database
    /// did not answer, after a pause.
    async fn settle<'w>(
        &self,
        token: &str,
        outcomes: Outcomes<'w>,
    ) -> (Outcomes<'w>, Option<usize>) {
        let call = self.context.store.settle(token, &outcomes.rows);
        let held = self.context.ask("outbound", call).await;
        if held.is_none() {
            self.context.pause_for_database().await;
        }
        (outcomes, held)
    }

    /// Writes the last outcomes, however long the database takes. The token is the fence, not the time: a row that
    /// another worker took over meanwhile is not touched.
    async fn settle_rest(&self, token: &str, rows: &[Settlement], ordered: bool) {
        match self.context.insist("outbound", || self.context.store.settle(token, rows)).await {
            Some(held) => self.count(rows, held, ordered),
            None => {
                tracing::warn!(
                    rows = rows.len(),
                    "stopped before outcomes were written, these rows go out again"
                );
            }
        }
    }

    fn count(&self, settled: &[Settlement], held: usize, ordered: bool) {
        let count =
            |kind: fn(&Outcome) -> bool| settled.iter().filter(|row| kind(&row.outcome)).count();
        let totals = &self.context.state.totals;
        let published =
            count(|outcome| matches!(outcome, Outcome::Published | Outcome::Unacknowledged));
        // What another worker holds is its to count.
        totals.published.add(published.min(held));
        totals.invalid.add(count(|outcome| matches!(outcome, Outcome::Invalid(_))));
        totals
            .refused
            .add(count(|outcome| matches!(outcome, Outcome::Retry { .. } | Outcome::Failed(_))));
        if held < settled.len() {
            let rows = settled.len() - held;
            totals.lease_lost.add(rows);
            if let Some(more) = self.context.state.quiet.tell(LEASE_LOST, Instant::now()) {
                tracing::warn!(rows, more, "{LEASE_LOST}");
            }
        }
        if ordered {
            self.wake.notify_one();
        }
    }
}
