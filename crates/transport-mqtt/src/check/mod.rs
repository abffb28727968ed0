//! What a worker would find at the broker and on its disk.

mod disk;

use std::time::Duration;

use paho_mqtt::RetainHandling;
use postroad_transport::{ConnectError, Finding, Wants};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::connect::{Connected, Role, connect};
use crate::settings::MqttSettings;
use crate::subscribe::granted;

/// For a connection to each host, side by side.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For one subscription.
const ANSWER: Duration = Duration::from_secs(3);
/// For all of them.
const LIMIT: Duration = Duration::from_secs(8);
/// Fixed header, topic and properties of a packet, roughly.
const PACKET_HEAD: u64 = 1 << 10;

pub(crate) async fn check(settings: &MqttSettings, wants: Wants) -> Vec<Finding> {
    let mut findings = dangers(settings, wants);
    findings.push(match settings.tls {
        Some(_) => Finding::ok("encryption", "TLS"),
        None => Finding::plain_text(&settings.hosts),
    });
    let (broker, connected) = reach(settings).await;
    findings.push(broker);
    if let Some(connected) = connected {
        findings.extend(limits(settings, wants, &connected));
        if wants.inbound {
            findings.extend(subscriptions(settings, &connected).await);
        }
        connected.client.close().await;
        connected.relay.stop();
    }
    if wants.inbound {
        let settings = settings.clone();
        // The check has no way to fail but to panic.
        findings.extend(spawn_blocking(move || disk::check(&settings)).await.unwrap_or_default());
    }
    findings
}

/// Tries every host, and keeps the connection to the first of the list that takes one.
async fn reach(settings: &MqttSettings) -> (Finding, Option<Connected>) {
    const CHECK: &str = "broker";
    let deadline = Instant::now() + CONNECT_LIMIT.min(settings.connect_timeout);
    let mut trying = JoinSet::new();
    for (number, host) in settings.hosts.iter().enumerate() {
        let settings = MqttSettings { hosts: vec![host.clone()], ..settings.clone() };
        trying.spawn(async move {
            let role = Role { client_id: settings.passing_id("doctor"), clean: true };
            (number, connect(&settings, &role, deadline, None).await)
        });
    }
    let mut tried = trying.join_all().await;
    tried.sort_by_key(|(number, _)| *number);
    let (mut first, mut taken, mut failures) = (None, Vec::new(), Vec::new());
    for (number, connected) in tried {
        let (host, port) = &settings.hosts[number];
        match connected {
            Ok(connected) => {
                taken.push(format!("{host}:{port}"));
                // Dropping the others ends them.
                first.get_or_insert(connected);
            }
            Err(error) => failures.push(error),
        }
    }
    let version = if settings.is_v5() { "MQTT 5" } else { "MQTT 3.1.1" };
    let advice = advice(&failures);
    let failed: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let failed = failed.join("; ");
    let found = if failures.is_empty() {
        Finding::ok(CHECK, format!("{} speaks {version} with us", taken.join(", ")))
    } else if taken.is_empty() {
        Finding::failure(CHECK, failed, advice)
    } else {
        let text = format!("{} speaks {version} with us; {}", taken.join(", "), failed);
        Finding::warning(CHECK, text, format!("{advice}; workers use the others"))
    };
    (found, first)
}

fn advice(failures: &[ConnectError]) -> &'static str {
    if failures.iter().any(|error| matches!(error, ConnectError::Rejected(_))) {
        "check username, password and mqtt.protocol_version of the config"
    } else if failures.iter().any(|error| matches!(error, ConnectError::Untrusted(_))) {
        "check tls_enabled, tls_ca_file, tls_cert_file and tls_key_file of the config, and that host is a name in the broker's certificate"
    } else {
        "is the broker up, are host and port of the config right, and does no firewall stand between?"
    }
}

