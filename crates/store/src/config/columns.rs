//! Which columns of the configuration a person sets, and what fits into each.

use sea_orm::Value;
use serde_json::Value as Json;

use super::ConfigError;

/// Enough for a list of hosts or a path.
const LONGEST_TEXT: usize = 4_096;
/// AMQP's limit for names and keys.
const LONGEST_NAME: usize = 255;

/// As good as for ever.
const MOST_DAYS: i64 = 36_500;

/// A table of settings.
#[derive(Debug)]
pub(super) struct Table {
    /// Before the columns' names, as in `rabbitmq.queue`; empty for the runtime config itself.
    pub(super) prefix: &'static str,
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
}

/// A column of one.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    kind: Kind,
    nullable: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bool,
    /// From and to, both included.
    Integer(i64, i64),
    /// How long to keep something; null is for ever.
    Days,
    /// One of these.
    Word(&'static [&'static str]),
    Text,
    /// At most 255 bytes.
    Name,
    /// One segment of a topic.
    Segment,
    /// `host[:port],..`
    Hosts,
    /// A list of names.
    Names,
}

use Kind::{Bool, Days, Hosts, Integer, Name, Names, Segment, Text, Word};

pub(super) const RUNTIME: Table = Table {
    prefix: "",
    name: "event_bus_runtime_config",
    columns: &[
        required("is_active", Bool),
        required("broker_type", Word(&["rabbitmq", "mqtt", "memory"])),
        required("host", Hosts),
        nullable("port", Integer(1, 65_535)),
        nullable("username", Text),
        nullable("password", Text),
        required("tls_enabled", Bool),
        nullable("tls_ca_file", Text),
        nullable("tls_cert_file", Text),
        nullable("tls_key_file", Text),
        required("allow_plaintext", Bool),
        required("connect_timeout", Integer(1, 300)),
        required("retry_interval_seconds", Integer(1, 3_600)),
        nullable("source_service", Segment),
        required("outbound_enabled", Bool),
        required("inbound_enabled", Bool),
        required("max_retry_count", Integer(0, 1_000_000)),
        required("retry_backoff_base_seconds", Integer(1, 86_400)),
        required("retry_backoff_max_seconds", Integer(1, 604_800)),
        required("max_chain_depth", Integer(0, 1_000_000)),
        required("max_message_bytes", Integer(1_024, 134_217_728)),
        required("batch_size", Integer(1, 10_000)),
        required("poll_interval_ms", Integer(10, 3_600_000)),
        required("heartbeat_interval_seconds", Integer(1, 3_600)),
        nullable("retention_days_published", Days),
        nullable("retention_days_processed", Days),
        nullable("retention_days_error", Days),
        nullable("retention_days_invalid", Days),
        nullable("retention_days_quarantined", Days),
        nullable("retention_days_dedupe", Days),
        required("delete_on_publish", Bool),
    ],
};

pub(super) const RABBITMQ: Table = Table {
    prefix: "rabbitmq",
    name: "event_bus_rabbitmq_settings",
    columns: &[
        required("virtual_host", Name),
        required("exchange", Name),
        required("exchange_type", Word(&["topic", "direct", "fanout", "headers"])),
        nullable("queue", Name),
        required("queue_type", Word(&["quorum", "classic"])),
        nullable("binding_keys", Names),
        required("declare_topology", Bool),
        required("prefetch_count", Integer(1, 65_535)),
        required("heartbeat_seconds", Integer(4, 60)),
        nullable("dead_letter_exchange", Name),
    ],
};

pub(super) const MQTT: Table = Table {
    prefix: "mqtt",
    name: "event_bus_mqtt_settings",
    columns: &[
        nullable("client_id", Text),
        required("protocol_version", Integer(4, 5)),
        required("keep_alive_seconds", Integer(1, 65_535)),
        required("clean_session", Bool),
        required("qos", Integer(0, 2)),
        required("inbound_topics", Names),
        nullable("shared_group", Name),
        required("edgex_base_prefix", Text),
        required("max_inflight", Integer(1, 65_535)),
        required("allow_unacknowledged", Bool),
        required("allow_clean_session", Bool),
        nullable("spool_dir", Text),
        required("spool_sync", Word(&["os", "always"])),
        required("spool_max_bytes", Integer(1 << 20, 1 << 50)),
    ],
};

const fn required(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: false }
}

const fn nullable(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: true }
}

impl Table {
    /// The column of that name, or an error that lists those there are.
    pub(super) fn column(&self, name: &str) -> Result<&'static Column, ConfigError> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            ConfigError::UnknownColumn {
                name: self.full_name(name),
                known: self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", "),
            }
        })
    }

    pub(super) fn full_name(&self, column: &str) -> String {
        if self.prefix.is_empty() { column.to_owned() } else { format!("{}.{column}", self.prefix) }
    }
}

