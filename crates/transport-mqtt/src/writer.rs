//! The task that waits for the broker's acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use paho_mqtt::{DeliveryToken, Error};
use postroad_transport::PublishError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use crate::client::Client;

/// For what is under way when the connection is to be closed.
const LAST_CONFIRMS: Duration = Duration::from_secs(2);

/// A message that paho has.
pub(crate) struct Sent {
    pub(crate) token: DeliveryToken,
    pub(crate) waiter: oneshot::Sender<Result<(), PublishError>>,
    /// Given back when the outcome is known, whether or not somebody still waits for it.
    pub(crate) place: Place,
}

/// A place in the window: one of its messages, and so many of its bytes.
pub(crate) type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

pub(crate) struct Writer {
    client: Arc<Client>,
    sent: mpsc::UnboundedReceiver<Sent>,
    confirm_timeout: Duration,
}

impl Writer {
    pub(crate) fn new(
        client: Arc<Client>,
        sent: mpsc::UnboundedReceiver<Sent>,
        confirm_timeout: Duration,
    ) -> Self {
        Self { client, sent, confirm_timeout }
    }

    /// Runs until the connection ends or is to be closed, and leaves the reason in `ended`. Whatever has no outcome by
    /// then is dropped with the client, so that it cannot go out any more.
    pub(crate) async fn run(
        mut self,
        mut stop: oneshot::Receiver<()>,
        ended: watch::Sender<Option<String>>,
    ) {
        let mut lost = self.client.lost();
        let mut in_flight = FuturesUnordered::new();
        // None while it is open.
        let mut closing: Option<Instant> = None;
        let reason = loop {
            if closing.is_some() && in_flight.is_empty() && self.sent.is_empty() {
                break None;
            }
            tokio::select! {
                biased;
                // An error means that the publisher was dropped.
                _ = &mut stop, if closing.is_none() => closing = Some(Instant::now() + LAST_CONFIRMS),
                Some(confirmed) = in_flight.next() => {
                    if let Err(reason) = confirmed {
                        break Some(reason);
                    }
                }
                Some(sent) = self.sent.recv() => in_flight.push(confirm(sent, self.confirm_timeout)),
                lost = lost.wait_for(Option::is_some) => {
                    break Some(lost.ok().and_then(|reason| reason.clone()).unwrap_or_default());
                }
                () = sleep_until(closing.unwrap_or_else(Instant::now)), if closing.is_some() => break None,
            }
        };
        let closed = reason.is_none();
        // Publishes fail a little before the loss is told, and know less.
        let reason = reason.map(|reason| lost.borrow().clone().unwrap_or(reason));
        debug!(error = reason, "publishing connection ended");
        if closed {
            self.client.close().await;
        }
        self.client.end();
        ended.send_replace(Some(reason.unwrap_or_else(|| "closed".to_owned())));
    }
}

/// Waits for one outcome and tells it. `Err`: the connection is of no more use, for this reason.
async fn confirm(sent: Sent, within: Duration) -> Result<(), String> {
    let Sent { token, waiter, place } = sent;
    let outcome = match timeout_at(Instant::now() + within, token).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Error::ReasonCode(code, _))) => Err(PublishError::Refused(code.to_string())),
        Ok(Err(Error::BadUtf8String)) => {
            Err(PublishError::Unsendable("the client library does not take the topic".to_owned()))
        }
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no acknowledgement within {within:?}")),
    };
    drop(place);
    // Nobody waits any more: then nobody is told.
    waiter.send(outcome).ok();
    Ok(())
}