/// What the broker said of itself that does not go with the settings.
fn limits(settings: &MqttSettings, wants: Wants, connected: &Connected) -> Vec<Finding> {
    let mut findings = Vec::new();
    if connected.max_qos < settings.qos {
        findings.push(Finding::failure(
            "quality of service",
            format!(
                "the broker knows QoS {} at most, mqtt.qos is {}",
                connected.max_qos, settings.qos
            ),
            "use a broker that knows QoS 1: below, messages are lost with every connection",
        ));
    }
    if settings.shared_group.is_some() && wants.inbound && connected.shares == Some(false) {
        findings.push(Finding::failure(
            "shared subscriptions",
            "the broker does not share subscriptions, and mqtt.shared_group asks for it",
            "run one worker and take mqtt.shared_group away, or use another broker",
        ));
    }
    let most = connected.max_packet_bytes.map(u64::from);
    match most {
        Some(most) if wants.outbound && most < wants.max_message_bytes + PACKET_HEAD => {
            findings.push(Finding::warning(
                "message size",
                format!(
                    "the broker takes packets of {most} bytes, max_message_bytes is {}",
                    wants.max_message_bytes
                ),
                "lower max_message_bytes, or raise the broker's limit: larger rows end as `error`",
            ));
        }
        _ => {}
    }
    findings
}

/// Subscribes as a worker would, but apart from its session and its group, and without the messages that are kept.
async fn subscriptions(settings: &MqttSettings, connected: &Connected) -> Vec<Finding> {
    const CHECK: &str = "subscription";
    if settings.inbound_topics.is_empty() {
        return vec![Finding::failure(
            CHECK,
            "there is no topic to subscribe to",
            "set mqtt.inbound_topics, or turn inbound_enabled off",
        )];
    }
    let until = Instant::now() + LIMIT;
    let mut findings = Vec::new();
    for filter in &settings.inbound_topics {
        let deadline = until.min(Instant::now() + ANSWER);
        let retained = RetainHandling::DontSendRetained;
        findings.push(
            match granted(&connected.client, settings, filter, retained, deadline).await {
                Ok(()) => {
                    Finding::ok(CHECK, format!("`{filter}` is granted at QoS {}", settings.qos))
                }
                Err(ConnectError::Topology(text)) => Finding::failure(
                    CHECK,
                    text,
                    "let the user of the config read this topic in the broker's access rules",
                ),
                Err(error) => {
                    Finding::warning(CHECK, error.to_string(), "look at the broker's log")
                }
            },
        );
    }
    findings
}

/// What of the settings may cost messages.
fn dangers(settings: &MqttSettings, wants: Wants) -> Vec<Finding> {
    let danger = |found: &str, advice: &str| Finding::warning("settings", found, advice);
    let mut findings = Vec::new();
    if settings.qos == 0 {
        findings.push(danger(
            "mqtt.qos = 0: nothing confirms a message, what is on the wire when a connection breaks is lost",
            "set mqtt.qos to 1 and mqtt.allow_unacknowledged to false",
        ));
    }
    if wants.inbound && settings.clean_session {
        findings.push(danger(
            "mqtt.clean_session = true: what is sent while no worker is connected is lost",
            "set mqtt.clean_session to false",
        ));
    }
    if wants.outbound && !settings.is_v5() {
        findings.push(danger(
            "mqtt.protocol_version = 4: MQTT 3.1.1 does not tell of a publish that the broker refused, it counts as published",
            "set mqtt.protocol_version to 5",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Wants = Wants { outbound: true, inbound: true, max_message_bytes: 1 << 20 };

    #[track_caller]
    fn check(change: impl FnOnce(&mut MqttSettings), wants: Wants, expected: &[&str]) {
        let mut settings = MqttSettings::default();
        change(&mut settings);
        let findings = dangers(&settings, wants);
        assert_eq!(findings.len(), expected.len(), "{findings:#?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.found.starts_with(expected), "{finding:#?}");
        }
    }

    #[test]
    fn settings_that_may_cost_messages_are_named() {
        check(|_| {}, BOTH, &[]);
        check(|settings| settings.qos = 0, BOTH, &["mqtt.qos = 0"]);
        check(|settings| settings.clean_session = true, BOTH, &["mqtt.clean_session"]);
        check(|settings| settings.protocol_version = 4, BOTH, &["mqtt.protocol_version = 4"]);
        let inbound = Wants { outbound: false, ..BOTH };
        check(|settings| settings.protocol_version = 4, inbound, &[]);
        let outbound = Wants { inbound: false, ..BOTH };
        check(|settings| settings.clean_session = true, outbound, &[]);
    }
}
