//! Messages that amqprs cannot decode, from a client that sends any bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use amqprs::channel::{ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments};
use amqprs::{FieldTable, FieldValue};
use postroad_transport::testing::{PREFETCH, Rig, event};
use postroad_transport::{Incoming, Publisher, Subscriber, Transport};
use postroad_transport_amqp::{AmqpSubscriber, AmqpTransport, QueueType};
use serde_json::json;
use tokio::time::timeout;

use support::Place;
use support::raw::{RawClient, content_type, headers};

const TOPIC: &str = "event.suite.thing.made";
const SOON: Duration = Duration::from_mins(1);
const LAST: &[u8] = b"the last one";

/// Properties, and what is said of them.
fn poison() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (headers(b"\x04bellS\0\0\0\x02\xff\xfe"), "the header `bell` is not UTF-8"),
        (headers(b"\x01\xffI\0\0\0\x01"), "the name of the header"),
        (content_type(b"\xc3\x28"), "the property `content_type` is not UTF-8"),
    ]
}

/// Takes and acknowledges as an engine does, connecting again at once, until this body has come.
async fn take_until(place: &Place, last: &[u8]) -> Vec<Incoming> {
    take_by(&place.transport, last).await
}

async fn take_by(transport: &AmqpTransport, last: &[u8]) -> Vec<Incoming> {
    let mut taken = Vec::new();
    loop {
        // amqprs may break before it was told that it consumes.
        let Ok(mut subscriber) = transport.connect_subscriber().await else { continue };
        while let Ok(delivery) = subscriber.next().await {
            let is_last = delivery.message.body == last;
            if subscriber.acknowledge_through(delivery.tag).await.is_err() {
                break;
            }
            taken.push(delivery.message);
            if is_last {
                subscriber.close().await;
                return taken;
            }
        }
    }
}

