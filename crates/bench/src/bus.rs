//! A broker under test: exchange and queue, or session and spool, of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use postroad_store::Database;
use postroad_transport::{Publisher, Subscriber, Transport};
use postroad_transport_amqp::{AmqpSettings, AmqpTransport, QueueType};
use postroad_transport_mqtt::{MqttSettings, MqttTransport};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::args::BrokerKind;
use crate::client::Client;
use crate::engine::{Engines, Goal};
use crate::input::TOPIC;
use crate::paho;
use crate::servers::{Rabbit, mqtt_url};

/// What a measurement publishes to and takes in from.
pub(crate) enum Bus {
    Amqp(Amqp),
    Mqtt(Mqtt),
}

/// RabbitMQ.
pub(crate) struct Amqp {
    pub(crate) rabbit: Rabbit,
    pub(crate) names: Names,
    pub(crate) queue_type: QueueType,
    pub(crate) transport: Arc<AmqpTransport>,
}

/// Mosquitto. It writes down all it has queued whenever that changes, so nothing is queued here: what is received is
/// published meanwhile.
pub(crate) struct Mqtt {
    url: String,
    session: String,
    transport: Arc<MqttTransport>,
    _folder: TempDir,
}

pub(crate) struct Names {
    pub(crate) exchange: String,
    pub(crate) queue: String,
}

impl Bus {
    /// Everything is declared after this.
    pub(crate) async fn open(kind: BrokerKind) -> Result<Self> {
        Ok(match kind {
            BrokerKind::Quorum => Self::Amqp(Amqp::open(QueueType::Quorum).await?),
            BrokerKind::Classic => Self::Amqp(Amqp::open(QueueType::Classic).await?),
            BrokerKind::Mqtt => Self::Mqtt(Mqtt::open()?),
        })
    }

    /// The broker's client alone, publishing with a window in flight.
    pub(crate) async fn publish_alone(&self, bodies: Vec<Vec<u8>>) -> Result<Duration> {
        match self {
            Self::Amqp(bus) => {
                let client = Client::connect(&bus.rabbit).await?;
                let time = client.publish(&bus.names.exchange, TOPIC, &bodies).await?;
                client.close().await?;
                Ok(time)
            }
            Self::Mqtt(bus) => bus.alone(paho::publish, bodies).await,
        }
    }

    /// The broker's client alone, receiving as many messages as there are bodies: those that [`Self::publish_alone`] put
    /// into RabbitMQ's queue, or these bodies themselves.
    pub(crate) async fn receive_alone(&self, bodies: Vec<Vec<u8>>) -> Result<Duration> {
        match self {
            Self::Amqp(bus) => {
                let client = Client::connect(&bus.rabbit).await?;
                let time = client.consume(&bus.names.queue, bodies.len()).await?;
                client.close().await?;
                Ok(time)
            }
            Self::Mqtt(bus) => bus.alone(paho::receive, bodies).await,
        }
    }

    /// Workers with this broker until the goal is reached; how long that took. `feed` is published meanwhile to a broker
    /// that does not queue for long, and beforehand to one that does.
    pub(crate) async fn work(
        &self,
        databases: &[Database],
        key: &str,
        goal: Goal,
        feed: Vec<Vec<u8>>,
    ) -> Result<Duration> {
        match self {
            Self::Amqp(bus) => {
                if !feed.is_empty() {
                    self.publish_alone(feed).await?;
                }
                let engines = Engines::start(databases, key, &bus.transport, goal);
                let time = engines.reached(goal).await;
                engines.stop().await?;
                time
            }
            Self::Mqtt(bus) => {
                if goal.stored > 0 {
                    // The session, so that what is published before the worker has connected is kept.
                    bus.transport.connect_subscriber().await?.close().await;
                }
                let engines = Engines::start(databases, key, &bus.transport, goal);
                let feed = async {
                    if !feed.is_empty() {
                        bus.alone(paho::publish, feed).await?;
                    }
                    Ok(())
                };
                let outcome = tokio::try_join!(engines.reached(goal), feed);
                engines.stop().await?;
                Ok(outcome?.0)
            }
        }
    }

    /// Deletes what is at the broker.
    pub(crate) async fn remove(self) -> Result<()> {
        match self {
            Self::Amqp(bus) => {
                let client = Client::connect(&bus.rabbit).await?;
                client.remove(&bus.names.exchange, &bus.names.queue).await?;
                client.close().await
            }
            Self::Mqtt(bus) => bus.forget().await,
        }
    }
}

impl Amqp {
    async fn open(queue_type: QueueType) -> Result<Self> {
        let (rabbit, names) = (Rabbit::from_env()?, Names::fresh());
        let transport = Arc::new(AmqpTransport::new(AmqpSettings {
            hosts: vec![(rabbit.host.clone(), rabbit.port)],
            username: rabbit.username.clone(),
            password: rabbit.password.as_str().into(),
            virtual_host: rabbit.virtual_host.clone(),
            exchange: names.exchange.clone(),
            queue: names.queue.clone(),
            queue_type,
            bindings: vec!["event.#".to_owned()],
            ..AmqpSettings::default()
        })?);
        transport.connect_publisher().await?.close().await;
        Ok(Self { rabbit, names, queue_type, transport })
    }
}

impl Names {
    fn fresh() -> Self {
        let id = Uuid::new_v4();
        Self { exchange: format!("bench-{id}"), queue: format!("bench-{id}.inbox") }
    }
}

impl Mqtt {
    fn open() -> Result<Self> {
        let (url, session) = (mqtt_url()?, Uuid::new_v4().to_string());
        let folder = tempfile::tempdir()?;
        let settings = mqtt_settings(&url, &session, folder.path())?;
        let transport = Arc::new(MqttTransport::new(settings)?);
        Ok(Self { url, session, transport, _folder: folder })
    }

    async fn alone(
        &self,
        work: fn(&str, &str, &[Vec<u8>]) -> Result<Duration>,
        bodies: Vec<Vec<u8>>,
    ) -> Result<Duration> {
        let url = self.url.clone();
        spawn_blocking(move || work(&url, TOPIC, &bodies)).await?
    }

    /// Ends the session at the broker, which would keep what others publish.
    async fn forget(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let settings = mqtt_settings(&self.url, &self.session, folder.path())?;
        let settings = MqttSettings { clean_session: true, allow_clean_session: true, ..settings };
        MqttTransport::new(settings)?.connect_subscriber().await?.close().await;
        Ok(())
    }
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
