//! A press that EdgeX looks after, and what is published for it.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use postroad_transport::{Outgoing, Publisher, Transport};
use postroad_transport_mqtt::{MqttPublisher, MqttSettings, MqttTransport};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A real MQTT client.
pub(crate) struct Device {
    publisher: MqttPublisher,
}

impl Device {
    pub(crate) async fn connect(broker: SocketAddr) -> Result<Self> {
        let transport = MqttTransport::new(MqttSettings {
            hosts: vec![(broker.ip().to_string(), broker.port())],
            client_id: "device-press".to_owned(),
            ..MqttSettings::default()
        })?;
        let publisher = transport.connect_publisher().await.context("the device cannot connect")?;
        Ok(Self { publisher })
    }

    /// Publishes exactly these bytes. After `Ok` the broker has them.
    pub(crate) async fn publish(&self, topic: &str, body: impl Into<Bytes>) -> Result<()> {
        let message = Outgoing {
            topic: topic.to_owned(),
            body: body.into(),
            message_id: String::new(),
            message_type: None,
            correlation_id: None,
            reply_to: None,
            app_id: None,
            timestamp: None,
            headers: Map::new(),
        };
        self.publisher
            .publish(message)
            .await
            .with_context(|| format!("the device cannot publish to {topic}"))
    }

    pub(crate) async fn leave(self) {
        self.publisher.close().await;
    }
}

/// An event with one reading.
pub(crate) fn event(id: &str, force_kn: &str) -> Value {
    let origin = nanoseconds();
    json!({
        "apiVersion": "v3", "id": id, "deviceName": "press-4", "profileName": "press", "sourceName": "force",
        "origin": origin,
        "readings": [{
            "id": fresh(), "origin": origin, "deviceName": "press-4", "resourceName": "force",
            "profileName": "press", "valueType": "Float64", "units": "kN", "value": force_kn,
        }],
    })
}

/// What a device service wraps an event in.
pub(crate) fn request(event: &Value) -> Value {
    json!({ "apiVersion": "v3", "requestId": fresh(), "event": event })
}

pub(crate) fn metric() -> Value {
    json!({
        "apiVersion": "v3", "name": "EventsSent", "fields": [{ "name": "counter-count", "value": 4 }],
        "tags": [{ "name": "service", "value": "device-press" }], "timestamp": nanoseconds(),
    })
}

/// The envelope of EdgeX 3, which holds its payload in base64.
pub(crate) fn v3_envelope(payload: &Value) -> String {
    envelope(&BASE64_STANDARD.encode(payload.to_string()).into())
}

/// The envelope of EdgeX 4, which holds its payload as it is. Its API is still v3.
pub(crate) fn v4_envelope(payload: &Value) -> String {
    envelope(payload)
}

pub(crate) fn fresh() -> String {
    Uuid::new_v4().to_string()
}

fn envelope(payload: &Value) -> String {
    let envelope = json!({
        "apiVersion": "v3", "receivedTopic": "", "correlationID": fresh(), "requestID": "", "errorCode": 0,
        "payload": payload, "contentType": "application/json",
    });
    envelope.to_string()
}

/// EdgeX counts time in nanoseconds.
fn nanoseconds() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
