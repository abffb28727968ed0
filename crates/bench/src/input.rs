//! What is sent: topic, payloads, bodies and rows.

use anyhow::Result;
use postroad_envelope::{Limits, OutboxColumns, normalise_outbound};
use postroad_store::{Database, NewMessage, enqueue_all};
use postroad_transport::Incoming;
use postroad_worker_core::{InboxEntry, decode};
use uuid::Uuid;

/// Topic of every message.
pub(crate) const TOPIC: &str = "event.bench.machine.measured";
/// Rows that are written by one statement.
const FILL: usize = 1_000;

/// A payload of about `bytes` bytes, as machines send them: short names, numbers, some text.
pub(crate) fn payload(n: usize, bytes: usize) -> String {
    let reading = |axis: usize| {
        let value = (n * 37 + axis * 11) % 10_000;
        format!(r#"{{"resource":"Axis{axis:02}","value":{value}.25,"unit":"mm/s"}}"#)
    };
    let readings: Vec<_> = (1..=bytes.saturating_sub(60) / reading(1).len()).map(reading).collect();
    let readings = readings.join(",");
    format!(r#"{{"device":"Press-{:05}","sequence":{n},"readings":[{readings}]}}"#, n % 997)
}

/// A row to be sent.
pub(crate) fn row(n: usize, bytes: usize, config_key: &str) -> NewMessage {
    let event = NewMessage::event(TOPIC, "measured", ()).config_key(config_key);
    NewMessage { payload: payload(n, bytes), ..event }
}

/// The bytes on the wire for a payload.
pub(crate) fn body(n: usize, bytes: usize) -> Vec<u8> {
    let row = OutboxColumns {
        id: format!("body-{}-{n}", Uuid::new_v4().simple()),
        topic: TOPIC.to_owned(),
        event_type: Some("measured".to_owned()),
        payload: payload(n, bytes),
        ..OutboxColumns::default()
    };
    normalise_outbound(&row, "bench", &Limits::default())
        .expect("the benchmark's rows are valid")
        .body
}

pub(crate) fn bodies(messages: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..messages).map(|n| body(n, bytes)).collect()
}

/// A message as it arrived, decoded.
pub(crate) fn entry(n: usize, bytes: usize) -> InboxEntry {
    let body = body(n, bytes).into();
    decode(&Incoming { topic: TOPIC.to_owned(), body, ..Incoming::default() }, &Limits::default())
}

/// Rows of a config of their own, whose key is returned.
pub(crate) async fn fill(database: &Database, rows: usize, bytes: usize) -> Result<String> {
    let key = Uuid::new_v4().to_string();
    fill_for(database, rows, bytes, &key).await?;
    Ok(key)
}

/// Rows of a config.
pub(crate) async fn fill_for(
    database: &Database,
    rows: usize,
    bytes: usize,
    key: &str,
) -> Result<()> {
    for from in (0..rows).step_by(FILL) {
        let some = (from..rows.min(from + FILL)).map(|n| row(n, bytes, key));
        enqueue_all(database.connection(), some).await?;
    }
    Ok(())
}
