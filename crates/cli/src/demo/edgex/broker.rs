//! The MQTT broker of the demo, rumqttd, inside this process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const START: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// Starts it on a free port that only this machine reaches. After `Ok` it accepts MQTT 5, and does so until the process
/// ends: it knows no other end.
pub(crate) async fn start() -> Result<SocketAddr> {
    let address = free_address().context("no free port")?;
    let mut broker = Broker::new(config(address));
    let thread = thread::Builder::new().name("mqtt-broker".to_owned());
    // Why it ends it tells nobody but the log.
    let thread = thread.spawn(move || broker.start().ok())?;
    let answers = async {
        while TcpStream::connect(address).await.is_err() {
            if thread.is_finished() {
                bail!("it cannot listen on {address}");
            }
            sleep(LOOK).await;
        }
        Ok(address)
    };
    timeout(START, answers).await.context("it does not answer")?
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 1 << 20,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "mqtt-5".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    Config {
        router: RouterConfig {
            max_connections: 10,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([(server.name.clone(), server)])),
        ..Config::default()
    }
}
