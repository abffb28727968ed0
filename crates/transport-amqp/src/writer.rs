//! The task that owns a publishing connection.

use std::sync::Arc;
use std::time::Duration;

use postroad_fault_points::{Bug, Point, has, reached};
use postroad_transport::PublishError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::events::Event;
use crate::link::Link;
use crate::outgoing::Prepared;
use crate::probe::Probe;
use crate::refusals::{Patience, Refusals};
use crate::settings::AmqpSettings;
use crate::tracker::{OutOfStep, Outcome, ReturnKey, Tracker};
use crate::trouble::Trouble;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Content too large, access refused, precondition failed, syntax error: what RabbitMQ closes a channel with over a
/// message that it will not have.
const OVER_A_MESSAGE: [u16; 4] = [311, 403, 406, 502];

/// A confirm that takes longer means that the broker is short of memory or disk: nothing more is sent, and nothing is
/// sent again.
const STALLED_AFTER: Duration = Duration::from_secs(10);

const STALLED: &str =
    "broker stalled: it takes messages and confirms none; does it have an alarm of memory or disk?";

/// Why a connection ends.
const CLOSED: &str = "closed";
const REFUSED: &str =
    "the broker goes on to answer with negative confirms, another connection may fare better";

/// For the last confirms when closing.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A message and whoever waits for its outcome. A waiter that is gone does not want it sent any more.
pub(crate) struct Job {
    pub(crate) message: Prepared,
    pub(crate) waiter: Waiter,
}

pub(crate) type Waiter = oneshot::Sender<Result<(), PublishError>>;

/// How a connection ends.
enum End {
    /// In good order.
    Closed(&'static str),
    /// For this reason.
    Broken(String),
}

pub(crate) struct Writer {
    link: Link,
    settings: AmqpSettings,
    jobs: mpsc::Receiver<Job>,
    tracker: Tracker<Waiter>,
    probe: Probe,
    /// There while the broker confirms nothing.
    stall: Arc<Trouble>,
    stalled: bool,
    opened: Instant,
    refusals: Refusals,
    patience: Arc<Patience>,
    /// Set when it is to close: how long to wait for confirms, and why.
    closing: Option<(Instant, &'static str)>,
}

impl Writer {
    pub(crate) fn new(
        link: Link,
        settings: AmqpSettings,
        patience: Arc<Patience>,
        stall: Arc<Trouble>,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        let probe = Probe::new(settings.prefetch);
        Self {
            link,
            settings,
            jobs,
            tracker: Tracker::new(),
            probe,
            stall,
            stalled: false,
            opened: Instant::now(),
            refusals: Refusals::default(),
            patience,
            closing: None,
        }
    }

    /// Runs until the connection ends or `stop` is told, and leaves the reason in `ended`. Messages without an outcome
    /// then end as unconfirmed: their waiters are dropped.
    pub(crate) async fn run(
        mut self,
        stop: oneshot::Receiver<()>,
        ended: watch::Sender<Option<String>>,
    ) {
        let end = self.serve(stop).await;
        self.stall.over();
        match end {
            End::Closed(why) => {
                debug!(why, "publishing connection closed");
                self.link.close().await;
                ended.send_replace(Some(why.to_owned()));
            }
            End::Broken(reason) => {
                debug!(
                    error = reason,
                    in_flight = self.tracker.len(),
                    "publishing connection lost"
                );
                ended.send_replace(Some(reason));
                self.link.abandon();
            }
        }
    }

    async fn serve(&mut self, mut stop: oneshot::Receiver<()>) -> End {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let may_send = self.may_send();
            tokio::select! {
                biased;
                event = self.link.events.recv() => if let Err(reason) = self.hear(event) {
                    return End::Broken(reason);
                },
                _ = &mut stop, if self.closing.is_none() => self.close(CLOSED),
                _ = tick.tick() => if let Err(reason) = self.look_at_the_clock().await {
                    return End::Broken(reason);
                },
                job = self.jobs.recv(), if may_send => match job {
                    Some(job) => if let Err(reason) = self.send(job).await {
                        return End::Broken(reason);
                    },
                    None => self.close(CLOSED),
                },
            }
            if let Some((deadline, why)) = self.closing
                && (self.tracker.is_empty() || deadline <= Instant::now())
            {
                return End::Closed(why);
            }
        }
    }

