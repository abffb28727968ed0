//! The task that owns a consuming connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicAckArguments, ConsumerMessage};
use postroad_transport::{Delivery, SetAside};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::breaker::Breaker;
use crate::dead_letters::{DeadLetters, Letter, Original};
use crate::incoming::delivery;
use crate::link::Link;
use crate::probe::Probe;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// An acknowledgement of everything through a tag, and what of it is in quarantine.
pub(crate) struct Acknowledgement {
    pub(crate) through: u64,
    pub(crate) set_aside: Vec<SetAside>,
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
    pub(crate) letters: Option<Letters>,
    /// Everything through it is acknowledged, or held because of a letter.
    pub(crate) through: u64,
}

/// Where there is a dead letter exchange: what may have to be sent to it. All of it is unacknowledged.
pub(crate) struct Letters {
    pub(crate) sender: DeadLetters,
    /// Delivered, and the engine has not said yet what became of it.
    pub(crate) delivered: BTreeMap<u64, Original>,
    /// On the way to the exchange.
    pub(crate) held: BTreeSet<u64>,
}

impl Pump {
    /// Runs until the connection ends or its subscriber is gone, and leaves the reason in `ended`.
    pub(crate) async fn run(mut self, ended: watch::Sender<Option<String>>) {
        let start = Instant::now();
        let mut acknowledged = false;
        match self.serve(&mut acknowledged).await {
            End::Closed => {
                debug!("consuming connection closed");
                self.link.close().await;
                ended.send_replace(Some("closed".to_owned()));
            }
            End::Broken { reason, silent } => {
                debug!(error = reason, "consuming connection lost");
                if silent
                    && self.breaker.broke(start.elapsed(), acknowledged)
                    && let Some(times) = self.breaker.openings.tell(1, Instant::now())
                {
                    warn!(
                        times,
                        "a message may be breaking every connection: the queue is read message by message next"
                    );
                }
                ended.send_replace(Some(reason));
                self.link.abandon();
            }
        }
    }

    async fn serve(&mut self, acknowledged: &mut bool) -> End {
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
                tag = confirmed(&mut self.letters) => self.forget(tag).await,
                _ = tick.tick() => self.probe.check(&self.link.channel, true).await,
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
        let Acknowledgement { through, set_aside, sent } = acknowledgement;
        let from = std::mem::replace(&mut self.through, through) + 1;
        if self.hold(through, set_aside)? {
            for tag in from..=through {
                if !self.letters.as_ref().is_some_and(|letters| letters.held.contains(&tag)) {
                    self.send_acknowledgement(BasicAckArguments::new(tag, false)).await?;
                }
            }
        } else {
            self.send_acknowledgement(BasicAckArguments::new(through, true)).await?;
        }
        // The subscriber may have stopped waiting.
        sent.send(()).ok();
        Ok(())
    }

    /// Sends on what is in quarantine. Whether anything must not be acknowledged yet.
    fn hold(&mut self, through: u64, set_aside: Vec<SetAside>) -> Result<bool, String> {
        let Some(letters) = &mut self.letters else { return Ok(false) };
        for aside in set_aside {
            let tag = aside.tag;
            if let Some(original) = letters.delivered.remove(&tag) {
                letters.sender.send(Letter { original, aside })?;
                letters.held.insert(tag);
            }
        }
        letters.delivered = letters.delivered.split_off(&(through + 1));
        Ok(!letters.held.is_empty())
    }

    /// A letter has arrived.
    async fn forget(&mut self, tag: u64) -> Result<(), String> {
        if let Some(letters) = &mut self.letters {
            letters.held.remove(&tag);
        }
        if !self.link.channel.is_open() {
            return Ok(());
        }
        self.send_acknowledgement(BasicAckArguments::new(tag, false)).await
    }

    async fn send_acknowledgement(&self, arguments: BasicAckArguments) -> Result<(), String> {
        match timeout(self.write_timeout, self.link.channel.basic_ack(arguments)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot acknowledge: {error}")),
            Err(_) => Err(format!("cannot acknowledge within {:?}", self.write_timeout)),
        }
    }

    fn deliver(&mut self, message: ConsumerMessage) -> Result<(), String> {
        let (delivery, original) =
            delivery(message).ok_or("the client handed over half a delivery")?;
        if let Some(letters) = &mut self.letters {
            letters.delivered.insert(delivery.tag, original);
        }
        match self.deliveries.try_send(delivery) {
            // Closed: the subscriber is being dropped, which the acknowledgements tell next.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err("the broker delivered more than the prefetch".to_owned())
            }
        }
    }
}

/// The next letter that arrived; none ever does where there is no exchange for them.
async fn confirmed(letters: &mut Option<Letters>) -> u64 {
    match letters {
        Some(letters) => match letters.sender.confirmed().await {
            Some(tag) => tag,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
