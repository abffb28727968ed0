//! The broker fails as it is told to.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use bytes::Bytes;
use postroad_transport::{ConnectError, Outgoing, PublishError, Publisher, Subscriber, Transport};
use postroad_transport_memory::{
    Broker, Fault, FaultPoint, MemoryPublisher, MemorySettings, MemorySubscriber, MemoryTransport,
    Role,
};

const QUEUE: &str = "inbox";

fn event(id: &str) -> Outgoing {
    Outgoing {
        topic: "event.order.placed".to_owned(),
        body: Bytes::from_static(b"{}"),
        message_id: id.to_owned(),
        message_type: None,
        correlation_id: None,
        reply_to: None,
        app_id: None,
        timestamp: None,
        headers: serde_json::Map::new(),
    }
}

fn transport(broker: &Broker) -> MemoryTransport {
    let settings = MemorySettings {
        queue: QUEUE.into(),
        bindings: vec!["event.#".into()],
        prefetch: 3,
        window: 2,
    };
    MemoryTransport::new(broker.clone(), settings)
}

async fn publisher(broker: &Broker) -> MemoryPublisher {
    transport(broker).connect_publisher().await.unwrap()
}

async fn subscriber(broker: &Broker) -> MemorySubscriber {
    transport(broker).connect_subscriber().await.unwrap()
}

