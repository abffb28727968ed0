//! `event_bus_mqtt_settings`.

use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::string_list::StringList;

/// What of a config only MQTT knows.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(table_name = "event_bus_mqtt_settings")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    #[serde(skip)]
    pub id: i64,
    /// Whose settings they are.
    #[sea_orm(unique)]
    #[serde(skip)]
    pub config_key: String,
    /// Null means one made of config and service.
    pub client_id: Option<String>,
    /// 4 or 5.
    pub protocol_version: u32,
    /// MQTT keep alive.
    pub keep_alive_seconds: u32,
    /// Whether the broker forgets us between connections.
    pub clean_session: bool,
    /// 0, 1 or 2.
    pub qos: u32,
    /// Topic filters to subscribe to.
    pub inbound_topics: StringList,
    /// Group of a shared subscription.
    pub shared_group: Option<String>,
    /// First segment of `EdgeX` topics.
    pub edgex_base_prefix: String,
    /// The most unconfirmed publishes.
    pub max_inflight: u32,
    /// Needed for a `qos` of 0, which nothing confirms.
    pub allow_unacknowledged: bool,
    /// Needed for a `clean_session`, which loses what comes while nobody is connected.
    pub allow_clean_session: bool,
    /// Where messages are kept until they are stored; null means one made of the config's key.
    pub spool_dir: Option<String>,
    /// `os` or `always`.
    pub spool_sync: String,
    /// The broker is held back beyond this.
    pub spool_max_bytes: i64,
}

impl ActiveModelBehavior for ActiveModel {}

impl Default for Model {
    /// The database's own defaults.
    fn default() -> Self {
        Self {
            id: 0,
            config_key: "default".to_owned(),
            client_id: None,
            protocol_version: 5,
            keep_alive_seconds: 30,
            clean_session: false,
            qos: 1,
            inbound_topics: StringList(vec!["edgex/events/#".to_owned()]),
            shared_group: None,
            edgex_base_prefix: "edgex".to_owned(),
            max_inflight: 100,
            allow_unacknowledged: false,
            allow_clean_session: false,
            spool_dir: None,
            spool_sync: "os".to_owned(),
            spool_max_bytes: 1 << 30,
        }
    }
}
