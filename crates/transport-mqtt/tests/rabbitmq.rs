//! What RabbitMQ's MQTT plugin does not do is said in a way that tells what to change.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::time::Duration;

use postroad_transport::{ConnectError, Transport};
use postroad_transport_mqtt::MqttSettings;
use tokio::time::timeout;

use support::{Account, Place};

async fn failure(subscriber: bool, change: impl FnOnce(&mut MqttSettings)) -> String {
    let plugin = Account::at_rabbitmq();
    let place = Place::unvisited(plugin.broker, |settings| {
        settings.protocol_version = 4;
        settings.username = Some(plugin.user);
        settings.password = Some(plugin.password.into());
        change(settings);
    })
    .await;
    let outcome = timeout(Duration::from_secs(20), async {
        if subscriber {
            place.transport.connect_subscriber().await.map(drop)
        } else {
            place.transport.connect_publisher().await.map(drop)
        }
    });
    let outcome = outcome.await.expect("it is said in time");
    match outcome {
        Err(ConnectError::Unreachable(text) | ConnectError::Topology(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// RabbitMQ speaks MQTT 5 from 3.13 on.
#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn mqtt_5_with_a_broker_of_mqtt_3_1_1_says_which_setting_to_change() {
    for subscriber in [false, true] {
        let text = failure(subscriber, |settings| settings.protocol_version = 5).await;
        assert!(text.contains("`protocol_version = 4`"), "{text}");
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_subscription_at_qos_2_that_is_granted_at_less_is_rejected() {
    let text = failure(true, |settings| settings.qos = 2).await;
    assert!(text.contains("QoS 1"), "{text}");
}
