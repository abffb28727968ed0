//! `postroad demo --edgex`: a device of EdgeX, an MQTT broker in this process and a worker, with nothing installed.

#[cfg(feature = "embedded-mqtt")]
mod broker;
mod device;
mod script;
mod verdict;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use postroad_store::query::inbox;
use postroad_store::query::outbox::Filter;
use postroad_store::query::status::status;
use postroad_store::{Database, config};
use serde_json::json;
use tempfile::TempDir;

use super::service::Service;
use super::{Place, Teller};
use crate::mqtt::MqttCodec;
use crate::seat::Seat;
use crate::transports;
use device::Device;

/// Who takes in what the device says.
const SERVICE: &str = "ebmr";

/// Returns whether all was as it should be.
pub(crate) async fn run(place: &Place, teller: &Teller<'_>) -> Result<bool> {
    let address = broker::start().await.context("the MQTT broker inside this process")?;
    teller.say(format_args!("an MQTT broker listens on {address}, inside this process"));
    // Goes when the worker has let go of its spool.
    let folder =
        TempDir::with_prefix("postroad-demo-").context("cannot make a temporary folder")?;
    let database = place.open().await?;
    prepare(&database, address, &folder.path().join("spool"))
        .await
        .context("cannot prepare the database")?;
    teller.say("tables made, a config imported, in one SQLite file");

    let service = start(&database).await?;
    let played = play(teller, address, &service).await;
    service.stop().await?;
    played?;
    teller.say("the worker stopped in good order");

    let status = status(&database, Some(SERVICE)).await.context("cannot read the closing table")?;
    let processed = Filter {
        config_key: Some(SERVICE.to_owned()),
        status: Some("processed".to_owned()),
        limit: 100,
    };
    let rows = inbox::list(&database, &processed).await.context("cannot read the closing table")?;
    database.close().await;
    verdict::tell(&status, &rows, teller)
}

async fn prepare(database: &Database, broker: SocketAddr, spool: &Path) -> Result<()> {
    postroad_migration::up(database.connection()).await?;
    let config = json!({
        "broker_type": "mqtt",
        "host": broker.ip().to_string(),
        "port": broker.port(),
        "source_service": SERVICE,
        "heartbeat_interval_seconds": 1,
        "poll_interval_ms": 50,
        "mqtt": { "inbound_topics": ["edgex/#", "sensors/#"], "spool_dir": spool },
    });
    config::import(database, &json!({ "config": { SERVICE: config } })).await?;
    Ok(())
}

async fn start(database: &Database) -> Result<Service> {
    let config = config::load(database, SERVICE).await?.context("the config was imported")?;
    let seat = Seat::take(SERVICE, &config.mqtt)?;
    let transport = transports::mqtt(&config.runtime, &config.mqtt, &seat)?;
    let codec = MqttCodec { base_prefix: config.mqtt.edgex_base_prefix.clone() };
    Ok(Service::start(database, &config, SERVICE, transport, codec))
}

async fn play(teller: &Teller<'_>, broker: SocketAddr, service: &Service) -> Result<()> {
    service.connected().await?;
    teller.say("a worker has subscribed to edgex/# and sensors/#");
    let device = Device::connect(broker).await?;
    teller.say("a device has connected by MQTT 5, QoS 1");
    let played = script::play(teller, &device, service).await;
    device.leave().await;
    played
}

#[cfg(not(feature = "embedded-mqtt"))]
mod broker {
    //! There is none.

    use std::net::SocketAddr;

    use anyhow::{Result, bail};

    #[expect(clippy::unused_async, reason = "the broker that there may be takes its time to start")]
    pub(crate) async fn start() -> Result<SocketAddr> {
        bail!("this postroad was built without one: build it with `--features embedded-mqtt`")
    }
}