async fn raw_client(place: &Place) -> RawClient {
    // The exchange and the queue are made.
    place.transport.connect_publisher().await.unwrap().close().await;
    RawClient::connect(&place.url, &place.settings.exchange).await
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn what_amqprs_cannot_decode_is_handed_out_in_bytes_and_the_others_go_on() {
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        let place = Place::new(queue_type).await;
        let mut client = raw_client(&place).await;
        client.publish(TOPIC.as_bytes(), &[0, 0], b"the first one").await;
        for (number, (properties, _)) in poison().iter().enumerate() {
            client
                .publish(TOPIC.as_bytes(), properties, &[u8::try_from(number).unwrap(), 0xff])
                .await;
            client.publish(TOPIC.as_bytes(), &[0, 0], format!("after {number}").as_bytes()).await;
        }
        // A quorum queue writes down anew what it delivers again, and not in this type.
        client.publish(TOPIC.as_bytes(), &headers(b"\x01nL\0\0\0\0\0\0\0\x09"), b"long").await;
        client.publish(b"event.suite.thing.\xff", &[0, 0], b"a bad key").await;
        client.publish(TOPIC.as_bytes(), &[0, 0], LAST).await;

        let taken = timeout(SOON * 3, take_until(&place, LAST)).await.expect("it takes seconds");
        let (long, taken): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|message| message.body == "long");
        assert_eq!(long[0].headers["n"], 9);
        if queue_type == QueueType::Classic {
            assert!(long[0].undecodable.as_ref().unwrap().detail.contains("`L`"), "{long:?}");
        }
        let (bad, good): (Vec<_>, Vec<_>) =
            taken.iter().partition(|message| message.undecodable.is_some());
        // An acknowledgement may get lost with its connection.
        let good: BTreeSet<_> = good.iter().map(|message| &message.body).collect();
        assert_eq!(good.len(), 2 + poison().len(), "{taken:#?}");
        assert_eq!(bad.len(), 1 + poison().len(), "{taken:#?}");
        for ((number, (_, part)), message) in poison().iter().enumerate().zip(&bad) {
            let undecodable = message.undecodable.as_ref().unwrap();
            assert!(undecodable.detail.contains(part), "{undecodable:?}");
            assert_eq!(message.body, vec![u8::try_from(number).unwrap(), 0xff]);
            assert_eq!(message.topic, TOPIC);
        }
        assert_eq!(bad[0].headers["bell"], json!({ "base64": "//4=" }));
        let key = bad.last().unwrap();
        assert!(key.topic.starts_with("event.suite.thing."), "{}", key.topic);
        assert_eq!(
            key.undecodable.as_ref().unwrap().raw["routing_key"],
            "ZXZlbnQuc3VpdGUudGhpbmcu/w=="
        );
        assert_eq!(place.depth().await, 0);
        place.clean_up().await;
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn many_of_them_do_not_use_up_the_deliveries_of_the_others() {
    const MESSAGES: usize = 400;
    let place = Place::new(QueueType::Quorum).await;
    let (exchange, queue) = (&place.settings.exchange, &place.settings.queue);
    let admin = place.admin().await;
    let declare = ExchangeDeclareArguments::new(exchange, "topic").durable(true).finish();
    admin.channel.exchange_declare(declare).await.unwrap();
    let mut arguments = FieldTable::new();
    arguments.insert("x-queue-type".try_into().unwrap(), "quorum".into());
    // More often than so the broker does not deliver a message, and drops it then.
    arguments.insert("x-delivery-limit".try_into().unwrap(), FieldValue::I(8));
    let declare = QueueDeclareArguments::durable_client_named(queue).arguments(arguments).finish();
    admin.channel.queue_declare(declare).await.unwrap();
    admin.channel.queue_bind(QueueBindArguments::new(queue, exchange, "#")).await.unwrap();
    let transport = place.changed(|settings| {
        settings.declare_topology = false;
        settings.prefetch = 100;
    });
    let mut client = RawClient::connect(&place.url, exchange).await;
    for number in 0..MESSAGES {
        if number % 30 == 15 {
            client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"poison").await;
        }
        client.publish(TOPIC.as_bytes(), &[0, 0], format!("good {number}").as_bytes()).await;
    }
    client.publish(TOPIC.as_bytes(), &[0, 0], LAST).await;
    let taken = timeout(SOON * 6, take_by(&transport, LAST)).await.expect("it takes seconds");
    let good: BTreeSet<_> = taken
        .iter()
        .filter(|message| message.undecodable.is_none())
        .map(|message| &message.body)
        .collect();
    assert_eq!(good.len(), MESSAGES + 1);
    let bad = taken.iter().filter(|message| message.undecodable.is_some()).count();
    assert_eq!(bad, (0..MESSAGES).filter(|number| number % 30 == 15).count());
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn such_a_message_stays_until_it_is_acknowledged() {
    let place = Place::new(QueueType::Quorum).await;
    let mut client = raw_client(&place).await;
    client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"poison").await;
    let mut rescuer = rescuer(&place).await;
    let delivery = timeout(SOON, rescuer.next()).await.unwrap().unwrap();
    assert!(delivery.message.undecodable.is_some());
    // As a crash does.
    drop(rescuer);
    let taken = timeout(SOON, take_until(&place, b"poison")).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].redelivered);
    assert_eq!(place.depth().await, 0);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn by_tls_too() {
    let place = Place::by_tls(QueueType::Classic).await;
    let mut client = raw_client(&place).await;
    client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"poison").await;
    client.publish(TOPIC.as_bytes(), &[0, 0], LAST).await;
    let taken = timeout(SOON, take_until(&place, LAST)).await.unwrap();
    assert_eq!(taken.len(), 2);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn while_the_engine_waits_for_the_database_the_rescue_stays_connected() {
    let place = Place::with(QueueType::Classic, |settings| settings.heartbeat_seconds = 4).await;
    let mut client = raw_client(&place).await;
    client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"poison").await;
    let mut rescuer = rescuer(&place).await;
    let delivery = timeout(SOON, rescuer.next()).await.unwrap().unwrap();
    // More than two heartbeats, after which the broker ends a connection on which nothing is said.
    tokio::time::sleep(Duration::from_secs(14)).await;
    rescuer.acknowledge_through(delivery.tag).await.unwrap();
    timeout(SOON, async { while rescuer.next().await.is_ok() {} }).await.unwrap();
    assert_eq!(place.depth().await, 0);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn after_the_rescue_messages_come_by_the_ordinary_way_again() {
    let place = Place::new(QueueType::Classic).await;
    let mut client = raw_client(&place).await;
    client.publish(TOPIC.as_bytes(), &content_type(b"\xff"), b"poison").await;
    let mut rescuer = rescuer(&place).await;
    let delivery = timeout(SOON, rescuer.next()).await.unwrap().unwrap();
    rescuer.acknowledge_through(delivery.tag).await.unwrap();
    let over = timeout(SOON, rescuer.next()).await.unwrap().unwrap_err();
    assert!(over.0.contains("is over"), "{over}");
    let mut subscriber = place.transport.connect_subscriber().await.unwrap();
    assert_eq!(subscriber.prefetch(), PREFETCH);
    let publisher = place.transport.connect_publisher().await.unwrap();
    publisher.publish(event(TOPIC)).await.unwrap();
    assert!(timeout(SOON, subscriber.next()).await.unwrap().is_ok());
    place.clean_up().await;
}

/// The subscriber after so many connections that broke at once.
async fn rescuer(place: &Place) -> AmqpSubscriber {
    for _ in 0..3 {
        let Ok(mut subscriber) = place.transport.connect_subscriber().await else { continue };
        timeout(SOON, async { while subscriber.next().await.is_ok() {} }).await.unwrap();
    }
    let rescuer = place.transport.connect_subscriber().await.unwrap();
    assert_eq!(rescuer.prefetch(), 1);
    rescuer
}
