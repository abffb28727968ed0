//! An independent recorder: another client than ours, which notes what really crossed the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use postroad_testbed::Url;
use rumqttc::{Event, Packet, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::amqp::{Client, Properties};
use crate::ids::Way;
use crate::ledger::Ledger;
use crate::mqtt;

/// Between two attempts to reach a broker that is away.
const RETRY: Duration = Duration::from_millis(50);
/// Messages that the recorder has and has not acknowledged.
const PREFETCH: u16 = 500;
/// So long nothing comes before what came is acknowledged.
const IDLE: Duration = Duration::from_millis(20);
/// How a message begins that only says that all before it was noted.
const MARK: &[u8] = b"mark ";
/// For the first connection and for a mark.
const SOON: Duration = Duration::from_mins(1);

/// Where a recorder listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A durable queue that all events of an exchange go to.
    Amqp {
        /// The broker, past all faults.
        url: Url,
        /// Its exchange.
        exchange: String,
        /// The recorder's own queue.
        queue: String,
    },
    /// A persistent session with the topics of a cell.
    Mqtt {
        /// The broker, past all faults.
        address: SocketAddr,
        /// The cell.
        tag: String,
    },
}

/// It listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    place: Place,
    marks: watch::Receiver<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// After `Ok` it gets everything.
    pub(crate) async fn start(place: Place, ledger: Arc<Ledger>) -> Result<Self> {
        let (marked, mut marks) = watch::channel(Vec::new());
        let task = tokio::spawn(listen(place.clone(), ledger, marked));
        let listening = timeout(SOON, marks.wait_for(|mark| !mark.is_empty())).await;
        listening.context("the recorder cannot listen")??;
        Ok(Self { place, marks, task })
    }

    /// After `Ok` it has noted everything that the broker had for it before this.
    pub(crate) async fn catch_up(&mut self) -> Result<()> {
        let mark = [MARK, Uuid::new_v4().as_bytes()].concat();
        match &self.place {
            Place::Amqp { url, queue, .. } => {
                let mut client = Client::connect(url).await?;
                client.publish("", queue.as_bytes(), &Properties::default(), &mark).await?;
                client.confirm().await?;
            }
            Place::Mqtt { address, tag } => {
                let mut publisher = mqtt::Publisher::connect(*address).await?;
                publisher.publish(&[(mark_topic(tag), mark.clone())], |_| ()).await?;
            }
        }
        let found = timeout(SOON, self.marks.wait_for(|found| *found == mark)).await;
        found.context("the recorder does not catch up")?.map(drop).context("it has ended")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(place: Place, ledger: Arc<Ledger>, marked: watch::Sender<Vec<u8>>) {
    loop {
        // The broker is away now and then; that is the point.
        match &place {
            Place::Amqp { url, exchange, queue } => {
                listen_amqp(url, exchange, queue, &ledger, &marked).await.ok();
            }
            Place::Mqtt { address, tag } => listen_mqtt(*address, tag, &ledger, &marked).await,
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_amqp(
    url: &Url,
    exchange: &str,
    queue: &str,
    ledger: &Ledger,
    marked: &watch::Sender<Vec<u8>>,
) -> Result<()> {
    let mut client = Client::connect(url).await?;
    client.declare_exchange(exchange).await?;
    client.declare_queue(queue).await?;
    client.bind(queue, exchange, "event.#").await?;
    let mut consumer = client.consume(queue, PREFETCH).await?;
    say(marked, b"listening");
    let (mut last, mut acknowledged) = (0, 0);
    loop {
        match timeout(IDLE, consumer.next()).await {
            Ok(message) => {
                let message = message?;
                last = message.tag;
                if message.body.starts_with(MARK) {
                    say(marked, &message.body);
                } else {
                    ledger.heard(&message.body, message.redelivered);
                }
                if last - acknowledged < u64::from(PREFETCH) / 4 {
                    continue;
                }
            }
            Err(_) if last == acknowledged => continue,
            Err(_) => {}
        }
        consumer.acknowledge(last).await?;
        acknowledged = last;
    }
}

/// Its session outlives its connections.
async fn listen_mqtt(
    address: SocketAddr,
    tag: &str,
    ledger: &Ledger,
    marked: &watch::Sender<Vec<u8>>,
) {
    let (client, mut events) = mqtt::client(address, &format!("recorder-{tag}"));
    events.mqtt_options.set_clean_session(false);
    let topics = Way::ALL.map(|way| way.topic(tag)).into_iter().chain([mark_topic(tag)]);
    for topic in topics {
        client.try_subscribe(topic, QoS::AtLeastOnce).expect("its queue is empty");
    }
    let mut subscribed = 0;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if publish.payload.starts_with(MARK) {
                    say(marked, &publish.payload);
                } else {
                    ledger.heard(&publish.payload, publish.dup);
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                subscribed += 1;
                if subscribed == 3 {
                    say(marked, b"listening");
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn say(marked: &watch::Sender<Vec<u8>>, what: &[u8]) {
    marked.send_replace(what.to_vec());
}

fn mark_topic(tag: &str) -> String {
    format!("mark/{tag}")
}
