//! What RabbitMQ and amqprs do beyond the promises of every transport.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::task::Poll;
use std::time::{Duration, Instant};

use amqprs::channel::{BasicPublishArguments, QueueDeclareArguments};
use amqprs::{BasicProperties, FieldArray, FieldName, FieldTable, FieldValue};
use postroad_transport::testing::{Rig, event, request};
use postroad_transport::{ConnectError, PublishError, Publisher, Subscriber, Transport};
use postroad_transport_amqp::QueueType;
use serde_json::json;
use tokio::time::timeout;

use support::Place;

const SOON: Duration = Duration::from_mins(1);

async fn place() -> Place {
    Place::new(QueueType::Classic).await
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

fn name(text: &str) -> FieldName {
    text.try_into().unwrap()
}

async fn rejection(transport: &impl Transport) -> String {
    match transport.connect_publisher().await {
        Err(ConnectError::Rejected(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("connected"),
    }
}

async fn topology_error(transport: &impl Transport) -> String {
    match transport.connect_subscriber().await {
        Err(ConnectError::Topology(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("connected"),
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_wrong_password_is_rejected_with_a_hint_and_never_told() {
    let place = place().await;
    let transport = place.changed(|settings| settings.password = "hunter2".into());
    let text = rejection(&transport).await;
    assert!(text.contains("is the user name, password or virtual host right?"), "{text}");
    assert!(!text.contains("hunter2") && !format!("{transport:?}").contains("hunter2"), "{text}");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn an_unknown_virtual_host_is_rejected_by_name() {
    let place = place().await;
    let text =
        rejection(&place.changed(|settings| settings.virtual_host = "nowhere".to_owned())).await;
    assert!(text.contains("vhost nowhere not found"), "{text}");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_host_that_accepts_and_says_nothing_is_unreachable_in_time() {
    let place = place().await;
    place.proxy.blackhole(true);
    let transport = place.changed(|settings| settings.connect_timeout = Duration::from_secs(1));
    let start = Instant::now();
    let outcome = transport.connect_subscriber().await;
    assert!(matches!(outcome, Err(ConnectError::Unreachable(_))), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "not after its ten seconds");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn hosts_are_tried_in_turn() {
    let place = place().await;
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let transport =
        place.changed(|settings| settings.hosts.insert(0, (dead.ip().to_string(), dead.port())));
    let publisher = transport.connect_publisher().await.unwrap();
    assert_eq!(publisher.publish(event("event.suite.thing.made")).await, Ok(()));
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_queue_of_another_type_is_a_topology_error_that_says_what_to_do() {
    let place = place().await;
    place.transport.connect_publisher().await.unwrap().close().await;
    let text =
        topology_error(&place.changed(|settings| settings.queue_type = QueueType::Quorum)).await;
    assert!(
        text.contains("x-queue-type") && text.contains("change the settings to match"),
        "{text}"
    );
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn an_unknown_exchange_type_is_a_topology_error() {
    let place = place().await;
    let text =
        topology_error(&place.changed(|settings| settings.exchange_type = "nonsense".to_owned()))
            .await;
    assert!(text.contains("nonsense"), "{text}");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn topology_that_may_not_be_declared_has_to_be_there() {
    let place = place().await;
    let passive = place.changed(|settings| settings.declare_topology = false);
    let text = topology_error(&passive).await;
    assert!(text.contains("set it up"), "{text}");
    place.transport.connect_publisher().await.unwrap().close().await;
    assert!(passive.connect_subscriber().await.is_ok());
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_half_open_connection_is_noticed_within_twice_the_heartbeat() {
    let place = Place::with(QueueType::Classic, |settings| settings.heartbeat_seconds = 4).await;
    let publisher = place.transport.connect_publisher().await.unwrap();
    let mut subscriber = place.transport.connect_subscriber().await.unwrap();
    place.proxy.blackhole(true);
    let start = Instant::now();
    let (outcome, _, lost) = timeout(Duration::from_secs(30), async {
        tokio::join!(
            publisher.publish(event("event.suite.thing.made")),
            publisher.closed(),
            subscriber.next()
        )
    })
    .await
    .unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
    assert!(lost.is_err());
    let start = Instant::now();
    publisher.close().await;
    subscriber.close().await;
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    place.proxy.blackhole(false);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn closing_a_half_open_connection_takes_seconds_only() {
    let place = place().await;
    let publisher = place.transport.connect_publisher().await.unwrap();
    let subscriber = place.transport.connect_subscriber().await.unwrap();
    place.proxy.blackhole(true);
    let start = Instant::now();
    let (outcome, (), ()) = tokio::join!(
        publisher.publish(event("event.suite.thing.made")),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            publisher.close().await;
        },
        subscriber.close()
    );
    assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    place.proxy.blackhole(false);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_confirm_that_never_comes_ends_the_connection_and_the_message_may_be_there() {
    let place = Place::with(QueueType::Classic, |settings| {
        settings.heartbeat_seconds = 60;
        settings.confirm_timeout = Duration::from_secs(2);
    })
    .await;
    let publisher = place.transport.connect_publisher().await.unwrap();
    place.proxy.hold_replies(true);
    let outcome = soon(publisher.publish(event("event.suite.thing.made"))).await;
    assert_eq!(outcome, Err(PublishError::Unconfirmed("no confirm within 2s".to_owned())));
    soon(publisher.closed()).await;
    assert_eq!(place.depth().await, 1);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_deleted_queue_ends_the_subscriber_and_the_next_one_makes_it_again() {
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        let place = Place::new(queue_type).await;
        let mut subscriber = place.transport.connect_subscriber().await.unwrap();
        place.delete_queue().await;
        let lost = soon(subscriber.next()).await.unwrap_err();
        assert!(lost.0.contains("queue"), "{lost}");
        let _again = place.transport.connect_subscriber().await.unwrap();
        place.clean_up().await;
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_deleted_exchange_ends_the_publisher_and_the_next_one_makes_it_again() {
    let place = place().await;
    let publisher = place.transport.connect_publisher().await.unwrap();
    place.delete_exchange().await;
    let outcome = soon(publisher.publish(event("event.suite.thing.made"))).await;
    assert!(
        matches!(&outcome, Err(PublishError::Unconfirmed(text)) if text.contains("404")),
        "{outcome:?}"
    );
    assert!(soon(publisher.closed()).await.contains("404"));
    let publisher = place.transport.connect_publisher().await.unwrap();
    assert_eq!(publisher.publish(request("suite.request.thing.make")).await, Ok(()));
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_negative_confirm_is_a_refusal() {
    let place = place().await;
    let mut arguments = FieldTable::new();
    arguments.insert(name("x-max-length"), FieldValue::I(1));
    arguments.insert(name("x-overflow"), "reject-publish".into());
    let declare = QueueDeclareArguments::durable_client_named(&place.settings.queue)
        .arguments(arguments)
        .finish();
    let admin = place.admin().await;
    admin.channel.queue_declare(declare).await.unwrap();
    // The exchange and the binding are made, before the queue that differs from the settings is found.
    assert!(topology_error(&place.transport).await.contains("x-max-length"));
    let passive = place.changed(|settings| settings.declare_topology = false);
    let bind = amqprs::channel::QueueBindArguments::new(
        &place.settings.queue,
        &place.settings.exchange,
        "#",
    );
    admin.channel.queue_bind(bind).await.unwrap();

    let publisher = passive.connect_publisher().await.unwrap();
    let mut outcomes = Vec::new();
    while !outcomes.contains(&false) && outcomes.len() < 10 {
        let outcome = publisher.publish(event("event.suite.thing.made")).await;
        assert!(matches!(outcome, Ok(()) | Err(PublishError::Refused(_))), "{outcome:?}");
        outcomes.push(outcome.is_ok());
    }
    assert!(outcomes[0] && outcomes.contains(&false), "{outcomes:?}");
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_publish_dropped_before_its_turn_is_never_sent() {
    let place = place().await;
    let publisher = place.transport.connect_publisher().await.unwrap();
    {
        let mut publish = Box::pin(publisher.publish(event("event.suite.thing.made")));
        // One look, and on this runtime the task that sends cannot have run since.
        std::future::poll_fn(|context| Poll::Ready(publish.as_mut().poll(context).is_pending()))
            .await;
    }
    assert_eq!(publisher.publish(event("event.suite.thing.made")).await, Ok(()));
    assert_eq!(place.depth().await, 1);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_message_without_properties_arrives_bare() {
    let place = place().await;
    let mut subscriber = place.transport.connect_subscriber().await.unwrap();
    let admin = place.admin().await;
    let arguments = BasicPublishArguments::new(&place.settings.exchange, "event.suite.thing.made");
    admin
        .channel
        .basic_publish(BasicProperties::default(), b"not json".to_vec(), arguments)
        .await
        .unwrap();
    let message = soon(subscriber.next()).await.unwrap().message;
    assert_eq!(message.topic, "event.suite.thing.made");
    assert_eq!(message.body, "not json");
    assert_eq!((message.message_id, message.message_type, message.app_id), (None, None, None));
    assert!(message.headers.is_empty());
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn foreign_header_types_arrive_as_json() {
    let place = place().await;
    let mut subscriber = place.transport.connect_subscriber().await.unwrap();
    let mut inner = FieldTable::new();
    inner.insert(name("time"), FieldValue::T(1_700_000_000));
    inner.insert(name("bytes"), FieldValue::x(vec![0xff, 0].try_into().unwrap()));
    let list: FieldArray =
        vec![FieldValue::F(inner), FieldValue::f(0.5), FieldValue::V].try_into().unwrap();
    let mut headers = FieldTable::new();
    headers.insert(name("x-death"), FieldValue::A(list));
    headers.insert(name("short"), FieldValue::s(-7));
    let properties = BasicProperties::default().with_headers(headers).finish();
    let arguments = BasicPublishArguments::new(&place.settings.exchange, "event.suite.thing.made");
    place.admin().await.channel.basic_publish(properties, Vec::new(), arguments).await.unwrap();
    let headers = soon(subscriber.next()).await.unwrap().message.headers;
    let expected = json!({ "x-death": [{ "time": 1_700_000_000, "bytes": { "hex": "ff00" } }, 0.5, null], "short": -7 });
    assert_eq!(serde_json::Value::Object(headers), expected);
    place.clean_up().await;
}

/// A table in a table in a table: a name, the type, the size of what is inside, what is inside.
fn nested(depth: u32) -> Vec<u8> {
    (0..depth)
        .rev()
        .flat_map(|inner| [&b"\x01aF"[..], &(inner * 7).to_be_bytes()[..]].concat())
        .collect()
}

#[test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
fn headers_nested_as_deep_as_a_frame_holds_arrive_on_large_stacks() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(64 << 20)
        .enable_all()
        .build()
        .unwrap();
    let test = async {
        let place = place().await;
        let mut subscriber = place.transport.connect_subscriber().await.unwrap();
        place.publish_raw("event.suite.thing.made", &nested(18_000), b"{}").await;
        let headers = soon(subscriber.next()).await.unwrap().message.headers;
        assert!(serde_json::to_string(&headers).unwrap().contains("nested too deep"));
        place.clean_up().await;
    };
    runtime.block_on(runtime.spawn(test)).unwrap();
}

#[test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
fn a_runtime_may_end_before_its_connections() {
    for threads in [0, 2] {
        let mut builder = match threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.enable_all().build().unwrap();
        let (publisher, subscriber) = runtime.block_on(async {
            let place = place().await;
            let publisher = place.transport.connect_publisher().await.unwrap();
            let subscriber = place.transport.connect_subscriber().await.unwrap();
            place.clean_up().await;
            (publisher, subscriber)
        });
        drop(runtime);
        drop((publisher, subscriber));
    }
}
