//! Publishing with acknowledgements.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paho_mqtt::Message;
use postroad_fault_points::{Bug, Point, has, reached};
use postroad_transport::{Outgoing, PublishError, Publisher};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::client::Client;
use crate::connect::Connected;
use crate::settings::MqttSettings;
use crate::topic;
use crate::writer::{Place, Sent, Writer};

/// Acknowledgements and good-bye have their own, shorter deadlines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(6);

/// What a packet has beside topic and body, at most.
const PACKET_HEAD: usize = 16;

/// MQTT's limit for a packet.
const MAX_PACKET: usize = 268_435_455;

/// A publishing connection to an MQTT broker. Dropping it ends it.
///
/// Topic and body are what is sent. MQTT has no place for the other fields of an [`Outgoing`] that every broker passes
/// on, so a message that needs them has them in its body. Nor can it tell whether anybody is subscribed:
/// [`Outgoing::must_route`] is not looked at, and a request that nobody hears is published.
#[derive(Debug)]
pub struct MqttPublisher {
    client: Arc<Client>,
    sent: mpsc::UnboundedSender<Sent>,
    window: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    window_bytes: usize,
    qos: i32,
    max_packet: usize,
    ended: watch::Receiver<Option<String>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl MqttPublisher {
    /// Starts the task that waits for acknowledgements.
    pub(crate) fn start(connected: Connected, settings: &MqttSettings) -> Self {
        let client = Arc::new(connected.client);
        // Bounded all the same: each holds a place in the window, in messages and in bytes.
        let (sent, sending) = mpsc::unbounded_channel();
        let (ended, watch) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let writer = Writer::new(Arc::clone(&client), sending, settings.confirm_timeout);
        tokio::spawn(writer.run(stopped, ended));
        let told = connected.max_packet_bytes.map_or(MAX_PACKET, |bytes| bytes as usize);
        Self {
            client,
            sent,
            window: Arc::new(Semaphore::new(settings.max_inflight.into())),
            bytes: Arc::new(Semaphore::new(settings.window_bytes)),
            window_bytes: settings.window_bytes,
            qos: settings.qos.into(),
            max_packet: told.min(MAX_PACKET),
            ended: watch,
            stop: Mutex::new(Some(stop)),
        }
    }

    fn prepare(&self, message: &Outgoing) -> Result<Message, PublishError> {
        let unsendable = |why: &str| PublishError::Unsendable(why.to_owned());
        topic::check_name(&message.topic).map_err(unsendable)?;
        let size = message.topic.len() + message.body.len() + PACKET_HEAD;
        if size > self.max_packet {
            let most = self.max_packet;
            return Err(PublishError::Unsendable(format!(
                "topic and body take {size} bytes, the broker takes {most}"
            )));
        }
        Ok(Message::new(message.topic.as_str(), message.body.as_ref(), self.qos))
    }

    /// A place in the window, in messages and in bytes. A message larger than the window goes alone.
    async fn place(&self, size: usize) -> Place {
        let size = u32::try_from(size.clamp(1, self.window_bytes)).unwrap_or(u32::MAX);
        let message = Arc::clone(&self.window).acquire_owned();
        let message = message.await.expect("the window is never closed");
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(size);
        (message, bytes.await.expect("the window is never closed"))
    }

    async fn send(&self, message: Outgoing) -> Result<(), PublishError> {
        let prepared = self.prepare(&message)?;
        let place = tokio::select! {
            biased;
            place = self.place(message.body.len()) => place,
            reason = self.closed() => return Err(PublishError::Unconfirmed(reason)),
        };
        let (waiter, outcome) = oneshot::channel();
        let sent = self.sent.clone();
        self.client.run(move |client| {
            // Whoever dropped its publish before this does not want it sent any more.
            if !waiter.is_closed() {
                let token = client.publish(prepared);
                reached(Point::AfterWriteBeforeConfirm);
                let waiter = if has(Bug::PublishedBeforeConfirm) {
                    // As in `Writer`.
                    waiter.send(Ok(())).ok();
                    oneshot::channel().0
                } else {
                    waiter
                };
                // The task has ended: then the connection has.
                sent.send(Sent { token, waiter, place }).ok();
            }
        });
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => self.unconfirmed().await,
        }
    }

    async fn unconfirmed(&self) -> Result<(), PublishError> {
        Err(PublishError::Unconfirmed(reason(self.ended.clone()).await))
    }
}

impl Publisher for MqttPublisher {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        if self.ended.borrow().is_some() {
            return self.unconfirmed().await;
        }
        self.send(message).await
    }

    fn confirms(&self) -> bool {
        self.qos > 0
    }

    fn closed(&self) -> impl Future<Output = String> + Send {
        reason(self.ended.clone())
    }

    async fn close(&self) {
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The task is gone already: then it is closed.
            stop.send(()).ok();
        }
        timeout(CLOSE_TIMEOUT, self.closed()).await.ok();
    }
}

/// Waits for the reason that the task of a connection leaves when it ends.
async fn reason(mut ended: watch::Receiver<Option<String>>) -> String {
    match ended.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "its task failed".to_owned(),
    }
}
