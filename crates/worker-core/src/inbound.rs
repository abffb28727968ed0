//! The inbound intake: receive, check, store, acknowledge.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use postroad_fault_points::{Bug, Point, has, reached};
use postroad_transport::{Delivery, Disconnected, SetAside, Subscriber, Transport};
use tokio::task::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

use crate::context::Context;
use crate::link::{Pace, report_connected, report_lost, report_unreachable};
use crate::state::Side;
use crate::{Codec, InboxEntry, InboxStore, Kept, WorkerRegistry};

/// The share of the grace period for finding out whether others are there, which takes a heartbeat of theirs.
const WAIT_FOR_OTHERS: f64 = 0.5;
/// How often to look for one.
const ASK_FOR_OTHERS: Duration = Duration::from_millis(250);
/// Body bytes after which a batch is stored, however few messages it has.
const BATCH_BYTES: usize = 8 << 20;

/// How often the member of a group has to give a sign of life for another one that stops to hear of it in time.
pub(crate) fn sign_of_member(grace: Duration) -> Duration {
    grace.mul_f64(WAIT_FOR_OTHERS * 0.8)
}

/// Runs until stopped; a batch in hand is stored and acknowledged first.
pub(crate) async fn run<S, C, T>(context: Arc<Context<S, C>>, transport: Arc<T>)
where
    S: InboxStore + WorkerRegistry,
    C: Codec,
    T: Transport,
{
    let mut pace = Pace::new(context.settings.reconnect_interval, context.settings.seed ^ 1);
    while !context.stop.is_cancelled() {
        let connected = tokio::select! {
            biased;
            () = stopped(&context, transport.joins_group()) => return,
            connected = transport.connect_subscriber() => connected,
        };
        match connected {
            Ok(mut subscriber) => {
                pace.connected();
                report_connected(&context, Side::Inbound);
                match consume(&context, &mut subscriber).await {
                    Ok(()) => {
                        if subscriber.is_member()
                            && others_are_there(&context, &mut subscriber).await
                        {
                            leave(&context, &mut subscriber).await;
                        }
                        return context.part(subscriber.close()).await;
                    }
                    Err(Disconnected(why)) => report_lost(&context, Side::Inbound, &why),
                }
            }
            Err(error) => report_unreachable(&context, Side::Inbound, &error),
        }
        tokio::select! {
            biased;
            () = context.stop.cancelled() => {}
            () = pace.wait() => {}
        }
    }
}

/// Waits for the stop, and then for the connection of a member: the broker may know it already, and it can leave the group
/// only when it is there.
async fn stopped<S, C>(context: &Context<S, C>, joins_group: bool) {
    context.stop.cancelled().await;
    if joins_group {
        sleep(context.settings.grace.mul_f64(WAIT_FOR_OTHERS)).await;
    }
}

/// One connection's life: `Ok` when the worker stops, `Err` when the connection is lost.
async fn consume<S: InboxStore, C: Codec>(
    context: &Context<S, C>,
    subscriber: &mut impl Subscriber,
) -> Result<(), Disconnected> {
    loop {
        let first = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Ok(()),
            first = subscriber.next() => first?,
        };
        if !take_in(context, subscriber, first).await? {
            return Ok(());
        }
    }
}

/// Stores a batch and acknowledges it; `false` where the time for that ran out.
async fn take_in<S: InboxStore, C: Codec>(
    context: &Context<S, C>,
    subscriber: &mut impl Subscriber,
    first: Delivery,
) -> Result<bool, Disconnected> {
    // Half of the prefetch, so that the broker sends the next half meanwhile.
    let most = context.settings.batch_size.min(subscriber.prefetch() / 2).max(1);
    let batch = Batch::collect(first, most, subscriber, context);
    if has(Bug::AcknowledgedBeforeCommit) {
        subscriber.acknowledge_through(batch.last).await?;
    }
    let stored = context.insist("inbound", || context.store.store(&batch.entries)).await;
    let Some(stored) = stored else {
        tracing::warn!(
            messages = batch.entries.len(),
            "stopped before these were stored, the broker keeps them"
        );
        return Ok(false);
    };
    context.state.took_in(&stored);
    reached(Point::AfterCommitBeforeAck);
    if !stored.kept.is_empty() {
        subscriber.set_aside(batch.set_aside(stored.kept));
    }
    subscriber.acknowledge_through(batch.last).await?;
    reached(Point::AfterAck);
    Ok(true)
}

