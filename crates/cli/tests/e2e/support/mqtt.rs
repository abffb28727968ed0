//! MQTT as another service sees it, by a client that shares nothing with the program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

const WAIT: Duration = Duration::from_mins(3);
/// Far above every message of these tests.
const PACKET: usize = 64 << 20;
/// Packet ids go from 1 to this.
const INFLIGHT: u16 = 1_000;

/// One message, as it is sent or came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
}

/// Sends at QoS 1.
pub(crate) struct Publisher {
    client: AsyncClient,
    events: EventLoop,
    sent: usize,
}

/// Hears what fits a filter, at QoS 1 and in a session that outlives every connection.
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<Letter>>>,
    task: JoinHandle<()>,
}

impl Letter {
    pub(crate) fn new(topic: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.to_owned(), payload: payload.into(), retain: false }
    }
}

impl Publisher {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, ConnectionError> {
        let (client, mut events) = client(address);
        until_packet(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await?;
        Ok(Self { client, events, sent: 0 })
    }

    /// After `Ok` the broker has acknowledged each.
    pub(crate) async fn publish(&mut self, letters: &[Letter]) -> Result<(), ConnectionError> {
        self.publish_and(letters, |_| ()).await
    }

    /// The same, and tells of each acknowledged one by its index, whatever comes of the rest.
    pub(crate) async fn publish_and(
        &mut self,
        letters: &[Letter],
        mut acknowledged: impl FnMut(usize),
    ) -> Result<(), ConnectionError> {
        assert!(letters.len() <= INFLIGHT.into(), "an id would be used twice");
        let mut waiting = HashMap::new();
        for (index, letter) in letters.iter().enumerate() {
            let Letter { topic, payload, retain } = letter.clone();
            self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
            waiting.insert(self.sent % usize::from(INFLIGHT) + 1, index);
            self.sent += 1;
        }
        while !waiting.is_empty() {
            let packet =
                until_packet(&mut self.events, |packet| matches!(packet, Packet::PubAck(_)));
            let Packet::PubAck(ack) = packet.await? else {
                unreachable!("nothing else is asked for")
            };
            acknowledged(waiting.remove(&ack.pkid.into()).expect("it was sent"));
        }
        Ok(())
    }
}

impl Listener {
    pub(crate) async fn start(address: SocketAddr, filter: &str) -> Self {
        let (client, mut events) = client(address);
        events.mqtt_options.set_clean_session(false);
        client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        until_packet(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await.unwrap();
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let task = tokio::spawn(listen(events, heard.clone()));
        Self { heard, task }
    }

    /// All that came up to now.
    pub(crate) fn heard(&self) -> Vec<Letter> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(mut events: EventLoop, heard: Arc<Mutex<Vec<Letter>>>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => heard.lock().unwrap().push(Letter {
                topic: publish.topic,
                payload: publish.payload.into(),
                retain: publish.retain,
            }),
            Ok(_) => {}
            // The next poll connects again.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn client(address: SocketAddr) -> (AsyncClient, EventLoop) {
    let id = Uuid::new_v4().simple().to_string();
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    options.set_max_packet_size(PACKET, PACKET).set_inflight(INFLIGHT);
    let (client, mut events) = AsyncClient::new(options, INFLIGHT.into());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

async fn until_packet(
    events: &mut EventLoop,
    wanted: impl Fn(&Packet) -> bool,
) -> Result<Packet, ConnectionError> {
    timeout(WAIT, async {
        loop {
            match events.poll().await? {
                Event::Incoming(packet) if wanted(&packet) => return Ok(packet),
                _ => {}
            }
        }
    })
    .await
    .expect("the broker answers")
}
