//! Keeps one broker connection for publishing, rebuilt as a whole whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use postroad_transport::{ConnectError, Publisher, Transport};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, jittered};
use crate::state::Side;

/// Nothing is published for so long while the worker was never subscribed.
const INBOX_PATIENCE: Duration = Duration::from_secs(2);

/// The connection, while there is one.
pub(crate) type Link<P> = Option<Arc<P>>;

/// Connects, and connects again, until `done`; then closes in good order.
pub(crate) async fn keep<S, C, T: Transport>(
    context: &Context<S, C>,
    transport: &T,
    link: watch::Sender<Link<T::Publisher>>,
    done: &CancellationToken,
) {
    let mut pace = Pace::new(context.settings.reconnect_interval, context.settings.seed);
    while !done.is_cancelled() {
        let connected = tokio::select! {
            biased;
            () = done.cancelled() => return,
            connected = transport.connect_publisher() => connected,
        };
        match connected {
            Ok(publisher) => {
                pace.connected();
                report_connected(context, Side::Outbound);
                let publisher = Arc::new(publisher);
                tokio::select! {
                    biased;
                    () = done.cancelled() => {}
                    () = inbox(context) => {}
                }
                link.send_replace(Some(Arc::clone(&publisher)));
                tokio::select! {
                    biased;
                    () = done.cancelled() => {
                        return context.part(publisher.close()).await;
                    }
                    why = publisher.closed() => report_lost(context, Side::Outbound, &why),
                }
                link.send_replace(None);
            }
            Err(error) => report_unreachable(context, Side::Outbound, &error),
        }
        tokio::select! {
            biased;
            () = done.cancelled() => {}
            () = pace.wait() => {}
        }
    }
}

/// Waits for the first subscription, for a while: the answer to a request may come at once, and a broker throws away what
/// nobody has subscribed to yet.
async fn inbox<S, C>(context: &Context<S, C>) {
    // Elapsed: whoever cannot receive can send all the same.
    timeout(INBOX_PATIENCE, context.state.has_inbox.cancelled()).await.ok();
}

/// How soon to connect again: an interval after the last connection was made, or after the last attempt failed.
pub(crate) struct Pace {
    interval: Duration,
    rng: fastrand::Rng,
    connected_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(interval: Duration, seed: u64) -> Self {
        Self { interval, rng: fastrand::Rng::with_seed(seed), connected_at: None }
    }

    pub(crate) fn connected(&mut self) {
        self.connected_at = Some(Instant::now());
    }

    pub(crate) async fn wait(&mut self) {
        let lasted = self.connected_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        let interval = jittered(self.interval, &mut self.rng);
        tokio::time::sleep(interval.saturating_sub(lasted)).await;
    }
}

pub(crate) fn report_connected<S, C>(context: &Context<S, C>, side: Side) {
    tracing::debug!(?side, "connected to the broker");
    context.state.broker.over(party(side));
    context.state.connected(side);
}

pub(crate) fn report_unreachable<S, C>(context: &Context<S, C>, side: Side, error: &ConnectError) {
    context.state.broker.note(party(side), error);
    context.state.disconnected(side);
}

pub(crate) fn report_lost<S, C>(context: &Context<S, C>, side: Side, why: &str) {
    context.state.broker.note(party(side), &format_args!("connection lost: {why}"));
    context.state.disconnected(side);
}

fn party(side: Side) -> &'static str {
    match side {
        Side::Outbound => "publisher",
        Side::Inbound => "subscriber",
    }
}