/// Whether somebody else is there for sure for what would be assigned to this worker. Goes on as before while it waits for
/// a sign of life.
async fn others_are_there<S: InboxStore + WorkerRegistry, C: Codec>(
    context: &Context<S, C>,
    subscriber: &mut impl Subscriber,
) -> bool {
    let until = Instant::now() + context.settings.grace.mul_f64(WAIT_FOR_OTHERS);
    if timeout_at(until, context.state.stop_is_known.cancelled()).await.is_err() {
        return false;
    }
    let mut before = None;
    let mut ask = interval(ASK_FOR_OTHERS);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = sleep_until(until) => return false,
            _ = ask.tick() => {
                let others = context.store.others(&context.worker_id);
                let Some(others) = context.ask("inbound", others).await else { continue };
                if !others.any {
                    return false;
                }
                // One that only started may have told of nothing before; then its first sign is a new one too.
                if others.last_sign > *before.get_or_insert_with(|| others.last_sign.clone()) {
                    return true;
                }
            }
            first = subscriber.next() => {
                let Ok(first) = first else { return false };
                if !matches!(take_in(context, subscriber, first).await, Ok(true)) {
                    return false;
                }
            }
        }
    }
}

/// A worker cannot know whether it is started again, and what the broker assigns to it while it is away waits for that. So
/// it leaves the others to it where there are any, and first takes in what is assigned to it already.
async fn leave<S: InboxStore, C: Codec>(context: &Context<S, C>, subscriber: &mut impl Subscriber) {
    if !subscriber.leave().await {
        return;
    }
    tracing::info!("left the group to its other members");
    loop {
        let first = tokio::select! {
            biased;
            () = context.give_up.cancelled() => break,
            first = subscriber.next() => first,
        };
        let Ok(first) = first else { return };
        if !matches!(take_in(context, subscriber, first).await, Ok(true)) {
            break;
        }
    }
    tracing::warn!("what was assigned to this member of the group waits until it is back");
}

struct Batch {
    entries: Vec<InboxEntry>,
    /// Of each entry.
    tags: Vec<u64>,
    /// Tag of the last delivery.
    last: u64,
}

impl Batch {
    /// In the words of the transport.
    fn set_aside(&self, kept: Vec<Kept>) -> Vec<SetAside> {
        let told = kept.into_iter().filter_map(|Kept { index, reason, detail }| {
            Some(SetAside { tag: *self.tags.get(index)?, reason, detail })
        });
        told.collect()
    }

    /// Takes what has arrived already, without waiting for more: while a batch is being stored the next one gathers.
    fn collect<S, C: Codec>(
        first: Delivery,
        most: usize,
        subscriber: &mut impl Subscriber,
        context: &Context<S, C>,
    ) -> Self {
        let mut batch = Self { entries: Vec::new(), tags: Vec::new(), last: first.tag };
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(delivery) = next {
            let message = delivery.message;
            tracing::debug!(topic = %message.topic, message_id = message.message_id, "received");
            bytes += message.body.len();
            batch.last = delivery.tag;
            batch.tags.push(delivery.tag);
            batch.entries.push(context.codec.decode(&message, &context.settings));
            let full = batch.entries.len() >= most || bytes >= BATCH_BYTES;
            // An error shows again at the next acknowledgement or delivery.
            let mut ready = || unconstrained(subscriber.next()).now_or_never().and_then(Result::ok);
            next = if full { None } else { ready() };
        }
        batch
    }
}
