//! From a stored config to the broker client it asks for.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use postroad_store::Secret;
use postroad_store::config::{Config, MqttSettings as StoredMqtt, RabbitMqSettings, RuntimeConfig};
use postroad_tls::TlsSettings;
use postroad_transport_amqp::{AmqpSettings, AmqpTransport, QueueType};
use postroad_transport_memory::{Broker, MemorySettings, MemoryTransport};
use postroad_transport_mqtt::{MqttSettings, MqttTransport, SpoolSync};

use crate::panics;
use crate::seat::Seat;

const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;

/// Whether a worker could start by this config with this broker, as far as its settings go.
pub(crate) fn check(config: &Config, broker_type: &str) -> Result<()> {
    let runtime = &config.runtime;
    service(runtime)?;
    match broker_type {
        "memory" => memory(Broker::new(), runtime, &config.rabbitmq).map(drop),
        "mqtt" => {
            let seat = Seat::of_check(&runtime.config_key, &config.mqtt);
            mqtt(runtime, &config.mqtt, &seat).map(drop)
        }
        _ => rabbitmq(runtime, &config.rabbitmq).map(drop),
    }
}

/// RabbitMQ as the config says.
pub(crate) fn rabbitmq(
    config: &RuntimeConfig,
    settings: &RabbitMqSettings,
) -> Result<AmqpTransport> {
    let key = &config.config_key;
    let defaults = AmqpSettings::default();
    let password = match &config.password {
        Some(secret) => {
            learned(secret.resolve().with_context(|| format!("config `{key}`"))?).into()
        }
        None => defaults.password.clone(),
    };
    let queue_type = match settings.queue_type.as_str() {
        "quorum" => QueueType::Quorum,
        "classic" => QueueType::Classic,
        other => bail!("config `{key}`: queue_type `{other}` is neither quorum nor classic"),
    };
    let prefetch = u16::try_from(settings.prefetch_count);
    let heartbeat = u16::try_from(settings.heartbeat_seconds);
    let tls = tls(config);
    let certificate = tls.as_ref().and_then(|tls| tls.cert_file.as_ref());
    let default_port = if tls.is_some() { AMQPS_PORT } else { AMQP_PORT };
    AmqpTransport::new(AmqpSettings {
        hosts: hosts(&config.host, config.port, default_port)
            .with_context(|| format!("config `{key}`"))?,
        login_by_certificate: config.username.is_none() && certificate.is_some(),
        username: config.username.clone().unwrap_or(defaults.username),
        password,
        tls,
        allow_plaintext: config.allow_plaintext,
        virtual_host: settings.virtual_host.clone(),
        exchange: settings.exchange.clone(),
        exchange_type: settings.exchange_type.clone(),
        queue: queue(config, settings)?,
        queue_type,
        bindings: bindings(config, settings)?,
        declare_topology: settings.declare_topology,
        prefetch: prefetch
            .with_context(|| format!("config `{key}`: prefetch_count is above 65535"))?,
        heartbeat_seconds: heartbeat
            .with_context(|| format!("config `{key}`: heartbeat_seconds is too large"))?,
        connect_timeout: Duration::from_secs(config.connect_timeout.into()),
        dead_letter_exchange: settings.dead_letter_exchange.clone(),
        connection_name: format!("postroad {key}"),
        ..AmqpSettings::default()
    })
    .with_context(|| format!("config `{key}` cannot be used"))
}

/// MQTT as the config says. The seat keeps client id and spool apart from those of other workers of a shared group.
pub(crate) fn mqtt(
    config: &RuntimeConfig,
    settings: &StoredMqtt,
    seat: &Seat,
) -> Result<MqttTransport> {
    let key = &config.config_key;
    let password = config.password.as_ref().map(Secret::resolve).transpose();
    let password = password.with_context(|| format!("config `{key}`"))?;
    let number = |name: &str, value: u32| {
        u16::try_from(value).with_context(|| format!("config `{key}`: {name} is above 65535"))
    };
    let tls = tls(config);
    let default_port = if tls.is_some() { MQTTS_PORT } else { MQTT_PORT };
    MqttTransport::new(MqttSettings {
        hosts: hosts(&config.host, config.port, default_port)
            .with_context(|| format!("config `{key}`"))?,
        tls,
        allow_plaintext: config.allow_plaintext,
        username: config.username.clone(),
        password: password.map(learned).map(Into::into),
        client_id: seat.client_id.clone(),
        protocol_version: u8::try_from(settings.protocol_version).unwrap_or_default(),
        keep_alive_seconds: number("keep_alive_seconds", settings.keep_alive_seconds)?,
        clean_session: settings.clean_session,
        allow_clean_session: settings.allow_clean_session,
        qos: u8::try_from(settings.qos).unwrap_or_default(),
        allow_unacknowledged: settings.allow_unacknowledged,
        inbound_topics: settings.inbound_topics.0.clone(),
        shared_group: settings.shared_group.clone(),
        max_inflight: number("max_inflight", settings.max_inflight)?,
        connect_timeout: Duration::from_secs(config.connect_timeout.into()),
        spool_dir: seat.spool_dir.clone(),
        spool_sync: if settings.spool_sync == "always" { SpoolSync::Always } else { SpoolSync::Os },
        spool_max_bytes: u64::try_from(settings.spool_max_bytes).unwrap_or_default(),
        ..MqttSettings::default()
    })
    .with_context(|| format!("config `{key}` cannot be used"))
}

