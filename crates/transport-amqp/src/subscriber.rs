//! Consuming with acknowledgements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::ConsumerMessage;
use postroad_transport::{Delivery, Disconnected, SetAside, Subscriber};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::breaker::Breaker;
use crate::dead_letters::DeadLetters;
use crate::link::Link;
use crate::probe::Probe;
use crate::publisher::reason;
use crate::pump::{Acknowledgement, Letters, Pump};
use crate::rescue::Rescuer;

/// The good-bye has its own, shorter deadline.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A consuming connection to RabbitMQ. Dropping it closes it.
#[derive(Debug)]
pub struct AmqpSubscriber {
    deliveries: mpsc::Receiver<Delivery>,
    acknowledgements: mpsc::Sender<Acknowledgement>,
    ended: watch::Receiver<Option<String>>,
    prefetch: u16,
    handed_out: u64,
    acknowledged: u64,
    /// In quarantine and not acknowledged yet.
    set_aside: Vec<SetAside>,
}

type Fed = (
    AmqpSubscriber,
    mpsc::Sender<Delivery>,
    mpsc::Receiver<Acknowledgement>,
    watch::Sender<Option<String>>,
);

/// What a subscriber is started with.
pub(crate) struct Consumer {
    pub(crate) link: Link,
    pub(crate) messages: mpsc::UnboundedReceiver<ConsumerMessage>,
    pub(crate) prefetch: u16,
    pub(crate) write_timeout: Duration,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) dead_letters: Option<DeadLetters>,
}

impl AmqpSubscriber {
    /// Hands the connection, on which the consumer runs, to a task of its own.
    pub(crate) fn start(consumer: Consumer) -> Self {
        let Consumer { link, messages, prefetch, write_timeout, breaker, dead_letters } = consumer;
        let (subscriber, deliveries, acknowledgements, ended) = Self::fed(prefetch);
        let letters = dead_letters.map(|sender| Letters {
            sender,
            delivered: BTreeMap::new(),
            held: BTreeSet::new(),
        });
        let pump = Pump {
            link,
            messages,
            deliveries,
            acknowledgements,
            probe: Probe::new(prefetch),
            write_timeout,
            breaker,
            letters,
            through: 0,
        };
        tokio::spawn(pump.run(ended));
        subscriber
    }

    /// Hands the queue to the reader of our own.
    pub(crate) fn start_rescue(rescuer: Rescuer) -> Self {
        let (subscriber, deliveries, acknowledgements, ended) = Self::fed(1);
        tokio::spawn(rescuer.run(deliveries, acknowledgements, ended));
        subscriber
    }

    /// One that hands out what comes by these.
    fn fed(prefetch: u16) -> Fed {
        let (deliveries, delivered) = mpsc::channel(usize::from(prefetch));
        let (acknowledgements, acknowledged) = mpsc::channel(1);
        let (ended, watch) = watch::channel(None);
        let subscriber = Self {
            deliveries: delivered,
            acknowledgements,
            ended: watch,
            prefetch,
            handed_out: 0,
            acknowledged: 0,
            set_aside: Vec::new(),
        };
        (subscriber, deliveries, acknowledged, ended)
    }

    async fn disconnected(&self) -> Disconnected {
        Disconnected(reason(self.ended.clone()).await)
    }
}

impl Subscriber for AmqpSubscriber {
    async fn next(&mut self) -> Result<Delivery, Disconnected> {
        // What was delivered before the loss comes again; handing it out now would only make it come twice.
        if self.ended.borrow().is_some() {
            return Err(self.disconnected().await);
        }
        match self.deliveries.recv().await {
            Some(delivery) => {
                self.handed_out = delivery.tag;
                Ok(delivery)
            }
            None => Err(self.disconnected().await),
        }
    }

    fn set_aside(&mut self, messages: Vec<SetAside>) {
        self.set_aside.extend(messages);
    }

    async fn acknowledge_through(&mut self, tag: u64) -> Result<(), Disconnected> {
        // A tag that the broker does not know, or not any more, would end the channel.
        let through = tag.min(self.handed_out);
        if through <= self.acknowledged {
            return Ok(());
        }
        let (sent, outcome) = oneshot::channel();
        let set_aside = std::mem::take(&mut self.set_aside);
        let acknowledgement = Acknowledgement { through, set_aside, sent };
        if self.acknowledgements.send(acknowledgement).await.is_err() || outcome.await.is_err() {
            return Err(self.disconnected().await);
        }
        self.acknowledged = through;
        Ok(())
    }

    fn prefetch(&self) -> usize {
        usize::from(self.prefetch)
    }

    async fn close(self) {
        let Self { deliveries, acknowledgements, ended, .. } = self;
        drop((deliveries, acknowledgements));
        timeout(CLOSE_TIMEOUT, reason(ended)).await.ok();
    }
}
