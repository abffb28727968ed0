//! What a check-up of an MQTT broker finds, and that the session of whoever is at work stays as it was.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::time::{Duration, Instant};

use postroad_transport::testing::{Rig, event};
use postroad_transport::{Finding, Level, Publisher, Subscriber, Transport, Wants};
use postroad_transport_mqtt::MqttTransport;
use support::broker::Broker;
use support::{Place, broker_address};
use tokio::time::timeout;

const SOON: Duration = Duration::from_mins(3);
const BOTH: Wants = Wants { outbound: true, inbound: true, max_message_bytes: 1 << 20 };

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

#[track_caller]
fn line<'f>(findings: &'f [Finding], check: &str) -> &'f Finding {
    let line = findings.iter().find(|finding| finding.check == check);
    line.unwrap_or_else(|| panic!("no `{check}` in {findings:#?}"))
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_subscriber_at_work_goes_on_and_gets_each_message_once() {
    for (version, group) in [(5, None), (4, None), (5, Some("g".to_owned()))] {
        let place = Place::unvisited(broker_address(), |settings| {
            settings.protocol_version = version;
            settings.shared_group = group;
        })
        .await;
        let transport = &place.transport;
        let mut subscriber = soon(transport.connect_subscriber()).await.unwrap();
        let publisher = soon(transport.connect_publisher()).await.unwrap();
        for round in 0..20_usize {
            let message = publisher.publish(event("event.suite.thing.made"));
            // While it is subscribed too.
            let (findings, sent) = tokio::join!(transport.inner.check(BOTH), soon(message));
            sent.unwrap();
            let bad = findings.iter().filter(|finding| finding.level != Level::Ok);
            // MQTT 3.1.1 does not tell of a refused publish.
            assert_eq!(bad.count(), usize::from(version == 4), "{findings:#?}");
            assert!(line(&findings, "spool lock").found.contains("held"), "{findings:#?}");
            let delivery = soon(subscriber.next()).await.unwrap();
            assert!(!delivery.message.redelivered, "{round}");
            soon(subscriber.acknowledge_through(delivery.tag)).await.unwrap();
        }
        assert_eq!(transport.inner.spool_depth().unwrap().messages, 0);
        publisher.close().await;
        subscriber.close().await;
        place.clean_up().await;
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_the_broker_does_not_grant_is_told() {
    let broker = Broker::with("allow_anonymous true\nmax_qos 0\nmax_packet_size 5000");
    let place = Place::unvisited(broker.address, |_| {}).await;
    let findings = place.transport.inner.check(BOTH).await;
    assert_eq!(line(&findings, "quality of service").level, Level::Failure, "{findings:#?}");
    assert_eq!(line(&findings, "message size").level, Level::Warning, "{findings:#?}");
    let subscription = line(&findings, "subscription");
    assert_eq!(subscription.level, Level::Failure, "{findings:#?}");

    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, "").unwrap();
    let closed = format!("allow_anonymous false\npassword_file {}", passwords.display());
    let broker = Broker::with(&closed);
    let place = Place::unvisited(broker.address, |settings| {
        settings.username = Some("ebmr".into());
        settings.password = Some("hunter2".into());
    })
    .await;
    let findings = place.transport.inner.check(BOTH).await;
    let found = line(&findings, "broker");
    assert_eq!(found.level, Level::Failure, "{findings:#?}");
    assert!(found.advice.contains("username, password"), "{found:#?}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:#?}");
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_broker_that_says_nothing_is_given_up_in_time() {
    let place = Place::unvisited(broker_address(), |_| {}).await;
    place.proxy.blackhole(true);
    let began = Instant::now();
    let findings = MqttTransport::new(place.settings.clone()).unwrap().check(BOTH).await;
    assert_eq!(line(&findings, "broker").level, Level::Failure, "{findings:#?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}
