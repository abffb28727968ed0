//! `event_bus_runtime_config`.

#![expect(clippy::struct_excessive_bools, reason = "they are columns")]

use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::entity::{mqtt_settings, rabbitmq_settings};
use crate::secret::Secret;

/// What a worker runs by.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(table_name = "event_bus_runtime_config")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    #[serde(skip)]
    pub id: i64,
    /// The config's name.
    #[sea_orm(unique)]
    pub config_key: String,
    /// Whether a worker is expected to run.
    pub is_active: bool,
    /// `rabbitmq`, `mqtt` or `memory`.
    pub broker_type: String,
    /// Comma-separated `host[:port]`, tried in turn.
    pub host: String,
    /// 1 to 65535, where a host names none; null means the broker's default.
    pub port: Option<u32>,
    /// At the broker.
    pub username: Option<String>,
    /// At the broker: itself, `env:NAME` or `file:PATH`.
    pub password: Option<Secret>,
    /// Whether to speak TLS.
    pub tls_enabled: bool,
    /// PEM file of the authorities to trust, instead of the system's.
    pub tls_ca_file: Option<String>,
    /// PEM file of the client's certificate.
    pub tls_cert_file: Option<String>,
    /// PEM file of the client's key.
    pub tls_key_file: Option<String>,
    /// Needed for plain text to hosts that are not this machine.
    pub allow_plaintext: bool,
    /// Seconds.
    pub connect_timeout: u32,
    /// Between two attempts to reach the broker.
    pub retry_interval_seconds: u32,
    /// The service this bus belongs to.
    pub source_service: Option<String>,
    /// Whether the worker publishes.
    pub outbound_enabled: bool,
    /// Whether the worker consumes.
    pub inbound_enabled: bool,
    /// Refused publishes after which a row ends as `error`.
    pub max_retry_count: u32,
    /// Delay after the first refused publish.
    pub retry_backoff_base_seconds: u32,
    /// The longest delay.
    pub retry_backoff_max_seconds: u32,
    /// The loop guard.
    pub max_chain_depth: u32,
    /// The largest body.
    pub max_message_bytes: u32,
    /// Rows a claim, and messages a transaction.
    pub batch_size: u32,
    /// How often the outbox is looked at where nothing wakes the worker.
    pub poll_interval_ms: u32,
    /// How often a worker says that it lives.
    pub heartbeat_interval_seconds: u32,
    /// Days after which a published row is deleted; null: never.
    pub retention_days_published: Option<u32>,
    /// The same of a processed message.
    pub retention_days_processed: Option<u32>,
    /// The same of a row of outbox or inbox that ended as `error`.
    pub retention_days_error: Option<u32>,
    /// The same of an `invalid` row.
    pub retention_days_invalid: Option<u32>,
    /// The same of a message in quarantine.
    pub retention_days_quarantined: Option<u32>,
    /// Days for which a message is known that came; for as long as its row is there in any case.
    pub retention_days_dedupe: Option<u32>,
    /// Whether a row is deleted as soon as it is published.
    pub delete_on_publish: bool,
}

impl ActiveModelBehavior for ActiveModel {}

/// At most one row, by the config's name.
impl Related<rabbitmq_settings::Entity> for Entity {
    fn to() -> RelationDef {
        Self::belongs_to(rabbitmq_settings::Entity)
            .from(Column::ConfigKey)
            .to(rabbitmq_settings::Column::ConfigKey)
            .into()
    }
}

/// At most one row, by the config's name.
impl Related<mqtt_settings::Entity> for Entity {
    fn to() -> RelationDef {
        Self::belongs_to(mqtt_settings::Entity)
            .from(Column::ConfigKey)
            .to(mqtt_settings::Column::ConfigKey)
            .into()
    }
}