    /// Sends nothing more, and waits for the confirms of what was sent.
    fn close(&mut self, why: &'static str) {
        self.closing.get_or_insert((Instant::now() + DRAIN_TIMEOUT, why));
    }

    fn may_send(&self) -> bool {
        self.closing.is_none()
            && !self.stalled
            && self.tracker.has_room(self.settings.window, self.settings.window_bytes)
            // Whatever is sent on a closed channel ends the connection; the event that says why is on its way.
            && self.link.channel.is_open()
    }

    async fn send(&mut self, job: Job) -> Result<(), String> {
        let Job { message, mut waiter } = job;
        if waiter.is_closed() {
            return Ok(());
        }
        let arguments = message.arguments(&self.settings.exchange);
        let key = ReturnKey { message_id: message.message_id, topic: message.topic };
        let hasty = has(Bug::PublishedBeforeConfirm)
            .then(|| std::mem::replace(&mut waiter, oneshot::channel().0));
        // Before the sending, so that no confirm can come first.
        self.tracker.insert(waiter, message.size, Instant::now(), message.mandatory.then_some(key));
        let publish = self.link.channel.basic_publish(message.properties, message.body, arguments);
        match timeout(self.settings.write_timeout, publish).await {
            Ok(Ok(())) => {
                reached(Point::AfterWriteBeforeConfirm);
                // As in `hear`.
                hasty.and_then(|waiter| waiter.send(Ok(())).ok());
                Ok(())
            }
            Ok(Err(error)) => Err(format!("cannot send: {error}")),
            Err(_) => Err(format!("cannot send within {:?}", self.settings.write_timeout)),
        }
    }

    fn hear(&mut self, event: Option<Event>) -> Result<(), String> {
        match event {
            Some(Event::Confirmed { tag, multiple, taken }) => {
                let now = Instant::now();
                if taken {
                    self.refusals.none(&self.patience, self.opened, now);
                } else if self.refusals.more(&self.patience, now) {
                    self.close(REFUSED);
                }
                for (waiter, outcome) in
                    self.tracker.confirmed(tag, multiple, taken).map_err(out_of_step)?
                {
                    let outcome = match outcome {
                        Outcome::Taken => Ok(()),
                        Outcome::Refused(reason) => Err(PublishError::Refused(reason)),
                    };
                    // Whoever waited may have stopped; then the outcome interests nobody.
                    waiter.send(outcome).ok();
                }
                Ok(())
            }
            Some(Event::Returned { topic, message_id, reason }) => self
                .tracker
                .returned(&ReturnKey { message_id, topic }, &reason)
                .map_err(out_of_step),
            Some(Event::Closed { code, text }) => {
                self.blame(code, &text);
                Err(format!("closed by the broker: {code} {text}"))
            }
            ended => Link::ended(ended).map_or(Ok(()), Err),
        }
    }

    /// A channel that the broker closes over a message is closed over the only one there is, if there is just one. Of
    /// several it could be any, so they end as unconfirmed; whoever sends them one by one finds out.
    fn blame(&mut self, code: u16, text: &str) {
        if OVER_A_MESSAGE.contains(&code)
            && let Some(waiter) = self.tracker.take_only()
        {
            waiter.send(Err(PublishError::Refused(format!("{code} {text}")))).ok();
        }
    }

    async fn look_at_the_clock(&mut self) -> Result<(), String> {
        let waiting = self.tracker.oldest().map_or(Duration::ZERO, |sent| sent.elapsed());
        if waiting >= self.settings.confirm_timeout {
            return Err(format!("no confirm within {:?}", self.settings.confirm_timeout));
        }
        let stalled = waiting >= STALLED_AFTER;
        if stalled && !self.stalled {
            warn!(in_flight = self.tracker.len(), "{STALLED}");
            self.stall.is(STALLED.to_owned());
        } else if !stalled && self.stalled {
            self.stall.over();
            info!("broker confirms again");
        }
        self.stalled = stalled;
        self.probe.check(&self.link.channel, self.tracker.is_empty()).await
    }
}

fn out_of_step(_: OutOfStep) -> String {
    "the broker confirmed a message that was not sent".to_owned()
}
