//! The task that owns a consuming connection.

use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicAckArguments, ConsumerMessage};
use postroad_transport::Delivery;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error};

use crate::breaker::Breaker;
use crate::incoming::delivery;
use crate::link::Link;
use crate::probe::Probe;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// A connection that took deliveries one at a time ends after so long, to be opened again as it should be.
const CAUTION: Duration = Duration::from_mins(1);

/// An acknowledgement of everything through a tag.
pub(crate) struct Acknowledgement {
    pub(crate) through: u64,
    pub(crate) sent: oneshot::Sender<()>,
}

/// How a connection ends.
enum End {
    /// As it was asked to.
    Closed,
    /// For this reason. `silent`: the broker gave none.
    Broken { reason: String, silent: bool },
}

pub(crate) struct Pump {
    pub(crate) link: Link,
    pub(crate) messages: mpsc::UnboundedReceiver<ConsumerMessage>,
    /// As large as the prefetch, so that it is never full.
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) acknowledgements: mpsc::Receiver<Acknowledgement>,
    pub(crate) probe: Probe,
    pub(crate) write_timeout: Duration,
    pub(crate) breaker: Arc<Breaker>,
    /// Whether deliveries come one at a time because of the breaker.
    pub(crate) cautious: bool,
}

impl Pump {
    /// Runs until the connection ends or its subscriber is gone, and leaves the reason in `ended`.
    pub(crate) async fn run(mut self, ended: watch::Sender<Option<String>>) {
        let start = Instant::now();
        let mut acknowledged = false;
        match self.serve(start, &mut acknowledged).await {
            End::Closed => {
                debug!("consuming connection closed");
                self.link.close().await;
                ended.send_replace(Some("closed".to_owned()));
            }
            End::Broken { reason, silent } => {
                debug!(error = reason, "consuming connection lost");
                if silent && self.breaker.broke(start.elapsed(), acknowledged) {
                    error!(
                        "a message in the queue may be breaking every connection: find it at the queue's head"
                    );
                }
                ended.send_replace(Some(reason));
                self.link.abandon();
            }
        }
    }

    async fn serve(&mut self, start: Instant, acknowledged: &mut bool) -> End {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                biased;
                event = self.link.events.recv() => {
                    let silent = event.is_none();
                    match Link::ended(event) {
                        Some(reason) => return End::Broken { reason, silent },
                        None => Ok(()),
                    }
                }
                acknowledgement = self.acknowledgements.recv() => match acknowledgement {
                    Some(acknowledgement) => {
                        *acknowledged = true;
                        self.acknowledge(acknowledgement).await
                    }
                    None => return End::Closed,
                },
                message = self.messages.recv() => match message {
                    Some(message) => self.deliver(message),
                    None => Err("the consumer ended".to_owned()),
                },
                _ = tick.tick() => self.look_at_the_clock(start).await,
            };
            if let Err(reason) = outcome {
                return End::Broken { reason, silent: false };
            }
        }
    }

    async fn acknowledge(&mut self, acknowledgement: Acknowledgement) -> Result<(), String> {
        // Whatever is sent on a closed channel ends the connection; the event that says why is on its way.
        if !self.link.channel.is_open() {
            return Ok(());
        }
        let arguments = BasicAckArguments::new(acknowledgement.through, true);
        match timeout(self.write_timeout, self.link.channel.basic_ack(arguments)).await {
            Ok(Ok(())) => {
                // The subscriber may have stopped waiting.
                acknowledgement.sent.send(()).ok();
                Ok(())
            }
            Ok(Err(error)) => Err(format!("cannot acknowledge: {error}")),
            Err(_) => Err(format!("cannot acknowledge within {:?}", self.write_timeout)),
        }
    }

    fn deliver(&mut self, message: ConsumerMessage) -> Result<(), String> {
        let delivery = delivery(message).ok_or("the client handed over half a delivery")?;
        match self.deliveries.try_send(delivery) {
            // Closed: the subscriber is being dropped, which the acknowledgements tell next.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err("the broker delivered more than the prefetch".to_owned())
            }
        }
    }

    async fn look_at_the_clock(&mut self, start: Instant) -> Result<(), String> {
        if start.elapsed() >= CAUTION {
            self.breaker.close();
            if self.cautious {
                return Err("taking deliveries one at a time is over".to_owned());
            }
        }
        self.probe.check(&self.link.channel, true).await
    }
}
