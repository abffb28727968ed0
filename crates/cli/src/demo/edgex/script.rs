//! What the device says, and what becomes of it.

use anyhow::{Result, ensure};
use postroad_store::query::inbox::InboxRecord;
use serde_json::Value;

use super::device::{Device, event, fresh, metric, request, v3_envelope, v4_envelope};
use crate::demo::Teller;
use crate::demo::service::Service;

const EVENTS: &str = "edgex/events/device/device-press/press/press-4/force";
const EXPORTED: &str = "edgex/export/press-4";
const TELEMETRY: &str = "edgex/telemetry/device-press/EventsSent";
const DAMAGED: &str = "edgex/events/device/device-press/press/press-4/damaged";
const SENSOR: &str = "sensors/hall-2/temperature";

pub(crate) async fn play(teller: &Teller<'_>, device: &Device, ebmr: &Service) -> Result<()> {
    events(teller, device, ebmr).await?;
    twice(teller, device, ebmr).await?;
    not_edgex(teller, device, ebmr).await?;
    malformed(teller, device, ebmr).await
}

/// One event in each of the forms that EdgeX has for it.
async fn events(teller: &Teller<'_>, device: &Device, ebmr: &Service) -> Result<()> {
    let [first, second, third] = ["11.5", "12.5", "13.5"].map(|force| event(&fresh(), force));
    let messages = [
        ("in the envelope of EdgeX 3, in base64", EVENTS, v3_envelope(&request(&first)), &first),
        ("in the envelope of EdgeX 4, inline", EVENTS, v4_envelope(&request(&second)), &second),
        ("bare, as an application service exports it", EXPORTED, third.to_string(), &third),
    ];
    for (form, topic, message, event) in messages {
        device.publish(topic, message).await?;
        teller.say(format_args!("the device publishes an event {form}"));
        let row = ebmr.take("the event", |row| event["id"] == row.message_id).await?;
        let payload: Value = serde_json::from_str(&row.payload)?;
        ensure!(payload["data"] == *event, "not the event that was sent: {row:?}");
        let value = event["readings"][0]["value"].as_str().unwrap_or_default();
        teller.say(format_args!("ebmr has it in its inbox: {}, {value} kN", kind(&row)));
    }
    Ok(())
}

/// One delivered twice, as at QoS 1 after a lost acknowledgement.
async fn twice(teller: &Teller<'_>, device: &Device, ebmr: &Service) -> Result<()> {
    let id = fresh();
    let message = v4_envelope(&request(&event(&id, "14.5")));
    device.publish(EVENTS, message.clone()).await?;
    device.publish(EVENTS, message).await?;
    teller.say("the device publishes one event twice");
    ebmr.take("the event", |row| row.message_id == id).await?;
    device.publish(TELEMETRY, v4_envelope(&metric())).await?;
    teller.say("the device publishes a metric");
    // One subscription, one order: when this is there, so were both of the others.
    let row = ebmr.take("the metric", |row| row.topic == TELEMETRY).await?;
    teller.say(format_args!("ebmr has the event once, and the metric: {}", kind(&row)));
    Ok(())
}

async fn not_edgex(teller: &Teller<'_>, device: &Device, ebmr: &Service) -> Result<()> {
    device.publish(SENSOR, "21.50").await?;
    teller.say(format_args!("a sensor that knows nothing of EdgeX publishes 21.50 to {SENSOR}"));
    let row = ebmr.take("the temperature", |row| row.topic == SENSOR).await?;
    teller.say(format_args!("ebmr has it to the digit: {}, {}", kind(&row), row.payload));
    Ok(())
}

async fn malformed(teller: &Teller<'_>, device: &Device, ebmr: &Service) -> Result<()> {
    let message = v4_envelope(&request(&event(&fresh(), "15.5")));
    let damaged = message[..message.len() / 2].to_owned();
    device.publish(DAMAGED, damaged.clone()).await?;
    teller.say("the device publishes an event that breaks off");
    let kept = ebmr.quarantined(DAMAGED).await?;
    ensure!(kept.body == damaged.as_bytes(), "not as it came: {kept:?}");
    teller.say(format_args!("it is in quarantine as it came, {}: {}", kept.reason, kept.detail));
    Ok(())
}

fn kind(row: &InboxRecord) -> &str {
    row.event_type.as_deref().unwrap_or_default()
}