impl Column {
    /// Whether the parameter has to be cast to JSON where that is a type.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.kind, Names)
    }

    /// What a person typed, as JSON of the column's type. Nothing at all is null; a list is JSON or comma-separated.
    pub(super) fn parse(&self, text: &str) -> Json {
        match self.kind {
            _ if text.is_empty() => Json::Null,
            Bool | Integer(..) | Days => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            Word(_) | Text | Name | Segment | Hosts => text.into(),
            Names => serde_json::from_str::<Vec<String>>(text)
                .unwrap_or_else(|_| text.split(',').map(|name| name.trim().to_owned()).collect())
                .into(),
        }
    }

    /// The parameter for a value that fits, or what would.
    pub(super) fn check(&self, value: &Json) -> Result<Value, String> {
        match (self.kind, value) {
            (_, Json::Null) if !self.nullable => Err("must have a value".to_owned()),
            (Bool, Json::Null) => Ok(Value::Bool(None)),
            (Bool, Json::Bool(value)) => Ok((*value).into()),
            (Bool, _) => Err("must be `true` or `false`".to_owned()),
            (Integer(..) | Days, Json::Null) => Ok(Value::BigInt(None)),
            (Days, value) => check_days(value),
            (Integer(from, to), value) => match value.as_i64() {
                Some(number) if (from..=to).contains(&number) => Ok(number.into()),
                _ => Err(format!("must be a whole number from {from} to {to}")),
            },
            (_, Json::Null) => Ok(Value::String(None)),
            (Word(words), Json::String(text)) if words.contains(&text.as_str()) => {
                Ok(text.as_str().into())
            }
            (Word(words), _) => Err(format!("must be one of `{}`", words.join("`, `"))),
            (Text, Json::String(text)) => check_text(text, LONGEST_TEXT).map(Value::from),
            (Name, Json::String(text)) => check_text(text, LONGEST_NAME).map(Value::from),
            (Segment, Json::String(text)) => check_segment(text).map(Value::from),
            (Hosts, Json::String(text)) => check_hosts(text).map(Value::from),
            (Text | Name | Segment | Hosts, _) => Err("must be text".to_owned()),
            (Names, Json::Array(names)) => check_names(names).map(Value::from),
            (Names, _) => Err("must be a list of texts".to_owned()),
        }
    }
}

/// TOML has no null, so there is a word for it. 0 is no choice: rows that are published can be deleted at once by a setting of
/// their own, and the others would be gone before anybody has seen them.
fn check_days(value: &Json) -> Result<Value, String> {
    match (value.as_i64(), value.as_str()) {
        (Some(days), _) if (1..=MOST_DAYS).contains(&days) => Ok(days.into()),
        (_, Some("never" | "")) => Ok(Value::BigInt(None)),
        _ => Err(format!("must be a whole number of days from 1 to {MOST_DAYS}, or `never`")),
    }
}

fn check_text(text: &str, longest: usize) -> Result<&str, String> {
    if text.is_empty() || text.len() > longest {
        Err(format!("must have 1 to {longest} bytes"))
    } else if text.contains(char::is_control) {
        Err("must not hold control characters".to_owned())
    } else {
        Ok(text)
    }
}

/// A list of `host[:port]`. Nothing of a text that is none is repeated: it may hold a password.
fn check_hosts(text: &str) -> Result<&str, String> {
    check_text(text, LONGEST_TEXT)?;
    let strange = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#');
    for (number, host) in text.split(',').map(str::trim).enumerate() {
        let number = number + 1;
        if host.is_empty() || host.contains(strange) {
            return Err(format!(
                "must be a list of host or host:port, which entry {number} is not"
            ));
        }
        let port = match host.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => Some(port),
            _ => None,
        };
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(format!(
                "must have ports from 1 to 65535, which that of entry {number} is not"
            ));
        }
    }
    Ok(text)
}

fn check_segment(text: &str) -> Result<&str, String> {
    let fits =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        Err("must be one segment of a topic: letters, digits, `_` and `-`".to_owned())
    } else if text == "event" {
        Err("must not be `event`, which begins the topics of events".to_owned())
    } else {
        Ok(text)
    }
}

fn check_names(names: &[Json]) -> Result<String, String> {
    for name in names {
        match name {
            Json::String(name) => check_text(name, LONGEST_NAME)?,
            _ => return Err("must be a list of texts".to_owned()),
        };
    }
    Ok(Json::Array(names.to_vec()).to_string())
}
