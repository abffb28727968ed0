//! Consuming with acknowledgements.

use std::pin::pin;

use postroad_transport::{Delivery, Disconnected, Subscriber};

use crate::link::Link;
use crate::{Fault, FaultPoint};

/// A consuming connection to a [`crate::Broker`].
#[derive(Debug)]
pub struct MemorySubscriber {
    link: Link,
    queue: String,
    prefetch: usize,
}

impl MemorySubscriber {
    pub(crate) fn new(link: Link, queue: String, prefetch: usize) -> Self {
        Self { link, queue, prefetch: prefetch.max(1) }
    }

    /// The message that would be delivered now.
    fn peek(&self) -> Option<postroad_transport::Incoming> {
        let mut state = self.link.broker.state();
        let handed_out = state.connection(self.link.id)?.unacknowledged.len();
        if handed_out >= self.prefetch { None } else { state.exchange.head(&self.queue).cloned() }
    }

    /// Delivers the head of the queue, if there is one. Takes it off the queue only at its very end.
    async fn deliver(&self) -> Option<Delivery> {
        let head = self.peek()?;
        let broker = &self.link.broker;
        match broker.fault(FaultPoint::BeforeDelivery(&head)).await {
            Some(Fault::Disconnect) => self.link.end("disconnected before a delivery"),
            Some(Fault::Duplicate) => broker.state().exchange.duplicate_head(&self.queue),
            Some(Fault::Refuse | Fault::DropConfirm | Fault::Delay(_)) | None => {}
        }
        let (tag, message) = broker.state().deliver(self.link.id, &self.queue)?;
        Some(Delivery { tag, message })
    }
}

impl Subscriber for MemorySubscriber {
    async fn next(&mut self) -> Result<Delivery, Disconnected> {
        loop {
            let mut changed = pin!(self.link.broker.changed().notified());
            changed.as_mut().enable();
            self.link.check()?;
            if let Some(delivery) = self.deliver().await {
                return Ok(delivery);
            }
            self.link.check()?;
            changed.await;
        }
    }

    async fn acknowledge_through(&mut self, tag: u64) -> Result<(), Disconnected> {
        self.link.check()?;
        match self.link.broker.fault(FaultPoint::BeforeAck(tag)).await {
            Some(Fault::Disconnect) => self.link.end("disconnected before an acknowledgement"),
            Some(Fault::DropConfirm) => {
                self.link.end("disconnected with an acknowledgement on its way");
                return Ok(());
            }
            Some(Fault::Refuse | Fault::Duplicate | Fault::Delay(_)) | None => {}
        }
        self.link.check()?;
        self.link.broker.state().settle_through(self.link.id, tag);
        if self.link.broker.fault(FaultPoint::AfterAck(tag)).await == Some(Fault::Disconnect) {
            self.link.end("disconnected after an acknowledgement");
        }
        Ok(())
    }

    fn prefetch(&self) -> usize {
        self.prefetch
    }

    async fn close(self) {
        self.link.end("closed");
    }
}
