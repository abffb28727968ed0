//! What is in quarantine goes to the dead letter exchange, where there is one, before the broker is asked to forget it.

use std::collections::BTreeSet;
use std::time::Duration;

use amqprs::channel::{
    BasicConsumeArguments, Channel, ConsumerMessage, ExchangeDeclareArguments,
    ExchangeDeleteArguments, QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, FieldTable, FieldValue};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::support::{Bus, RawClient, Server, content_type, headers, on_server, on_servers, until};

const TOPIC: &str = "event.machine.spindle.started";
const WAIT: Duration = Duration::from_mins(3);

/// A dead letter exchange with a queue of its own, and its messages.
struct Morgue {
    name: String,
    channel: Channel,
    messages: Option<UnboundedReceiver<ConsumerMessage>>,
    _connection: Connection,
}

impl Morgue {
    async fn connect(bus: &Bus) -> Self {
        let url = &bus.url;
        let arguments =
            OpenConnectionArguments::new(&url.host, url.port, &url.username, &url.password)
                .virtual_host(&url.virtual_host)
                .finish();
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        let name = format!("{}-dead", bus.exchange());
        Self { name, channel, messages: None, _connection: connection }
    }

    async fn build(&self) {
        self.exchange().await;
        self.queue().await;
    }

    async fn exchange(&self) {
        let declare = ExchangeDeclareArguments::new(&self.name, "topic").durable(true).finish();
        self.channel.exchange_declare(declare).await.unwrap();
    }

    async fn queue(&self) {
        let declare = QueueDeclareArguments::durable_client_named(&self.name);
        self.channel.queue_declare(declare).await.unwrap();
        let bind = QueueBindArguments::new(&self.name, &self.name, "#");
        self.channel.queue_bind(bind).await.unwrap();
    }

    async fn listen(&mut self) {
        let consume = BasicConsumeArguments::new(&self.name, "morgue").auto_ack(true).finish();
        self.messages = Some(self.channel.basic_consume_rx(consume).await.unwrap().1);
    }

    async fn next(&mut self) -> (BasicProperties, Vec<u8>, String) {
        let messages = self.messages.as_mut().expect("it listens");
        let message = timeout(WAIT, messages.recv()).await.expect("a letter comes").unwrap();
        let topic = message.deliver.unwrap().routing_key().clone();
        (message.basic_properties.unwrap(), message.content.unwrap(), topic)
    }

    fn is_silent(&mut self) -> bool {
        self.messages.as_mut().expect("it listens").try_recv().is_err()
    }

    async fn remove(self) {
        self.channel.queue_delete(QueueDeleteArguments::new(&self.name)).await.unwrap();
        self.channel.exchange_delete(ExchangeDeleteArguments::new(&self.name)).await.unwrap();
    }
}

fn text(table: &FieldTable, name: &str) -> String {
    match table.get(&name.try_into().unwrap()) {
        Some(FieldValue::S(text)) => text.as_ref().clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn good(id: &str) -> String {
    format!(
        r#"{{"schema":"interservice.envelope.v1","message_id":"{id}","message_type":"event",
            "topic":"{TOPIC}","source_service":"s","event_type":"t","payload":null}}"#
    )
}

fn setting(morgue: &Morgue) -> String {
    format!("rabbitmq.dead_letter_exchange={}", morgue.name)
}

async fn kept(bus: &Bus) -> i64 {
    bus.sql.count("SELECT count(*) FROM quarantined_message").await
}

