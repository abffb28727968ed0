//! What MQTT, Mosquitto and the spool do beyond the promises of every transport.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use postroad_transport::testing::{Rig, event};
use postroad_transport::{
    ConnectError, Delivery, MqttFlags, Outgoing, PublishError, Publisher, Subscriber, Transport,
};
use postroad_transport_mqtt::{MqttSettings, MqttTransport};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use support::broker::Broker;
use support::prefixed::there;
use support::{Place, broker_address, raw};

/// On a busy machine with a slow disk, too: a test that waits so long has found that something never happens.
const SOON: Duration = Duration::from_mins(3);
const TOPIC: &str = "event.suite.thing.made";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn publish_all(transport: &impl Transport, bodies: impl IntoIterator<Item = String>) {
    let publisher = soon(transport.connect_publisher()).await.unwrap();
    for body in bodies {
        let message = Outgoing { body: body.into(), ..event(TOPIC) };
        assert_eq!(soon(publisher.publish(message)).await, Ok(()));
    }
    publisher.close().await;
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Takes and acknowledges so many.
async fn take(subscriber: &mut impl Subscriber, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = soon(subscriber.next()).await.unwrap();
        soon(subscriber.acknowledge_through(delivery.tag)).await.unwrap();
        taken.push(delivery);
    }
    taken
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_wrong_password_is_rejected_with_a_hint_and_never_told() {
    let broker = Broker::with("allow_anonymous false");
    for protocol_version in [4, 5] {
        let place = Place::unvisited(broker.address, |settings| {
            settings.protocol_version = protocol_version;
            settings.username = Some("somebody".into());
            settings.password = Some("hunter2".into());
        })
        .await;
        let outcome = place.transport.connect_publisher().await;
        let Err(ConnectError::Rejected(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("is the user name or password right?"), "{text}");
        assert!(!text.contains("hunter2") && !format!("{:?}", place.transport).contains("hunter2"));
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_host_that_accepts_and_says_nothing_is_unreachable_in_time() {
    let place = Place::unvisited(broker_address(), |settings| {
        settings.connect_timeout = Duration::from_secs(1);
    })
    .await;
    place.proxy.blackhole(true);
    let start = Instant::now();
    let outcome = place.transport.connect_subscriber().await;
    assert!(matches!(outcome, Err(ConnectError::Unreachable(_))), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "not after its ten seconds");
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn hosts_are_tried_in_turn() {
    let place = Place::new(5).await;
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let transport =
        place.changed(|settings| settings.hosts.insert(0, (dead.ip().to_string(), dead.port())));
    publish_all(&transport, numbers(0..1)).await;
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_a_broker_confirmed_survives_its_being_killed_and_arrives() {
    let mut broker = Broker::start();
    let place = Place::at(broker.address, |_| {}).await;
    let mut confirmed = BTreeSet::new();
    for round in 0..3 {
        let publisher = soon(place.transport.connect_publisher()).await.unwrap();
        let mut last = SystemTime::now();
        for number in 0..100 {
            last = SystemTime::now();
            let text = format!("{round}-{number}");
            let message = Outgoing { body: text.clone().into(), ..event(TOPIC) };
            assert_eq!(soon(publisher.publish(message)).await, Ok(()));
            confirmed.insert(text);
        }
        // Mosquitto writes within the second, where the disk is not slow.
        sleep(Duration::from_millis(1_500)).await;
        until(|| broker.written().is_some_and(|written| written > last)).await;
        broker.kill();
        assert!(!soon(publisher.closed()).await.is_empty());
        let outcome = soon(publisher.publish(event(TOPIC))).await;
        assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
        broker.run();
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        while !confirmed.is_empty() {
            confirmed.remove(&body(&take(&mut subscriber, 1).await[0]));
        }
        assert_eq!(place.transport.inner.possible_gaps(), 0);
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn publishing_under_load_goes_on_after_every_loss() {
    let place = Place::new(5).await;
    for _ in 0..20 {
        let publisher = Arc::new(soon(place.transport.connect_publisher()).await.unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let publisher = Arc::clone(&publisher);
            tasks.spawn(async move { publisher.publish(event(TOPIC)).await });
        }
        soon(tasks.join_next()).await;
        place.sever().await;
        let outcomes = soon(tasks.join_all()).await;
        assert!(
            outcomes.iter().all(|outcome| match outcome {
                Ok(()) | Err(PublishError::Unconfirmed(_)) => true,
                Err(_) => false,
            }),
            "{outcomes:?}"
        );
    }
    publish_all(&place.transport, numbers(0..1)).await;
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_session_that_the_broker_lost_is_noticed_and_the_subscription_made_again() {
    for protocol_version in [4, 5] {
        let mut broker = Broker::start();
        let place =
            Place::at(broker.address, |settings| settings.protocol_version = protocol_version)
                .await;
        drop(soon(place.transport.connect_subscriber()).await.unwrap());
        assert_eq!(place.transport.inner.possible_gaps(), 0, "the session was there");
        broker.kill();
        broker.wipe();
        broker.run();
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        assert_eq!(place.transport.inner.possible_gaps(), 1);
        publish_all(&place.transport, numbers(0..3)).await;
        assert_eq!(take(&mut subscriber, 3).await.len(), 3);
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_the_broker_throws_away_meanwhile_is_a_possible_gap() {
    for protocol_version in [4, 5] {
        let broker = Broker::with("allow_anonymous true\nsys_interval 1\nmax_queued_messages 10");
        let place = Place::at(broker.address, |settings| {
            settings.protocol_version = protocol_version;
            settings.max_inflight = 5;
        })
        .await;
        let gaps = || place.transport.inner.possible_gaps();
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        until(|| place.settings.spool_dir.join("dropped").exists()).await;
        publish_all(&place.transport, numbers(0..3)).await;
        take(&mut subscriber, 3).await;
        assert_eq!(gaps(), 0);
        soon(subscriber.close()).await;
        publish_all(&place.transport, numbers(0..40)).await;
        let subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        // A second one where it counted in the middle of them.
        until(|| gaps() >= 1).await;
        soon(subscriber.close()).await;
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn the_spool_is_drained_while_the_broker_is_away() {
    let mut broker = Broker::start();
    let place = Place::at(broker.address, |_| {}).await;
    publish_all(&place.transport, numbers(0..50)).await;
    until(|| place.transport.inner.spool_depth().unwrap().messages == 50).await;
    broker.kill();
    let mut taken = Vec::new();
    let ended = loop {
        // It hands out for a while, and where that was too short goes on at the next attempt.
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        let ended = loop {
            match soon(subscriber.next()).await {
                Ok(delivery) => {
                    subscriber.acknowledge_through(delivery.tag).await.unwrap();
                    taken.push(body(&delivery));
                }
                Err(ended) => break ended,
            }
        };
        if taken.len() >= 50 {
            break ended;
        }
    };
    assert_eq!(taken, numbers(0..50));
    assert!(ended.0.contains("cannot reach the broker"), "{ended}");
    let outcome = soon(place.transport.connect_subscriber()).await;
    assert!(
        matches!(outcome, Err(ConnectError::Unreachable(_))),
        "the spool is empty: {outcome:?}"
    );
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_full_spool_holds_the_broker_back_and_loses_nothing_and_publishing_goes_on() {
    const COUNT: usize = 40;
    let limit = 1 << 20;
    // One of its own, which has to write all of it again at every change.
    let broker = Broker::start();
    let place = Place::at(broker.address, |settings| settings.spool_max_bytes = limit).await;
    let depth = || place.transport.inner.spool_depth().unwrap();
    let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
    let sent: Vec<_> = (0..COUNT).map(|number| number.to_string().repeat(500_000)).collect();
    publish_raw(broker.address, &place, &sent, 1, false).await;
    until(|| depth().bytes >= limit).await;
    sleep(Duration::from_millis(500)).await;
    // The sockets between broker and spool hold some.
    assert!(depth().messages < COUNT as u64 / 2, "{:?}", depth());
    publish_all(&place.changed(|settings| settings.client_id += "-2"), numbers(0..1)).await;
    let taken: Vec<_> = take(&mut subscriber, COUNT).await.iter().map(body).collect();
    assert!(taken == sent);
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_full_spool_is_drained_before_the_broker_is_asked_for_more() {
    let place = Place::at(broker_address(), |settings| settings.spool_max_bytes = 1).await;
    publish_raw(broker_address(), &place, &numbers(0..30), 1, false).await;
    until(|| place.transport.inner.spool_depth().unwrap().messages > 0).await;
    let mut taken = Vec::new();
    while taken.len() < 30 {
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        while let Ok(delivery) = soon(subscriber.next()).await {
            subscriber.acknowledge_through(delivery.tag).await.unwrap();
            taken.push(body(&delivery));
            if taken.len() == 30 {
                break;
            }
        }
        let start = Instant::now();
        subscriber.close().await;
        assert!(start.elapsed() < Duration::from_secs(4));
    }
    assert_eq!(taken, numbers(0..30));
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn the_flags_of_a_message_are_known() {
    for (protocol_version, clean) in [(4, true), (5, true)] {
        let place = Place::unvisited(broker_address(), |settings| {
            settings.protocol_version = protocol_version;
            (settings.clean_session, settings.allow_clean_session) = (clean, clean);
            settings.qos = 2;
        })
        .await;
        publish_raw(broker_address(), &place, &["kept".to_owned()], 1, true).await;
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        let mut flags = async || take(&mut subscriber, 1).await[0].message.mqtt;
        assert_eq!(flags().await, Some(MqttFlags { qos: 1, retain: true, dup: false }));
        for qos in 0..=2 {
            publish_raw(broker_address(), &place, &["now".to_owned()], qos, false).await;
            assert_eq!(flags().await, Some(MqttFlags { qos, retain: false, dup: false }));
        }
        publish_raw(broker_address(), &place, &[String::new()], 1, true).await;
        place.clean_up().await;
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_the_broker_sends_again_is_flagged_and_has_an_arrival_id_of_its_own() {
    let place = Place::new(5).await;
    let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
    // The broker's packets arrive, and the acknowledgements do not.
    place.proxy.hold_requests(true);
    publish_raw(broker_address(), &place, &numbers(0..1), 1, false).await;
    let first = soon(subscriber.next()).await.unwrap();
    place.sever().await;
    soon(subscriber.next()).await.unwrap_err();
    place.proxy.hold_requests(false);
    let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
    let again = take(&mut subscriber, 1).await;
    let second = take(&mut subscriber, 1).await;
    let dup = |delivery: &Delivery| delivery.message.mqtt.unwrap().dup;
    assert_eq!([&first, &again[0], &second[0]].map(dup), [false, false, true]);
    assert_eq!(first.message.arrival_id, again[0].message.arrival_id);
    assert_ne!(first.message.arrival_id, second[0].message.arrival_id);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_delivery_that_comes_again_from_the_spool_has_the_same_arrival_id() {
    let place = Place::new(5).await;
    publish_all(&place.transport, numbers(0..2)).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
        let (first, second) =
            (soon(subscriber.next()).await.unwrap(), soon(subscriber.next()).await.unwrap());
        assert_ne!(first.message.arrival_id, second.message.arrival_id);
        ids.push((first.message.arrival_id.unwrap(), second.message.arrival_id.unwrap()));
    }
    assert_eq!(ids[0], ids[1]);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn the_members_of_a_shared_group_get_each_message_once() {
    let place = Place::unvisited(broker_address(), |settings| {
        settings.shared_group = Some("team".into());
        (settings.clean_session, settings.allow_clean_session) = (true, true);
    })
    .await;
    let other = place.changed(|settings| settings.client_id += "-2");
    let mut one = soon(place.transport.connect_subscriber()).await.unwrap();
    let mut two = soon(other.connect_subscriber()).await.unwrap();
    publish_all(&place.transport, numbers(0..100)).await;
    let mut taken = Vec::new();
    let mut by_the_second = 0;
    while taken.len() < 100 {
        soon(async {
            tokio::select! {
                delivery = one.next() => {
                    let delivery = delivery.unwrap();
                    one.acknowledge_through(delivery.tag).await.unwrap();
                    taken.push(body(&delivery));
                }
                delivery = two.next() => {
                    let delivery = delivery.unwrap();
                    two.acknowledge_through(delivery.tag).await.unwrap();
                    taken.push(body(&delivery));
                    by_the_second += 1;
                }
            }
        })
        .await;
    }
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!((1..100).contains(&by_the_second), "{by_the_second} of 100 went to the second");
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_quality_that_is_not_granted_is_a_topology_error() {
    let broker = Broker::with("allow_anonymous true\nmax_qos 0");
    let place = Place::unvisited(broker.address, |_| {}).await;
    let outcome = place.transport.connect_subscriber().await;
    let Err(ConnectError::Topology(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("was granted at QoS 0, 1 is needed"), "{text}");
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_publish_that_mqtt_5_refuses_is_refused_and_others_go_on() {
    let folder = TempDir::new().unwrap();
    let acl = folder.path().join("acl");
    std::fs::write(&acl, "topic readwrite good/#\ntopic read #\n").unwrap();
    let broker = Broker::with(&format!("allow_anonymous true\nacl_file {}", acl.display()));
    let settings = MqttSettings {
        hosts: vec![(broker.address.ip().to_string(), broker.address.port())],
        ..MqttSettings::default()
    };
    let publisher = MqttTransport::new(settings).unwrap().connect_publisher().await.unwrap();
    for _ in 0..3 {
        let outcome = soon(publisher.publish(event("bad/topic"))).await;
        let Err(PublishError::Refused(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.to_lowercase().contains("not authorized"), "{text}");
        assert_eq!(soon(publisher.publish(event("good/topic"))).await, Ok(()));
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_message_larger_than_the_broker_takes_is_unsendable() {
    let broker = Broker::with("allow_anonymous true\nmax_packet_size 2000");
    let place = Place::unvisited(broker.address, |_| {}).await;
    let publisher = soon(place.transport.connect_publisher()).await.unwrap();
    let message = Outgoing { body: vec![b'x'; 2_000].into(), ..event(TOPIC) };
    let outcome = soon(publisher.publish(message)).await;
    assert!(
        matches!(&outcome, Err(PublishError::Unsendable(text)) if text.contains("2000")),
        "{outcome:?}"
    );
    assert_eq!(soon(publisher.publish(event(TOPIC))).await, Ok(()));
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_spool_in_use_is_a_topology_error_that_names_the_folder() {
    let place = Place::new(5).await;
    let folder = place.settings.spool_dir.clone();
    let other = place.changed(|settings| settings.spool_dir.clone_from(&folder));
    let outcome = other.connect_subscriber().await;
    let Err(ConnectError::Topology(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("in use") && text.contains(folder.to_str().unwrap()), "{text}");
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn the_next_subscriber_ends_the_one_before() {
    let place = Place::new(5).await;
    let mut one = soon(place.transport.connect_subscriber()).await.unwrap();
    let mut two = soon(place.transport.connect_subscriber()).await.unwrap();
    assert!(soon(one.next()).await.unwrap_err().0.contains("took over"));
    publish_all(&place.transport, numbers(0..1)).await;
    assert_eq!(take(&mut two, 1).await.len(), 1);
    place.clean_up().await;
}

/// This deadlocks when a callback waits for the runtime whose threads wait for paho.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn publishing_and_consuming_at_full_rate_on_two_threads_goes_on() {
    const FOR: Duration = Duration::from_secs(10);
    let place = Arc::new(Place::at(broker_address(), |settings| settings.prefetch = 500).await);
    let confirmed = Arc::new(AtomicU64::new(0));
    let publisher = Arc::new(soon(place.transport.connect_publisher()).await.unwrap());
    let mut subscriber = soon(place.transport.connect_subscriber()).await.unwrap();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (publisher, confirmed) = (Arc::clone(&publisher), Arc::clone(&confirmed));
        tasks.spawn(async move {
            while start.elapsed() < FOR {
                publisher.publish(event(TOPIC)).await.unwrap();
                confirmed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut taken = 0;
    while start.elapsed() < FOR || taken < confirmed.load(Ordering::Relaxed) {
        taken += take(&mut subscriber, 1).await.len() as u64;
    }
    soon(tasks.join_all()).await;
    let rest = confirmed.load(Ordering::Relaxed) - taken;
    take(&mut subscriber, usize::try_from(rest).unwrap()).await;
    // Few where the broker's disk is slow; a deadlock ends in `soon`.
    assert!(taken > 50, "{taken} in {FOR:?}");
}

/// The child is this test once more, which spools and never takes anything out.
#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_was_acknowledged_survives_a_killed_process() {
    const CHILD: &str = "POSTROAD_TEST_SPOOLING_CHILD";
    const NAME: &str = "what_was_acknowledged_survives_a_killed_process";
    const CONNECTED: &str = "connected";
    const ROUNDS: usize = 5;
    const EACH: usize = 400;
    let settings = |folder: &str| MqttSettings {
        hosts: vec![(broker_address().ip().to_string(), broker_address().port())],
        client_id: format!("killed-{}", folder.replace('/', "-")),
        inbound_topics: vec![format!("killed{folder}")],
        spool_dir: folder.into(),
        ..MqttSettings::default()
    };
    if let Ok(folder) = std::env::var(CHILD) {
        let transport = MqttTransport::new(settings(&folder)).unwrap();
        let _subscriber = transport.connect_subscriber().await.unwrap();
        std::fs::write(Path::new(&folder).with_extension(CONNECTED), "").unwrap();
        return std::future::pending().await;
    }
    let place = TempDir::new().unwrap();
    let folder = place.path().to_str().unwrap();
    let transport = MqttTransport::new(settings(folder)).unwrap();
    soon(transport.connect_subscriber()).await.unwrap().close().await;
    drop(transport);
    let outside = TempDir::new().unwrap();
    let publisher = MqttTransport::new(settings(outside.path().to_str().unwrap())).unwrap();
    let publisher = Arc::new(soon(publisher.connect_publisher()).await.unwrap());
    let topic = format!("killed{folder}");
    let connected = Path::new(folder).with_extension(CONNECTED);
    for round in 0..ROUNDS {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--ignored"])
            .env(CHILD, folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..EACH {
            let (publisher, topic) = (Arc::clone(&publisher), topic.clone());
            let body = format!("{round}-{number}");
            tasks.spawn(async move {
                publisher.publish(Outgoing { body: body.into(), ..event(&topic) }).await
            });
        }
        // Somewhere in the middle; in the first rounds that may be before it is connected.
        if round >= 2 {
            until(|| connected.exists()).await;
        }
        sleep(Duration::from_millis(60 * round as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // Not there where it was killed early.
        std::fs::remove_file(&connected).ok();
        assert_eq!(soon(tasks.join_all()).await, vec![Ok(()); EACH]);
    }
    let transport = MqttTransport::new(settings(folder)).unwrap();
    let mut subscriber = soon(transport.connect_subscriber()).await.unwrap();
    let left = transport.spool_depth().unwrap().messages;
    assert!(left > 0, "no child got that far");
    let mut arrived = BTreeSet::new();
    while arrived.len() < ROUNDS * EACH {
        arrived.insert(body(&take(&mut subscriber, 1).await[0]));
    }
}

/// Publishes without paho, from a thread that may wait.
async fn publish_raw(broker: SocketAddr, place: &Place, bodies: &[String], qos: u8, retain: bool) {
    let topic = there(&place.settings.client_id, TOPIC);
    let bodies = bodies.to_vec();
    let publish = move || raw::publish(broker, &topic, &bodies, qos, retain);
    soon(tokio::task::spawn_blocking(publish)).await.unwrap();
}
