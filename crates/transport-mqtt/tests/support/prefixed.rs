//! The suite's topics below a level of their own, so that tests at one broker do not meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postroad_transport::{
    ConnectError, Delivery, Disconnected, Outgoing, PublishError, Publisher, Subscriber, Transport,
};
use postroad_transport_mqtt::{MqttPublisher, MqttSubscriber, MqttTransport};

/// Nothing that would come comes later.
const QUIET: Duration = Duration::from_millis(200);

/// A transport whose topics have dots here, and slashes after a prefix there.
#[derive(Debug)]
pub(crate) struct Prefixed {
    pub(crate) inner: MqttTransport,
    prefix: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    subscribers: AtomicUsize,
    handed_out: AtomicUsize,
    taken_over: AtomicBool,
}

/// The topic at the broker. Nothing is put before what no broker takes, lest it become good by that.
pub(crate) fn there(prefix: &str, topic: &str) -> String {
    if topic.is_empty() { String::new() } else { format!("{prefix}/{}", topic.replace('.', "/")) }
}

impl Prefixed {
    pub(crate) fn new(inner: MqttTransport, prefix: &str) -> Self {
        Self { inner, prefix: prefix.to_owned(), counts: Arc::default() }
    }

    /// Whether nobody fetches what the broker has: a test's subscriber took over, and has gone.
    pub(crate) fn needs_fetching(&self) -> bool {
        self.counts.taken_over.load(Ordering::SeqCst)
            && self.counts.subscribers.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn fetching(&self) {
        self.counts.taken_over.store(false, Ordering::SeqCst);
    }

    /// How many messages are in the spool when nothing more arrives.
    pub(crate) async fn settled(&self) -> u64 {
        let mut before = None;
        loop {
            let now = self.inner.spool_depth().unwrap_or_default().messages;
            if before.replace(now) == Some(now) {
                return now;
            }
            tokio::time::sleep(QUIET).await;
        }
    }

    /// How many messages are handed out and not acknowledged.
    pub(crate) fn handed_out(&self) -> usize {
        self.counts.handed_out.load(Ordering::SeqCst)
    }
}

impl Transport for Prefixed {
    type Publisher = PrefixedPublisher;
    type Subscriber = PrefixedSubscriber;

    async fn connect_publisher(&self) -> Result<PrefixedPublisher, ConnectError> {
        let inner = self.inner.connect_publisher().await?;
        Ok(PrefixedPublisher { inner, prefix: self.prefix.clone() })
    }

    async fn connect_subscriber(&self) -> Result<PrefixedSubscriber, ConnectError> {
        // A message that is on its way when the connection is taken over may come by both.
        self.settled().await;
        let inner = self.inner.connect_subscriber().await?;
        self.counts.taken_over.store(true, Ordering::SeqCst);
        self.counts.subscribers.fetch_add(1, Ordering::SeqCst);
        let counted = Counted { counts: Arc::clone(&self.counts), handed_out: 0, acknowledged: 0 };
        Ok(PrefixedSubscriber { inner, prefix: format!("{}/", self.prefix), counted })
    }
}

#[derive(Debug)]
pub(crate) struct PrefixedPublisher {
    inner: MqttPublisher,
    prefix: String,
}

impl Publisher for PrefixedPublisher {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let topic = there(&self.prefix, &message.topic);
        self.inner.publish(Outgoing { topic, ..message }).await
    }

    fn closed(&self) -> impl Future<Output = String> + Send {
        self.inner.closed()
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        self.inner.close()
    }
}

#[derive(Debug)]
pub(crate) struct PrefixedSubscriber {
    inner: MqttSubscriber,
    prefix: String,
    counted: Counted,
}

/// What a subscriber has in hand. Dropped with it.
#[derive(Debug)]
struct Counted {
    counts: Arc<Counts>,
    handed_out: u64,
    acknowledged: u64,
}

impl Counted {
    fn settle(&mut self, through: u64) {
        let through = through.clamp(self.acknowledged, self.handed_out);
        let settled = usize::try_from(through - self.acknowledged).unwrap();
        self.counts.handed_out.fetch_sub(settled, Ordering::SeqCst);
        self.acknowledged = through;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.settle(u64::MAX);
        self.counts.subscribers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Subscriber for PrefixedSubscriber {
    async fn next(&mut self) -> Result<Delivery, Disconnected> {
        let mut delivery = self.inner.next().await?;
        self.counted.handed_out = delivery.tag;
        self.counted.counts.handed_out.fetch_add(1, Ordering::SeqCst);
        let topic = delivery.message.topic.strip_prefix(&self.prefix).unwrap();
        delivery.message.topic = topic.replace('/', ".");
        Ok(delivery)
    }

    async fn acknowledge_through(&mut self, tag: u64) -> Result<(), Disconnected> {
        self.inner.acknowledge_through(tag).await?;
        self.counted.settle(tag);
        Ok(())
    }

    fn prefetch(&self) -> usize {
        self.inner.prefetch()
    }

    async fn close(self) {
        let Self { inner, counted, .. } = self;
        inner.close().await;
        drop(counted);
    }
}
