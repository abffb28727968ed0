//! The ceilings of MQTT: paho alone, doing what the transport does with it and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, PersistenceType, Properties,
    PropertyCode,
};

/// As many unacknowledged messages as the transport allows itself.
const WINDOW: usize = 100;
const WAIT: Duration = Duration::from_secs(30);
const QOS: i32 = 1;

/// A client with a session that outlives its connection, if `session` names one. Its calls block.
pub(crate) fn connect(url: &str, session: Option<&str>) -> Result<AsyncClient> {
    let options = CreateOptionsBuilder::new()
        .server_uri(url.replace("mqtt://", "tcp://"))
        .client_id(session.unwrap_or_default())
        .mqtt_version(paho_mqtt::MQTT_VERSION_5)
        .persistence(PersistenceType::None)
        .max_buffered_messages(4 * i32::try_from(WINDOW)?)
        .finalize();
    AsyncClient::new(options).context("cannot make a paho client")
}

fn open(client: &AsyncClient, keep: bool) -> Result<()> {
    let mut properties = Properties::new();
    if keep {
        properties.push_int(PropertyCode::SessionExpiryInterval, i32::MAX)?;
    }
    let options = ConnectOptionsBuilder::new_v5()
        .clean_start(!keep)
        .max_inflight(i32::try_from(WINDOW)?)
        .properties(properties)
        .finalize();
    client.connect(options).wait_for(WAIT).context("cannot connect to the MQTT broker")?;
    Ok(())
}

/// Publishes with a window in flight; the time until the last acknowledgement.
pub(crate) fn publish(url: &str, topic: &str, bodies: &[Vec<u8>]) -> Result<Duration> {
    let client = connect(url, None)?;
    open(&client, false)?;
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

/// Makes a session that keeps what is published to `topic` from here on.
pub(crate) fn subscribe(url: &str, session: &str, topic: &str) -> Result<()> {
    let client = connect(url, Some(session))?;
    open(&client, true)?;
    client.subscribe(topic, QOS).wait_for(WAIT).context("cannot subscribe")?;
    client.disconnect(None).wait_for(WAIT)?;
    Ok(())
}

/// Counts what the session kept; the time until `messages` have come.
pub(crate) fn receive(url: &str, session: &str, messages: usize) -> Result<Duration> {
    let client = connect(url, Some(session))?;
    let (count, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, weighed) = (Arc::clone(&count), Arc::clone(&bytes));
    client.set_message_callback(move |_, message| {
        if let Some(message) = message {
            weighed.fetch_add(message.payload().len(), Ordering::Relaxed);
            counted.fetch_add(1, Ordering::Release);
        }
    });
    let started = Instant::now();
    open(&client, true)?;
    while count.load(Ordering::Acquire) < messages {
        ensure!(started.elapsed() < Duration::from_mins(2), "not every message came");
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = started.elapsed();
    ensure!(bytes.load(Ordering::Relaxed) > 0, "nothing was received");
    client.disconnect(None).wait_for(WAIT)?;
    Ok(time)
}