/// The embedded broker with the same queue and bindings.
pub(crate) fn memory(
    broker: Broker,
    config: &RuntimeConfig,
    settings: &RabbitMqSettings,
) -> Result<MemoryTransport> {
    let settings = MemorySettings {
        queue: queue(config, settings)?,
        bindings: bindings(config, settings)?,
        prefetch: settings.prefetch_count as usize,
        ..MemorySettings::default()
    };
    Ok(MemoryTransport::new(broker, settings))
}

/// A password that no panic may show.
fn learned(password: String) -> String {
    panics::learn(&password);
    password
}

/// The service of the config, which queue and topics are named after.
pub(crate) fn service(config: &RuntimeConfig) -> Result<&str> {
    let key = &config.config_key;
    config.source_service.as_deref().with_context(|| {
        format!(
            "config `{key}` has no source_service: `postroad config set {key} source_service=NAME`"
        )
    })
}

/// `None` where plain text is to be spoken.
fn tls(config: &RuntimeConfig) -> Option<TlsSettings> {
    let file = |file: &Option<String>| file.as_ref().map(Into::into);
    config.tls_enabled.then(|| TlsSettings {
        ca_file: file(&config.tls_ca_file),
        cert_file: file(&config.tls_cert_file),
        key_file: file(&config.tls_key_file),
    })
}

fn queue(config: &RuntimeConfig, settings: &RabbitMqSettings) -> Result<String> {
    match &settings.queue {
        Some(queue) => Ok(queue.clone()),
        None => Ok(format!("{}.inbox", service(config)?)),
    }
}

fn bindings(config: &RuntimeConfig, settings: &RabbitMqSettings) -> Result<Vec<String>> {
    if let Some(keys) = &settings.binding_keys {
        return Ok(keys.0.clone());
    }
    let service = service(config)?;
    Ok(vec![format!("{service}.request.#"), format!("{service}.response.#"), "event.#".to_owned()])
}

/// `host[:port],..`; IPv6 addresses with a port stand in brackets.
fn hosts(list: &str, port: Option<u32>, default: u16) -> Result<Vec<(String, u16)>> {
    let port = match port {
        Some(port) => u16::try_from(port).with_context(|| format!("port {port} is above 65535"))?,
        None => default,
    };
    list.split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .map(|host| match host.rsplit_once(':') {
            Some((name, own)) if !name.contains(':') || name.ends_with(']') => {
                let own = own.parse().with_context(|| format!("`{host}` is not host:port"))?;
                Ok((name.to_owned(), own))
            }
            _ => Ok((host.to_owned(), port)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, port: Option<u32>, expected: &[(&str, u16)]) {
        let found = hosts(list, port, 5672).unwrap();
        let found: Vec<_> = found.iter().map(|(host, port)| (host.as_str(), *port)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn hosts_may_name_their_ports() {
        check("localhost", None, &[("localhost", 5672)]);
        check("a, b:5673 ,c", Some(1234), &[("a", 1234), ("b", 5673), ("c", 1234)]);
        check("[::1]:5673,[::1],::1", None, &[("[::1]", 5673), ("[::1]", 5672), ("::1", 5672)]);
    }

    #[test]
    fn a_port_that_is_none_is_an_error_that_names_the_host() {
        assert!(hosts("a:b", None, 5672).unwrap_err().to_string().contains("`a:b`"));
        assert!(hosts("a", Some(70_000), 5672).unwrap_err().to_string().contains("70000"));
    }
}
