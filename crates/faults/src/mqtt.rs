//! MQTT by rumqttc, which shares nothing with the client under test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::time::timeout;
use uuid::Uuid;

/// For an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Far above every message of these runs.
const PACKET: usize = 16 << 20;
/// Packet ids go from 1 to this.
const INFLIGHT: u16 = 1_000;

/// Sends at QoS 1.
pub(crate) struct Publisher {
    client: AsyncClient,
    events: EventLoop,
    sent: usize,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Publisher {
    /// After `Ok` the broker has taken the connection.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let (client, mut events) = client(address, &Uuid::new_v4().simple().to_string());
        until(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await?;
        Ok(Self { client, events, sent: 0 })
    }

    /// After `Ok` the broker has acknowledged each; tells of each by its index, whatever comes of the rest.
    pub(crate) async fn publish(
        &mut self,
        messages: &[(String, Vec<u8>)],
        acknowledged: impl FnMut(usize),
    ) -> Result<()> {
        self.publish_with(messages, QoS::AtLeastOnce, false, acknowledged).await
    }

    /// The same, retained where that is wanted, and at another QoS; nothing of QoS 0 is acknowledged.
    pub(crate) async fn publish_with(
        &mut self,
        messages: &[(String, Vec<u8>)],
        qos: QoS,
        retain: bool,
        mut acknowledged: impl FnMut(usize),
    ) -> Result<()> {
        let mut waiting = HashMap::new();
        for (index, (topic, body)) in messages.iter().enumerate() {
            self.client.try_publish(topic, qos, retain, body.clone())?;
            if qos != QoS::AtMostOnce {
                waiting.insert(self.sent % usize::from(INFLIGHT) + 1, index);
                self.sent += 1;
            }
        }
        while !waiting.is_empty() {
            let packet = until(&mut self.events, |packet| matches!(packet, Packet::PubAck(_)));
            let Packet::PubAck(ack) = packet.await? else { bail!("nothing else is asked for") };
            acknowledged(waiting.remove(&ack.pkid.into()).context("it was not sent")?);
        }
        Ok(())
    }

    /// Waits a moment for what nobody acknowledges to leave.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        for _ in 0..20 {
            match timeout(Duration::from_millis(20), self.events.poll()).await {
                Ok(event) => drop(event?),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// A client that says nothing yet.
pub(crate) fn client(address: SocketAddr, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    options.set_max_packet_size(PACKET, PACKET).set_inflight(INFLIGHT);
    let (client, mut events) = AsyncClient::new(options, INFLIGHT.into());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

async fn until(events: &mut EventLoop, wanted: impl Fn(&Packet) -> bool) -> Result<Packet> {
    timeout(ANSWER, async {
        loop {
            match events.poll().await? {
                Event::Incoming(packet) if wanted(&packet) => return Ok(packet),
                _ => {}
            }
        }
    })
    .await
    .context("the broker does not answer")?
}
