//! What a worker would find at the broker.

mod visit;

use std::time::Duration;

use postroad_transport::{ConnectError, Finding, Wants};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::visit::Visit;
use crate::connect::connect;
use crate::link::Link;
use crate::settings::{AmqpSettings, QueueType};

/// For a connection to each host, side by side.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For all questions after that.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn check(settings: &AmqpSettings, wants: Wants) -> Vec<Finding> {
    let mut findings = dangers(settings);
    findings.push(match settings.tls {
        Some(_) => Finding::ok("encryption", "TLS"),
        None => Finding::plain_text(&settings.hosts),
    });
    let (broker, link) = reach(settings).await;
    findings.push(broker);
    if let Some((settings, link)) = link {
        findings.push(product(&link));
        let visit = Visit::new(settings, link, Instant::now() + LIMIT);
        findings.extend(visit.look(wants).await);
    }
    findings
}

/// Tries every host, and keeps the connection to the first of the list that takes one.
async fn reach(settings: &AmqpSettings) -> (Finding, Option<(AmqpSettings, Link)>) {
    const CHECK: &str = "broker";
    let deadline = Instant::now() + CONNECT_LIMIT.min(settings.connect_timeout);
    let mut trying = JoinSet::new();
    for (number, host) in settings.hosts.iter().enumerate() {
        let settings = AmqpSettings { hosts: vec![host.clone()], ..settings.clone() };
        trying.spawn(async move {
            let link = connect(&settings, "check", deadline).await;
            (number, settings, link)
        });
    }
    let mut tried = trying.join_all().await;
    tried.sort_by_key(|(number, ..)| *number);
    let (mut first, mut taken, mut failures) = (None, Vec::new(), Vec::new());
    for (_, settings, link) in tried {
        let (host, port) = &settings.hosts[0];
        match link {
            Ok(link) => {
                taken.push(format!("{host}:{port}"));
                match &first {
                    None => first = Some((settings, link)),
                    Some(_) => link.abandon(),
                }
            }
            Err(error) => failures.push(error),
        }
    }
    let advice = advice(&failures);
    let failed: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let failed = failed.join("; ");
    let found = if failures.is_empty() {
        Finding::ok(CHECK, format!("{} takes user and password", taken.join(", ")))
    } else if taken.is_empty() {
        Finding::failure(CHECK, failed, advice)
    } else {
        let text = format!("{} takes user and password; {}", taken.join(", "), failed);
        Finding::warning(CHECK, text, format!("{advice}; workers use the others"))
    };
    (found, first)
}

fn advice(failures: &[ConnectError]) -> &'static str {
    if failures.iter().any(|error| matches!(error, ConnectError::Rejected(_))) {
        "check username, password and rabbitmq.virtual_host of the config, and that the user may use the virtual host"
    } else if failures.iter().any(|error| matches!(error, ConnectError::Untrusted(_))) {
        "check tls_enabled, tls_ca_file, tls_cert_file and tls_key_file of the config, and that host is a name in the broker's certificate"
    } else {
        "is the broker up, are host and port of the config right, and does no firewall stand between?"
    }
}

fn product(link: &Link) -> Finding {
    let server = link.connection.server_properties();
    Finding::ok("version", format!("{} {}", server.product(), server.version()))
}

/// What of the settings may cost messages.
fn dangers(settings: &AmqpSettings) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let mut findings = Vec::new();
    if settings.queue_type == QueueType::Classic {
        findings.push(Finding::warning(
            CHECK,
            "rabbitmq.queue_type = classic: the queue is on one node, and its messages are lost with that node's disk",
            "use `quorum`, under another queue name or once the queue is empty and deleted",
        ));
    }
    let wildcard = settings.bindings.iter().find(|pattern| pattern.contains(['*', '#']));
    if let (true, Some(pattern)) = (settings.exchange_type != "topic", wildcard) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "rabbitmq.exchange_type = {}: it does not know patterns such as `{pattern}`",
                settings.exchange_type
            ),
            "use an exchange of type `topic`",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_may_cost_messages_are_named() {
        assert_eq!(dangers(&AmqpSettings::default()), []);
        let classic = AmqpSettings { queue_type: QueueType::Classic, ..AmqpSettings::default() };
        assert!(dangers(&classic)[0].found.contains("classic"));
        let direct = AmqpSettings {
            exchange_type: "direct".to_owned(),
            bindings: vec!["event.#".to_owned()],
            ..AmqpSettings::default()
        };
        assert!(dangers(&direct)[0].found.contains("`event.#`"));
    }
}
