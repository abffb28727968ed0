//! The transport under test, on an exchange and a quorum queue of its own.

use std::path::Path;

use anyhow::{Context, Result};
use postroad_transport::{Publisher, Subscriber, Transport};
use postroad_transport_amqp::{AmqpSettings, AmqpTransport};
use postroad_transport_mqtt::{MqttSettings, MqttTransport};
use uuid::Uuid;

use crate::client::Client;
use crate::input::{Rabbit, TOPIC};

pub(crate) struct Names {
    pub(crate) exchange: String,
    pub(crate) queue: String,
}

impl Names {
    pub(crate) fn fresh() -> Self {
        let id = Uuid::new_v4();
        Self { exchange: format!("bench-{id}"), queue: format!("bench-{id}.inbox") }
    }
}

pub(crate) fn to(rabbit: &Rabbit, names: &Names) -> Result<AmqpTransport> {
    Ok(AmqpTransport::new(AmqpSettings {
        hosts: vec![(rabbit.host.clone(), rabbit.port)],
        username: rabbit.username.clone(),
        password: rabbit.password.as_str().into(),
        virtual_host: rabbit.virtual_host.clone(),
        exchange: names.exchange.clone(),
        queue: names.queue.clone(),
        bindings: vec!["event.#".to_owned()],
        ..AmqpSettings::default()
    })?)
}

/// MQTT 5 at QoS 1, with the session and the spool of this round.
pub(crate) fn mqtt(url: &str, session: &str, folder: &Path) -> Result<MqttTransport> {
    Ok(MqttTransport::new(mqtt_settings(url, session, folder)?)?)
}

fn mqtt_settings(url: &str, session: &str, folder: &Path) -> Result<MqttSettings> {
    let address = url.trim_start_matches("mqtt://").trim_end_matches('/');
    let (host, port) =
        address.rsplit_once(':').context("POSTROAD_TEST_MQTT_URL is not mqtt://host:port")?;
    Ok(MqttSettings {
        hosts: vec![(host.to_owned(), port.parse()?)],
        client_id: session.to_owned(),
        inbound_topics: vec![TOPIC.to_owned()],
        spool_dir: folder.to_owned(),
        ..MqttSettings::default()
    })
}

/// Ends the session at the broker, which would keep what the next round publishes.
pub(crate) async fn forget(url: &str, session: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = MqttSettings {
        clean_session: true,
        allow_clean_session: true,
        ..mqtt_settings(url, session, folder.path())?
    };
    MqttTransport::new(settings)?.connect_subscriber().await?.close().await;
    Ok(())
}

/// Exchange and queue are there after this.
pub(crate) async fn declare(transport: &impl Transport) -> Result<()> {
    transport.connect_publisher().await?.close().await;
    Ok(())
}

pub(crate) async fn remove(rabbit: &Rabbit, names: &Names) -> Result<()> {
    let client = Client::connect(rabbit).await?;
    client.remove(&names.exchange, &names.queue).await?;
    client.close().await
}
