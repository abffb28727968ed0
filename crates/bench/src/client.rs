//! The ceilings of the broker: amqprs alone, doing what the transport does with it and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ExchangeDeleteArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use anyhow::{Context, Result, ensure};
use tokio::sync::{Notify, Semaphore};

use crate::servers::Rabbit;

/// As many unconfirmed messages as the transport allows itself.
const WINDOW: usize = 256;
const PREFETCH: u16 = 500;

/// One connection with one channel.
pub(crate) struct Client {
    connection: Connection,
    channel: Channel,
}

impl Client {
    pub(crate) async fn connect(rabbit: &Rabbit) -> Result<Self> {
        let mut arguments = OpenConnectionArguments::new(
            &rabbit.host,
            rabbit.port,
            &rabbit.username,
            &rabbit.password,
        );
        arguments.virtual_host(&rabbit.virtual_host);
        let connection = Connection::open(&arguments).await.context("cannot reach RabbitMQ")?;
        let channel = connection.open_channel(None).await?;
        Ok(Self { connection, channel })
    }

    /// Deletes what a round made.
    pub(crate) async fn remove(&self, exchange: &str, queue: &str) -> Result<()> {
        self.channel.queue_delete(QueueDeleteArguments::new(queue)).await?;
        self.channel.exchange_delete(ExchangeDeleteArguments::new(exchange)).await?;
        Ok(())
    }

    /// Publishes with confirms, a window in flight; the time until the last confirm.
    pub(crate) async fn publish(
        &self,
        exchange: &str,
        topic: &str,
        bodies: &[Vec<u8>],
    ) -> Result<Duration> {
        let confirms = Arc::new(Confirms::default());
        let window = Arc::new(Semaphore::new(WINDOW));
        let callback = Callback { confirms: Arc::clone(&confirms), window: Arc::clone(&window) };
        self.channel.register_callback(callback).await?;
        self.channel.confirm_select(ConfirmSelectArguments::default()).await?;
        let started = Instant::now();
        for (n, body) in bodies.iter().enumerate() {
            window.acquire().await?.forget();
            let mut properties = BasicProperties::default();
            properties
                .with_persistence(true)
                .with_content_type("application/json")
                .with_message_id(&format!("ceiling-{n}"))
                .with_message_type("event")
                .with_app_id("bench")
                .with_timestamp(1_790_000_000);
            let arguments = BasicPublishArguments::new(exchange, topic);
            self.channel.basic_publish(properties, body.clone(), arguments).await?;
        }
        while confirms.count.load(Ordering::Acquire) < bodies.len() as u64 {
            confirms.changed.notified().await;
        }
        Ok(started.elapsed())
    }

    /// Consumes `messages` and acknowledges them in halves of the prefetch; the time until the last acknowledgement.
    pub(crate) async fn consume(&self, queue: &str, messages: usize) -> Result<Duration> {
        self.channel.basic_qos(BasicQosArguments::new(0, PREFETCH, false)).await?;
        let started = Instant::now();
        let consume = BasicConsumeArguments::new(queue, "bench");
        let (_, mut deliveries) = self.channel.basic_consume_rx(consume).await?;
        let mut bytes = 0;
        for n in 1..=messages {
            let message = deliveries.recv().await.context("the consumer ended early")?;
            bytes += message.content.as_ref().map_or(0, Vec::len);
            if n % usize::from(PREFETCH / 2) == 0 || n == messages {
                let tag = message.deliver.context("a delivery without a tag")?.delivery_tag();
                self.channel.basic_ack(BasicAckArguments::new(tag, true)).await?;
            }
        }
        ensure!(bytes > 0, "nothing was consumed");
        Ok(started.elapsed())
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.channel.close().await?;
        self.connection.close().await?;
        Ok(())
    }
}

#[derive(Default)]
struct Confirms {
    count: AtomicU64,
    changed: Notify,
    /// Confirmed through this tag, and single ones beyond it.
    low: Mutex<(u64, std::collections::BTreeSet<u64>)>,
}

struct Callback {
    confirms: Arc<Confirms>,
    window: Arc<Semaphore>,
}

impl Callback {
    fn confirmed(&self, tag: u64, multiple: bool) {
        let mut guard = self.confirms.low.lock().expect("no panic holds this lock");
        let (low, singles) = &mut *guard;
        let mut fresh = 0;
        if multiple {
            let rest = singles.split_off(&(tag + 1));
            fresh += tag.saturating_sub(*low) - singles.len() as u64;
            *singles = rest;
            *low = tag.max(*low);
        } else if tag > *low && singles.insert(tag) {
            fresh += 1;
            while singles.remove(&(*low + 1)) {
                *low += 1;
            }
        }
        drop(guard);
        self.window.add_permits(usize::try_from(fresh).unwrap_or(usize::MAX));
        self.confirms.count.fetch_add(fresh, Ordering::Release);
        self.confirms.changed.notify_one();
    }
}

type AmqpResult<T> = std::result::Result<T, amqprs::error::Error>;

#[async_trait::async_trait]
impl ChannelCallback for Callback {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> AmqpResult<()> {
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> AmqpResult<()> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> AmqpResult<bool> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.confirmed(ack.delivery_tag(), ack.mutiple());
    }
    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.confirmed(nack.delivery_tag(), nack.multiple());
    }
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
