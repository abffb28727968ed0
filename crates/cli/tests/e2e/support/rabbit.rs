//! RabbitMQ as another service sees it, by a client that shares nothing with the program.

use std::collections::BTreeMap;
use std::time::Duration;

use amqprs::BasicProperties;
use amqprs::channel::{
    BasicConsumeArguments, BasicPublishArguments, Channel, ConsumerMessage,
    ExchangeDeclareArguments, ExchangeDeleteArguments, QueueBindArguments, QueueDeclareArguments,
    QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use postroad_testbed::Url;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use uuid::Uuid;

use super::recorder::Recorder;

const WAIT: Duration = Duration::from_mins(3);

/// A channel, and the exchange of one test.
pub(crate) struct Rabbit {
    exchange: String,
    channel: Channel,
    _connection: Connection,
}

/// Hears what goes over the exchange.
pub(crate) struct Ear {
    pub(super) queue: String,
    pub(super) channel: Channel,
    messages: UnboundedReceiver<ConsumerMessage>,
}

/// One message as it came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl Rabbit {
    pub(crate) async fn connect(url: &Url, exchange: &str) -> Self {
        let Url { host, port, username, password, virtual_host } = url;
        let arguments = OpenConnectionArguments::new(host, *port, username, password)
            .virtual_host(virtual_host)
            .finish();
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        let declare = ExchangeDeclareArguments::new(exchange, "topic").durable(true).finish();
        channel.exchange_declare(declare).await.unwrap();
        Self { exchange: exchange.to_owned(), channel, _connection: connection }
    }

    /// From now on hears every message whose topic fits the pattern.
    pub(crate) async fn listen(&self, pattern: &str) -> Ear {
        let queue = format!("ear-{}", Uuid::new_v4());
        let declare = QueueDeclareArguments::exclusive_server_named().queue(queue.clone()).finish();
        self.channel.queue_declare(declare).await.unwrap();
        let bind = QueueBindArguments::new(&queue, &self.exchange, pattern);
        self.channel.queue_bind(bind).await.unwrap();
        let consume = BasicConsumeArguments::new(&queue, &queue).auto_ack(true).finish();
        let (_, messages) = self.channel.basic_consume_rx(consume).await.unwrap();
        Ear { queue, channel: self.channel.clone(), messages }
    }

    pub(crate) async fn publish(&self, topic: &str, body: impl Into<Vec<u8>>) {
        self.publish_with(topic, BasicProperties::default(), body).await;
    }

    pub(crate) async fn publish_with(
        &self,
        topic: &str,
        properties: BasicProperties,
        body: impl Into<Vec<u8>>,
    ) {
        let arguments = BasicPublishArguments::new(&self.exchange, topic);
        self.channel.basic_publish(properties, body.into(), arguments).await.unwrap();
    }

    /// How many messages of a queue nobody has taken.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let declare = QueueDeclareArguments::new(queue).passive(true).finish();
        self.channel.queue_declare(declare).await.unwrap().unwrap().1
    }

    pub(crate) async fn delete_queue(&self, queue: &str) {
        self.channel.queue_delete(QueueDeleteArguments::new(queue)).await.unwrap();
    }

    pub(crate) async fn delete_exchange(&self) {
        let delete = ExchangeDeleteArguments::new(&self.exchange);
        self.channel.exchange_delete(delete).await.unwrap();
    }
}

impl Ear {
    /// Writes down what it hears, from now on and without keeping more of it than that takes.
    pub(crate) fn record(self) -> Recorder {
        Recorder::start(self)
    }

    /// Puts a message with this id behind all that was routed to this ear up to now.
    pub(super) async fn mark(queue: &str, channel: &Channel, mark: &str) {
        let properties = BasicProperties::default().with_message_id(mark).finish();
        // The nameless exchange leads straight to the queue.
        let arguments = BasicPublishArguments::new("", queue);
        channel.basic_publish(properties, Vec::new(), arguments).await.unwrap();
    }

    /// All that was routed to this ear up to now.
    pub(crate) async fn up_to_now(&mut self) -> Vec<Heard> {
        let mark = Uuid::new_v4().to_string();
        Self::mark(&self.queue, &self.channel, &mark).await;
        let mut all = Vec::new();
        loop {
            let heard = self.next().await;
            if heard.message_id() == mark {
                return all;
            }
            all.push(heard);
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Heard {
        timeout(WAIT, self.whenever()).await.expect("a message comes")
    }

    /// The same, however long it takes.
    pub(super) async fn whenever(&mut self) -> Heard {
        let message = self.messages.recv().await.expect("the channel is open");
        Heard {
            topic: message.deliver.expect("it is whole").routing_key().clone(),
            properties: message.basic_properties.expect("it is whole"),
            body: message.content.expect("it is whole"),
        }
    }
}

impl Heard {
    pub(crate) fn message_id(&self) -> &str {
        self.properties.message_id().expect("each message has an id")
    }
}

/// How often each message was heard, by its id.
pub(crate) fn copies(heard: &[Heard]) -> BTreeMap<&str, usize> {
    let mut copies = BTreeMap::new();
    for message in heard {
        *copies.entry(message.message_id()).or_default() += 1;
    }
    copies
}
