//! `postroad edgex`.

use std::process::ExitCode;

use anyhow::Result;
use postroad_transport::{Incoming, MqttFlags};
use postroad_worker_core::{Codec, InboxEntry, InboxRow, Quarantined, Settings};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::Edgex;
use crate::commands::input;
use crate::mqtt::MqttCodec;
use crate::output::Output;

/// What a message would become, by the columns of its table.
#[derive(Serialize)]
struct Preview<'a> {
    stored_in: &'static str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Row<'a>>,
    reason: Option<&'static str>,
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    message_id: &'a str,
    message_type: &'static str,
    message_status: Option<&'static str>,
    event_type: Option<&'a str>,
    source_service: Option<&'a str>,
    request_id: Option<&'a str>,
    reply_to: Option<&'a str>,
    parent_request_id: Option<&'a str>,
    chain_depth: u32,
    payload: &'a RawValue,
    headers: Option<&'a RawValue>,
}

pub(crate) fn run(command: &Edgex, output: &Output) -> Result<ExitCode> {
    let Edgex::Decode { topic, base_prefix, qos, retain, file, json } = command;
    let incoming = Incoming {
        topic: topic.clone(),
        body: input::read(file)?.into(),
        mqtt: Some(MqttFlags { qos: *qos, retain: *retain, dup: false }),
        ..Incoming::default()
    };
    let codec = MqttCodec { base_prefix: base_prefix.clone() };
    match codec.decode(&incoming, &Settings::new("default", "mqtt")) {
        InboxEntry::Message(row) => print(&stored(&row)?, *json, output)?,
        InboxEntry::Quarantine(kept) => print(&kept_apart(&kept), *json, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(preview: &Preview<'_>, json: bool, output: &Output) -> Result<()> {
    if json {
        return output.json(preview);
    }
    output.record(&Preview { row: None, ..*preview })?;
    match &preview.row {
        Some(row) => output.record(row),
        None => Ok(()),
    }
}

fn stored(row: &InboxRow) -> Result<Preview<'_>> {
    let columns = Row {
        message_id: &row.message_id,
        message_type: row.message_type,
        message_status: row.message_status,
        event_type: row.event_type.as_deref(),
        source_service: row.source_service.as_deref(),
        request_id: row.request_id.as_deref(),
        reply_to: row.reply_to.as_deref(),
        parent_request_id: row.parent_request_id.as_deref(),
        chain_depth: row.chain_depth,
        payload: serde_json::from_str(&row.payload)?,
        headers: row.headers.as_deref().map(serde_json::from_str).transpose()?,
    };
    let topic = &row.topic;
    Ok(Preview {
        stored_in: "inbound_event",
        topic,
        row: Some(columns),
        reason: None,
        detail: None,
    })
}

fn kept_apart(kept: &Quarantined) -> Preview<'_> {
    Preview {
        stored_in: "quarantined_message",
        topic: &kept.topic,
        row: None,
        reason: Some(kept.reason),
        detail: Some(&kept.detail),
    }
}