async fn until_empty(bus: &Bus) {
    let inbox = bus.inbox("default");
    until("the queue is empty", async || bus.rabbit.depth(&inbox).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_quarantined_message_is_a_dead_letter_once_with_its_body_its_properties_and_the_reason() {
    on_servers(async |bus| {
        let mut morgue = Morgue::connect(bus).await;
        morgue.build().await;
        morgue.listen().await;
        bus.configure("default", &[&setting(&morgue)]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;

        let mut table = FieldTable::new();
        table.insert("line".try_into().unwrap(), FieldValue::I(4));
        let properties = BasicProperties::default()
            .with_content_type("text/plain")
            .with_message_id("m-1")
            .with_correlation_id("c-1")
            .with_priority(3)
            .with_expiration("100000000")
            .with_timestamp(7)
            .with_headers(table)
            .finish();
        bus.rabbit.publish_with(TOPIC, properties, b"\xff\x00not json".to_vec()).await;
        let (found, body, topic) = morgue.next().await;
        assert_eq!((body.as_slice(), topic.as_str()), (&b"\xff\x00not json"[..], TOPIC));
        assert_eq!(found.content_type().map(String::as_str), Some("text/plain"));
        assert_eq!(found.message_id().map(String::as_str), Some("m-1"));
        assert_eq!(found.correlation_id().map(String::as_str), Some("c-1"));
        assert_eq!((found.priority(), found.timestamp()), (Some(3), Some(7)));
        assert_eq!(found.expiration().map(String::as_str), Some("100000000"));
        let table = found.headers().unwrap();
        assert_eq!(table.get(&"line".try_into().unwrap()), Some(&FieldValue::I(4)));
        assert_eq!(text(table, "x-postroad-reason"), "invalid_json");
        assert!(!text(table, "x-postroad-detail").is_empty());
        assert_eq!(text(table, "x-postroad-exchange"), bus.exchange());
        assert_eq!(text(table, "x-postroad-routing-key"), TOPIC);

        // What the database finds out, and what is good.
        bus.rabbit.publish(TOPIC, good("m-2")).await;
        bus.rabbit.publish(TOPIC, good("m-2").replace("null", "1")).await;
        let (found, body, _) = morgue.next().await;
        assert_eq!(text(found.headers().unwrap(), "x-postroad-reason"), "id_conflict");
        assert_eq!(body, good("m-2").replace("null", "1").into_bytes());
        bus.rabbit.publish(TOPIC, good("m-3")).await;
        bus.until_received("default", 2).await;
        until_empty(bus).await;
        worker.stop().await;
        until_empty(bus).await;
        assert_eq!(kept(bus).await, 2);
        assert!(morgue.is_silent(), "each is sent once, and the broker sends none by itself");
        morgue.remove().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_message_that_cannot_be_decoded_is_a_dead_letter_in_its_own_bytes() {
    on_server(Server::Postgres, async |bus| {
        let morgue = Morgue::connect(bus).await;
        morgue.build().await;
        bus.configure("default", &[&setting(&morgue)]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        let mut client = RawClient::connect(&bus.url, bus.exchange()).await;
        client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"bad type").await;
        client.publish(TOPIC.as_bytes(), &headers(b"\x01aS\0\0\0\x01\xff"), b"bad header").await;
        bus.rabbit.publish(TOPIC, good("m-1")).await;
        bus.until_received("default", 1).await;
        until("both are dead letters", async || bus.rabbit.depth(&morgue.name).await == 2).await;
        worker.stop().await;
        until_empty(bus).await;
        assert_eq!(kept(bus).await, 2);

        // Seen by the one client here that reads such bytes: our own, of a worker whose inbox that queue is.
        bus.configure(
            "reader",
            &[
                "outbound_enabled=false",
                &format!("rabbitmq.queue={}", morgue.name),
                "rabbitmq.queue_type=classic",
                &format!("rabbitmq.exchange={}", morgue.name),
                "rabbitmq.binding_keys=[]",
            ],
        );
        let reader = bus.postroad.worker(&["--config-key", "reader"]);
        let read = "SELECT count(*) FROM quarantined_message WHERE config_key = 'reader'";
        bus.sql.until_count(2, read).await;
        let rows = bus
            .sql
            .rows("SELECT headers FROM quarantined_message WHERE config_key = 'reader'")
            .await;
        for row in rows {
            let headers = &row["headers"]["headers"];
            assert_eq!(headers["x-postroad-reason"], "undecodable", "{row}");
            assert_eq!(headers["x-postroad-routing-key"], TOPIC, "{row}");
            let bytes = row["headers"]["properties"]["content_type"]["base64"].as_str();
            let bytes = bytes.or_else(|| headers["a"]["base64"].as_str());
            assert_eq!(bytes, Some("/w=="), "{row}");
        }
        reader.stop().await;
        bus.sql.execute("DELETE FROM event_bus_rabbitmq_settings WHERE queue IS NOT NULL").await;
        bus.sql.execute("DELETE FROM event_bus_runtime_config WHERE config_key = 'reader'").await;
        morgue.remove().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn without_the_exchange_nothing_is_forgotten_the_others_go_on_and_status_says_what_to_do() {
    on_server(Server::Postgres, async |bus| {
        let morgue = Morgue::connect(bus).await;
        bus.configure("default", &[&setting(&morgue)]);
        let mut worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        bus.rabbit.publish(TOPIC, "bad").await;
        bus.rabbit.publish(TOPIC, good("m-1")).await;
        let mut client = RawClient::connect(&bus.url, bus.exchange()).await;
        client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"undecodable").await;
        bus.rabbit.publish(TOPIC, good("m-2")).await;
        bus.until_received("default", 2).await;
        bus.sql.until_count(2, "SELECT count(*) FROM quarantined_message").await;
        let said = async |part: &str| {
            let error = bus.sql.row("SELECT last_error FROM event_bus_runtime_config").await;
            error["last_error"].as_str().is_some_and(|error| error.contains(part))
        };
        let name = &morgue.name;
        until("it says what is missing", async || said(&format!("`{name}`")).await).await;
        until("and what to do", async || said("declare it").await).await;
        until("and why", async || said("no exchange").await).await;

        // A restart changes nothing: they come again, are in quarantine once, and wait again.
        worker.kill();
        let worker = bus.postroad.worker(&[]);
        bus.rabbit.publish(TOPIC, good("m-3")).await;
        bus.until_received("default", 3).await;
        until("it says so again", async || said(&format!("`{name}`")).await).await;
        assert_eq!(kept(bus).await, 2);
        assert!(worker.said("does not take") <= 4, "{}", worker.log());

        // An exchange without a queue would lose them.
        morgue.exchange().await;
        until("it says what is missing now", async || {
            said("NO_ROUTE").await || said("no queue").await
        })
        .await;
        morgue.queue().await;
        until("both are there", async || bus.rabbit.depth(name).await == 2).await;
        until_empty(bus).await;
        let healthy = "SELECT count(*) FROM event_bus_runtime_config WHERE last_error IS NULL";
        bus.sql.until_count(1, healthy).await;
        worker.stop().await;
        until_empty(bus).await;
        assert_eq!((kept(bus).await, bus.rabbit.depth(name).await), (2, 2));
        morgue.remove().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_worker_killed_again_and_again_loses_no_dead_letter() {
    const MESSAGES: usize = 600;
    on_server(Server::Postgres, async |bus| {
        let mut morgue = Morgue::connect(bus).await;
        morgue.build().await;
        morgue.listen().await;
        bus.configure("default", &[&setting(&morgue)]);
        let mut worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        for number in 0..MESSAGES {
            bus.rabbit.publish(TOPIC, format!("bad {number}")).await;
        }
        let mut dead = BTreeSet::new();
        let mut letters = 0;
        for kill in 1..=5 {
            // In the middle of it: some are confirmed, of which not all are acknowledged.
            while dead.len() < MESSAGES * kill / 8 {
                dead.insert(morgue.next().await.1);
                letters += 1;
            }
            worker.kill();
            worker = bus.postroad.worker(&[]);
        }
        while dead.len() < MESSAGES {
            dead.insert(morgue.next().await.1);
            letters += 1;
        }
        until_empty(bus).await;
        worker.stop().await;
        until_empty(bus).await;
        assert_eq!(kept(bus).await, i64::try_from(MESSAGES).unwrap(), "each is in quarantine once");
        // A duplicate only of what was not acknowledged when it was killed.
        assert!(letters <= MESSAGES + 5 * 500, "{letters}");
        morgue.remove().await;
    })
    .await;
}
