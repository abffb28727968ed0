//! The ceilings of MQTT: paho alone, doing what the transport does with it and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, PersistenceType,
};

/// As many unacknowledged messages as the transport allows itself.
const WINDOW: usize = 100;
const WAIT: Duration = Duration::from_secs(30);
const QOS: i32 = 1;

/// A client with a session that ends with its connection. Its calls block.
fn connect(url: &str) -> Result<AsyncClient> {
    let options = CreateOptionsBuilder::new()
        .server_uri(url.replace("mqtt://", "tcp://"))
        .client_id("")
        .mqtt_version(paho_mqtt::MQTT_VERSION_5)
        .persistence(PersistenceType::None)
        .max_buffered_messages(4 * i32::try_from(WINDOW)?)
        .finalize();
    AsyncClient::new(options).context("cannot make a paho client")
}

fn open(client: &AsyncClient) -> Result<()> {
    let options = ConnectOptionsBuilder::new_v5()
        .clean_start(true)
        .max_inflight(i32::try_from(WINDOW)?)
        .finalize();
    client.connect(options).wait_for(WAIT).context("cannot connect to the MQTT broker")?;
    Ok(())
}

/// Publishes with a window in flight; the time until the last acknowledgement.
pub(crate) fn publish(url: &str, topic: &str, bodies: &[Vec<u8>]) -> Result<Duration> {
    let client = connect(url)?;
    open(&client)?;
    let started = Instant::now();
    let mut window = VecDeque::with_capacity(WINDOW);
    for body in bodies {
        if window.len() == WINDOW {
            acknowledged(window.pop_front())?;
        }
        window.push_back(client.publish(Message::new(topic, body.as_slice(), QOS)));
    }
    while !window.is_empty() {
        acknowledged(window.pop_front())?;
    }
    let time = started.elapsed();
    client.disconnect(None).wait_for(WAIT)?;
    Ok(time)
}

fn acknowledged(token: Option<paho_mqtt::DeliveryToken>) -> Result<()> {
    token.context("the window is empty")?.wait_for(WAIT).context("a message was not acknowledged")
}

/// Publishes as [`publish`] does to a second client that only counts; the time until all have come.
pub(crate) fn receive(url: &str, topic: &str, bodies: &[Vec<u8>]) -> Result<Duration> {
    let client = connect(url)?;
    let (count, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, weighed) = (Arc::clone(&count), Arc::clone(&bytes));
    client.set_message_callback(move |_, message| {
        if let Some(message) = message {
            weighed.fetch_add(message.payload().len(), Ordering::Relaxed);
            counted.fetch_add(1, Ordering::Release);
        }
    });
    open(&client)?;
    client.subscribe(topic, QOS).wait_for(WAIT).context("cannot subscribe")?;
    let started = Instant::now();
    publish(url, topic, bodies)?;
    while count.load(Ordering::Acquire) < bodies.len() {
        ensure!(started.elapsed() < Duration::from_mins(2), "not every message came");
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = started.elapsed();
    ensure!(bytes.load(Ordering::Relaxed) > 0, "nothing was received");
    client.disconnect(None).wait_for(WAIT)?;
    Ok(time)
}
