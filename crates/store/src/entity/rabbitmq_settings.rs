//! `event_bus_rabbitmq_settings`.

use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::string_list::StringList;

/// What of a config only RabbitMQ knows.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(table_name = "event_bus_rabbitmq_settings")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    #[serde(skip)]
    pub id: i64,
    /// Whose settings they are.
    #[sea_orm(unique)]
    #[serde(skip)]
    pub config_key: String,
    /// Virtual host.
    pub virtual_host: String,
    /// Published to, and bound to.
    pub exchange: String,
    /// `topic`, `direct`, `fanout` or `headers`.
    pub exchange_type: String,
    /// Consumed from; null means `<source_service>.inbox`.
    pub queue: Option<String>,
    /// `quorum` or `classic`.
    pub queue_type: String,
    /// Null means the service's requests, its responses and every event.
    pub binding_keys: Option<StringList>,
    /// Whether exchange, queue and bindings are made, rather than only looked for.
    pub declare_topology: bool,
    /// The most unacknowledged deliveries.
    pub prefetch_count: u32,
    /// AMQP heartbeat.
    pub heartbeat_seconds: u32,
    /// For messages that are quarantined, and those that the queue itself gives up on.
    pub dead_letter_exchange: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Default for Model {
    /// The database's own defaults.
    fn default() -> Self {
        Self {
            id: 0,
            config_key: "default".to_owned(),
            virtual_host: "/".to_owned(),
            exchange: "interservice".to_owned(),
            exchange_type: "topic".to_owned(),
            queue: None,
            queue_type: "quorum".to_owned(),
            binding_keys: None,
            declare_topology: true,
            prefetch_count: 500,
            heartbeat_seconds: 30,
            dead_letter_exchange: None,
        }
    }
}
