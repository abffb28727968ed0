//! Consuming with acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::ConsumerMessage;
use postroad_transport::{Delivery, Disconnected, Subscriber};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::breaker::Breaker;
use crate::link::Link;
use crate::probe::Probe;
use crate::publisher::reason;
use crate::pump::{Acknowledgement, Pump};

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
}

/// What a subscriber is started with.
pub(crate) struct Consumer {
    pub(crate) link: Link,
    pub(crate) messages: mpsc::UnboundedReceiver<ConsumerMessage>,
    pub(crate) prefetch: u16,
    pub(crate) write_timeout: Duration,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) cautious: bool,
}

impl AmqpSubscriber {
    /// Hands the connection, on which the consumer runs, to a task of its own.
    pub(crate) fn start(consumer: Consumer) -> Self {
        let Consumer { link, messages, prefetch, write_timeout, breaker, cautious } = consumer;
        let (deliveries, delivered) = mpsc::channel(usize::from(prefetch));
        let (acknowledgements, acknowledged) = mpsc::channel(1);
        let (ended, watch) = watch::channel(None);
        let pump = Pump {
            link,
            messages,
            deliveries,
            acknowledgements: acknowledged,
            probe: Probe::new(prefetch),
            write_timeout,
            breaker,
            cautious,
        };
        tokio::spawn(pump.run(ended));
        Self {
            deliveries: delivered,
            acknowledgements,
            ended: watch,
            prefetch,
            handed_out: 0,
            acknowledged: 0,
        }
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

    async fn acknowledge_through(&mut self, tag: u64) -> Result<(), Disconnected> {
        // A tag that the broker does not know, or not any more, would end the channel.
        let through = tag.min(self.handed_out);
        if through <= self.acknowledged {
            return Ok(());
        }
        let (sent, outcome) = oneshot::channel();
        let acknowledgement = Acknowledgement { through, sent };
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