/// Fails once, at the first point that `at` picks.
fn once(broker: &Broker, fault: Fault, at: impl Fn(FaultPoint<'_>) -> bool + Send + 'static) {
    let mut left = Some(fault);
    broker.set_faults(move |point| if at(point) { left.take() } else { None });
}

async fn next_id(subscriber: &mut MemorySubscriber) -> String {
    subscriber.next().await.unwrap().message.message_id.unwrap()
}

#[tokio::test]
async fn a_message_refused_on_demand_is_in_no_queue() {
    let broker = Broker::recording();
    let publisher = publisher(&broker).await;
    once(&broker, Fault::Refuse, |point| matches!(point, FaultPoint::BeforeTaking(_)));
    assert!(matches!(publisher.publish(event("1")).await, Err(PublishError::Refused(_))));
    assert_eq!(publisher.publish(event("2")).await, Ok(()));
    assert_eq!(broker.depth(QUEUE), 1);
    assert_eq!(broker.taken(), [event("2")]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_confirm_ends_as_unconfirmed_after_the_timeout_and_the_message_is_there() {
    let broker = Broker::new();
    let publisher = publisher(&broker).await;
    broker.set_confirm_timeout(Duration::from_secs(7));
    once(&broker, Fault::DropConfirm, |point| matches!(point, FaultPoint::AfterTaking(_)));
    let start = tokio::time::Instant::now();
    let outcome = publisher.publish(event("1")).await;
    assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    assert_eq!(broker.depth(QUEUE), 1);
    publisher.closed().await;
}

#[tokio::test]
async fn a_disconnect_before_taking_loses_the_message_and_one_after_taking_keeps_it() {
    let broker = Broker::new();
    for (depth, before) in [(0, true), (1, false)] {
        once(&broker, Fault::Disconnect, move |point| match point {
            FaultPoint::BeforeTaking(_) => before,
            FaultPoint::AfterTaking(_) => !before,
            _ => false,
        });
        let outcome = publisher(&broker).await.publish(event("1")).await;
        assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
        assert_eq!(broker.depth(QUEUE), depth);
    }
}

#[tokio::test]
async fn a_duplicated_message_is_delivered_twice() {
    for taking in [true, false] {
        let broker = Broker::new();
        once(&broker, Fault::Duplicate, move |point| match point {
            FaultPoint::AfterTaking(_) => taking,
            FaultPoint::BeforeDelivery(_) => !taking,
            _ => false,
        });
        publisher(&broker).await.publish(event("1")).await.unwrap();
        let mut subscriber = subscriber(&broker).await;
        assert_eq!(next_id(&mut subscriber).await, "1");
        assert_eq!(next_id(&mut subscriber).await, "1");
        assert_eq!((broker.depth(QUEUE), broker.unacknowledged(QUEUE)), (0, 2));
    }
}

#[tokio::test]
async fn a_stopped_broker_turns_connections_away_and_keeps_its_queues() {
    let broker = Broker::new();
    let publisher = publisher(&broker).await;
    publisher.publish(event("1")).await.unwrap();
    broker.stop();
    assert_eq!(publisher.closed().await, "the broker stopped");
    assert!(matches!(publisher.publish(event("2")).await, Err(PublishError::Unconfirmed(_))));
    assert!(matches!(
        transport(&broker).connect_subscriber().await,
        Err(ConnectError::Unreachable(_))
    ));
    broker.start();
    assert_eq!(next_id(&mut subscriber(&broker).await).await, "1");
}

#[tokio::test]
async fn a_connection_is_refused_by_role() {
    let broker = Broker::new();
    broker.set_faults(|point| {
        (point == FaultPoint::Connect(Role::Publisher)).then_some(Fault::Refuse)
    });
    assert!(matches!(transport(&broker).connect_publisher().await, Err(ConnectError::Rejected(_))));
    assert!(transport(&broker).connect_subscriber().await.is_ok());
    broker.clear_faults();
    assert!(transport(&broker).connect_publisher().await.is_ok());
}

#[tokio::test]
async fn what_comes_back_takes_its_old_place_before_younger_messages() {
    let broker = Broker::new();
    let publisher = publisher(&broker).await;
    for id in ["1", "2", "3"] {
        publisher.publish(event(id)).await.unwrap();
    }
    let mut first = subscriber(&broker).await;
    assert_eq!((next_id(&mut first).await, next_id(&mut first).await), ("1".into(), "2".into()));
    broker.disconnect_all();
    let mut second = subscriber(&broker).await;
    let again = second.next().await.unwrap().message;
    assert!(again.redelivered);
    assert_eq!(again.message_id.as_deref(), Some("1"));
    assert_eq!((next_id(&mut second).await, next_id(&mut second).await), ("2".into(), "3".into()));
}

#[tokio::test]
async fn a_lost_acknowledgement_brings_the_message_again_whatever_its_sender_was_told() {
    for (fault, told) in [(Fault::Disconnect, false), (Fault::DropConfirm, true)] {
        let broker = Broker::new();
        publisher(&broker).await.publish(event("1")).await.unwrap();
        once(&broker, fault, |point| matches!(point, FaultPoint::BeforeAck(1)));
        let mut first = subscriber(&broker).await;
        let tag = first.next().await.unwrap().tag;
        assert_eq!(first.acknowledge_through(tag).await.is_ok(), told);
        assert!(first.next().await.is_err());
        assert!(subscriber(&broker).await.next().await.unwrap().message.redelivered);
    }
}

#[tokio::test]
async fn an_acknowledgement_that_arrived_before_the_disconnect_counts() {
    let broker = Broker::new();
    publisher(&broker).await.publish(event("1")).await.unwrap();
    once(&broker, Fault::Disconnect, |point| matches!(point, FaultPoint::AfterAck(1)));
    let mut subscriber = subscriber(&broker).await;
    let tag = subscriber.next().await.unwrap().tag;
    assert_eq!(subscriber.acknowledge_through(tag).await, Ok(()));
    assert!(subscriber.next().await.is_err());
    assert_eq!((broker.depth(QUEUE), broker.unacknowledged(QUEUE)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_window_bounds_how_many_confirms_are_awaited_at_once() {
    let broker = Broker::recording();
    let publisher = publisher(&broker).await;
    broker.set_confirm_latency(Duration::from_secs(1));
    let start = tokio::time::Instant::now();
    let (a, b, c) = tokio::join!(
        publisher.publish(event("1")),
        publisher.publish(event("2")),
        publisher.publish(event("3"))
    );
    assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_publish_dropped_while_it_waits_for_the_window_is_never_sent() {
    let broker = Broker::recording();
    let publisher = publisher(&broker).await;
    broker.set_confirm_latency(Duration::from_secs(1));
    let (a, b, c) = tokio::join!(
        publisher.publish(event("1")),
        publisher.publish(event("2")),
        tokio::time::timeout(Duration::from_millis(500), publisher.publish(event("3"))),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_err());
    assert_eq!(broker.taken(), [event("1"), event("2")]);
}

#[tokio::test]
async fn a_binding_that_is_no_pattern_is_a_topology_error() {
    let settings = MemorySettings { bindings: vec!["x".repeat(256)], ..MemorySettings::default() };
    let outcome = MemoryTransport::new(Broker::new(), settings).connect_publisher().await;
    assert!(matches!(outcome, Err(ConnectError::Topology(_))));
}
