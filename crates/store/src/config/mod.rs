//! The runtime configuration: reading, checking and changing it.

mod check;
mod columns;
mod error;
mod write;

use postroad_worker_core::StoreError;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;

use crate::Database;
use crate::entity::{mqtt_settings, rabbitmq_settings, runtime_config};
use crate::fault::ask;

pub use crate::entity::mqtt_settings::Model as MqttSettings;
pub use crate::entity::rabbitmq_settings::Model as RabbitMqSettings;
pub use crate::entity::runtime_config::Model as RuntimeConfig;
pub use error::ConfigError;
pub use write::{Changes, activate, deactivate, import, set};

/// A config with the settings of both brokers; where a table has no row for it, the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What is common to all brokers.
    pub runtime: RuntimeConfig,
    /// What only RabbitMQ knows.
    pub rabbitmq: RabbitMqSettings,
    /// What only MQTT knows.
    pub mqtt: MqttSettings,
}

/// The config of that name, `None` where there is none.
pub async fn load(db: &Database, config_key: &str) -> Result<Option<Config>, StoreError> {
    ask(read(db.connection(), config_key)).await
}

/// Every config, by name.
pub async fn list(db: &Database) -> Result<Vec<RuntimeConfig>, StoreError> {
    let query = runtime_config::Entity::find().order_by_asc(runtime_config::Column::ConfigKey);
    ask(query.all(db.connection())).await
}

async fn read(
    db: &impl ConnectionTrait,
    config_key: &str,
) -> Result<Option<Config>, sea_orm::DbErr> {
    // One question, since every worker asks it again and again.
    let found = runtime_config::Entity::find()
        .filter(runtime_config::Column::ConfigKey.eq(config_key))
        .find_also_related(rabbitmq_settings::Entity)
        .find_also_related(mqtt_settings::Entity)
        .one(db)
        .await?;
    Ok(found.map(|(runtime, rabbitmq, mqtt)| Config {
        runtime,
        rabbitmq: rabbitmq.unwrap_or_default(),
        mqtt: mqtt.unwrap_or_default(),
    }))
}
