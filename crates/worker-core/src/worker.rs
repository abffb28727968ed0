//! A whole worker: both sides, cleaning up, heartbeats and a clean stop.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postroad_fault_points::{Point, reached};
use postroad_transport::{Kept, Transport};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::state::State;
use crate::{
    Codec, Counts, Heartbeat, InboxStore, Maintenance, OutboxStore, Settings, WorkerIdentity,
    WorkerRegistry, WorkerStatus, inbound, maintenance, outbound,
};

/// The last heartbeat does not hold up the end longer than this.
const FAREWELL: Duration = Duration::from_secs(2);

/// Everything a worker is made of.
#[derive(Debug)]
pub struct Worker<S, T, C> {
    /// Outbox, inbox, list of workers and what to clean.
    pub store: Arc<S>,
    /// The broker.
    pub transport: Arc<T>,
    /// The form of its messages.
    pub codec: Arc<C>,
    /// How to behave.
    pub settings: Settings,
    /// Who it is.
    pub identity: WorkerIdentity,
}

impl<S, T, C> Worker<S, T, C>
where
    S: OutboxStore + InboxStore + WorkerRegistry + Maintenance,
    T: Transport,
    C: Codec,
{
    /// Runs until `stop` is cancelled and what was in hand is finished, or the grace period is over.
    ///
    /// It starts, and goes on, with broker or database down. After a return every row that was not settled is free
    /// again, or will be when its lease ends; nothing was acknowledged that is not committed. Dropping the future ends
    /// it like a crash would: nothing is lost either.
    ///
    /// # Panics
    ///
    /// When one of its tasks panics, so that a supervisor can start the process anew.
    pub async fn run(self, stop: CancellationToken) -> Counts {
        let Self { store, transport, codec, settings, identity } = self;
        let state = State::new(settings.outbound, settings.inbound, &settings.counted);
        let give_up = CancellationToken::new();
        let worker_id = identity.id.clone();
        let stopped_at = OnceLock::new();
        let context =
            Context { store, codec, settings, worker_id, state, stop, stopped_at, give_up };
        let context = Arc::new(context);
        let config_key = context.settings.config_key.as_str();
        tracing::info!(config_key, worker_id = %identity.id, "worker started");
        let mut sides = JoinSet::new();
        if context.settings.outbound {
            sides.spawn(outbound::run(Arc::clone(&context), Arc::clone(&transport)));
        }
        if context.settings.inbound {
            sides.spawn(inbound::run(Arc::clone(&context), Arc::clone(&transport)));
        }
        sides.spawn(maintenance::run(Arc::clone(&context)));
        let work = async {
            while let Some(side) = sides.join_next().await {
                side.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
            context.stop.cancelled().await;
        };
        tokio::select! {
            biased;
            () = work => {}
            () = heartbeats(&context, &*transport, &identity) => {}
            () = watch_stop(&context) => {}
        }
        reached(Point::InShutdown);
        let goes_on = context.settings.goes_on.load(Ordering::Relaxed);
        let status = if goes_on { WorkerStatus::Starting } else { WorkerStatus::Stopped };
        let last = heartbeat(&context, transport.kept(), &identity, status);
        if !matches!(timeout(FAREWELL, context.store.heartbeat(&last)).await, Ok(Ok(()))) {
            tracing::warn!("could not tell the database that this worker stopped");
        }
        tell_of(context.state.rest(Instant::now()));
        tracing::info!(config_key, "worker stopped");
        last.counts
    }
}

/// Tells of the stop, and ends the time for finishing somewhat before the grace period, to leave time for settling.
async fn watch_stop<S, C>(context: &Context<S, C>) {
    context.stop.cancelled().await;
    tracing::info!("stopping: finishing what is in hand");
    reached(Point::InShutdown);
    context.state.stopping();
    sleep(context.settings.grace.mul_f64(0.7)).await;
    context.give_up.cancel();
    sleep(context.settings.grace.mul_f64(0.3)).await;
    tracing::warn!("the grace period is over, leases of unsettled rows end by themselves");
}

/// A heartbeat at each interval and whenever the status changes; never ends. The members of a group give one often enough for
/// each other.
async fn heartbeats<S: WorkerRegistry, C>(
    context: &Context<S, C>,
    transport: &impl Transport,
    worker: &WorkerIdentity,
) {
    let Settings { heartbeat_interval, grace, .. } = context.settings;
    let interval = if transport.joins_group() {
        heartbeat_interval.min(inbound::sign_of_member(grace))
    } else {
        heartbeat_interval
    };
    loop {
        let beat = Heartbeat {
            last_error: context.state.broker.error().or_else(|| transport.trouble()),
            ..heartbeat(context, transport.kept(), worker, context.state.status())
        };
        let told = context.ask("heartbeat", context.store.heartbeat(&beat)).await;
        if told.is_some() && beat.status == WorkerStatus::Stopping {
            context.state.stop_is_known.cancel();
        }
        tell_of(context.state.held_back(Instant::now()));
        tokio::select! {
            biased;
            () = context.state.changed.notified() => {}
            () = sleep(interval) => {}
        }
    }
}

/// What was held back so that the log is not flooded.
fn tell_of(held_back: Vec<(&'static str, u64)>) {
    for (kind, more) in held_back {
        tracing::warn!(more, "{kind}");
    }
}

fn heartbeat<S, C>(
    context: &Context<S, C>,
    kept: Kept,
    worker: &WorkerIdentity,
    status: WorkerStatus,
) -> Heartbeat {
    let last_error = match status {
        WorkerStatus::Starting | WorkerStatus::Stopped => None,
        _ => context.state.broker.error(),
    };
    let counts = Counts {
        spool_messages: kept.messages,
        spool_bytes: kept.bytes,
        possible_gaps: context.settings.counted.possible_gaps + kept.possible_gaps,
        ..context.state.totals.snapshot()
    };
    Heartbeat { worker: worker.clone(), status, last_error, counts }
}
