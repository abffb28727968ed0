//! What no single column shows.

use postroad_tls::is_loopback;

use super::{Config, ConfigError, MqttSettings, RuntimeConfig};

/// `Err` where settings do not go together, or where a dangerous one lacks its permission.
pub(super) fn contradiction(config: &Config) -> Result<(), ConfigError> {
    let Config { runtime, mqtt, .. } = config;
    check_mqtt(mqtt)?;
    if runtime.retry_backoff_base_seconds > runtime.retry_backoff_max_seconds {
        return invalid(
            "retry_backoff_base_seconds",
            "must not be above `retry_backoff_max_seconds`",
        );
    }
    check_tls(runtime)
}

fn check_mqtt(mqtt: &MqttSettings) -> Result<(), ConfigError> {
    if mqtt.qos == 0 && !mqtt.allow_unacknowledged {
        let problem = "of 0 is confirmed by nothing, so messages can get lost: use 1 or 2, \
                       or set `mqtt.allow_unacknowledged` to true";
        return invalid("mqtt.qos", problem);
    }
    if mqtt.clean_session && !mqtt.allow_clean_session {
        let problem = "loses what comes while the worker is away: set it to false, \
                       or set `mqtt.allow_clean_session` to true";
        return invalid("mqtt.clean_session", problem);
    }
    Ok(())
}

fn check_tls(runtime: &RuntimeConfig) -> Result<(), ConfigError> {
    if runtime.broker_type == "memory" {
        return Ok(());
    }
    if runtime.tls_enabled {
        if runtime.tls_cert_file.is_some() != runtime.tls_key_file.is_some() {
            return invalid("tls_cert_file", "and `tls_key_file` have to be set together");
        }
        return Ok(());
    }
    let far = runtime.host.split(',').map(|host| name(host.trim())).find(|host| !is_loopback(host));
    match far {
        Some(host) if !runtime.allow_plaintext => {
            let problem = format!(
                "is `{host}`, which is not this machine, and would be spoken to in plain text, password and all: \
                 set `tls_enabled` to true, or `allow_plaintext` if that is wanted"
            );
            invalid("host", &problem)
        }
        _ => Ok(()),
    }
}

/// The host of `host[:port]`.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    }
}

fn invalid(name: &str, problem: &str) -> Result<(), ConfigError> {
    Err(ConfigError::InvalidValue { name: name.to_owned(), problem: problem.to_owned() })
}
