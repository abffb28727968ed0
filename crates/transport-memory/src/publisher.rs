//! Publishing with confirms.

use std::future::Future;

use postroad_transport::{Outgoing, PublishError, Publisher};
use tokio::sync::Semaphore;

use crate::link::Link;
use crate::{Fault, FaultPoint};

/// AMQP's limit for a routing key, kept here so that a test on this broker fails where RabbitMQ would.
const MAX_SHORT_TEXT: usize = 255;

/// A publishing connection to a [`crate::Broker`].
#[derive(Debug)]
pub struct MemoryPublisher {
    link: Link,
    window: Semaphore,
}

impl MemoryPublisher {
    pub(crate) fn new(link: Link, window: usize) -> Self {
        Self { link, window: Semaphore::new(window.max(1)) }
    }

    async fn send(&self, message: Outgoing) -> Result<(), PublishError> {
        let _turn = self.window.acquire().await.expect("the window is never closed");
        let broker = &self.link.broker;
        let mut copies = 1;
        match broker.fault(FaultPoint::BeforeTaking(&message)).await {
            Some(Fault::Refuse) => return Err(PublishError::Refused("on demand".to_owned())),
            Some(Fault::Disconnect) => return self.lose("disconnected before taking").await,
            Some(Fault::DropConfirm) => return self.wait_for_nothing().await,
            Some(Fault::Duplicate) => copies = 2,
            Some(Fault::Delay(_)) | None => {}
        }
        self.take(&message, copies)?;
        match broker.fault(FaultPoint::AfterTaking(&message)).await {
            Some(Fault::Disconnect) => return self.lose("disconnected before the confirm").await,
            Some(Fault::DropConfirm) => return self.wait_for_nothing().await,
            Some(Fault::Duplicate) => self.take(&message, 1)?,
            Some(Fault::Refuse | Fault::Delay(_)) | None => {}
        }
        let latency = broker.state().confirm_latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        Ok(())
    }

    /// Puts the message into every queue bound for it, `copies` times.
    fn take(&self, message: &Outgoing, copies: usize) -> Result<(), PublishError> {
        let mut state = self.link.broker.state();
        if message.must_route() && !state.exchange.routes(&message.topic) {
            return Err(PublishError::Refused(format!(
                "no queue is bound for `{}`",
                message.topic
            )));
        }
        for _ in 0..copies {
            state.exchange.route(message);
        }
        if let Some(taken) = &mut state.taken {
            taken.push(message.clone());
        }
        drop(state);
        self.link.broker.changed().notify_waiters();
        Ok(())
    }

    async fn lose(&self, reason: &str) -> Result<(), PublishError> {
        self.link.end(reason);
        Err(PublishError::Unconfirmed(self.link.ended().await))
    }

    async fn wait_for_nothing(&self) -> Result<(), PublishError> {
        let timeout = self.link.broker.state().confirm_timeout;
        tokio::time::sleep(timeout).await;
        self.lose(&format!("no confirm within {timeout:?}")).await
    }
}

impl Publisher for MemoryPublisher {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        check_sendable(&message)?;
        tokio::select! {
            biased;
            reason = self.link.ended() => Err(PublishError::Unconfirmed(reason)),
            outcome = self.send(message) => outcome,
        }
    }

    fn closed(&self) -> impl Future<Output = String> + Send {
        self.link.ended()
    }

    async fn close(&self) {
        self.link.end("closed");
    }
}

fn check_sendable(message: &Outgoing) -> Result<(), PublishError> {
    let check = |what: &str, text: &str| {
        if text.len() <= MAX_SHORT_TEXT {
            return Ok(());
        }
        Err(PublishError::Unsendable(format!(
            "{what} has {} bytes, the most is {MAX_SHORT_TEXT}",
            text.len()
        )))
    };
    check("topic", &message.topic)?;
    message.headers.keys().try_for_each(|key| check("a header's name", key))
}
