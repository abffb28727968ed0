//! What was found out about a message.

use std::borrow::Cow;

use crate::envelope::Envelope;
use crate::json::{Json, Sanitized};

/// A message that will be a row.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// `request`, `response`, `event` or `raw`.
    pub(crate) message_type: &'static str,
    pub(crate) message_status: Option<&'static str>,
    pub(crate) event_type: Cow<'static, str>,
    /// The id that the sender gave to an event or a notification.
    pub(crate) own_id: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    /// Who sent it, if that can be told.
    pub(crate) source: Option<String>,
    pub(crate) data: Json<'a>,
    pub(crate) encoding: &'static str,
    /// How it was wrapped; `raw` where it is not of EdgeX.
    pub(crate) shape: &'static str,
    pub(crate) envelope: Envelope<'a>,
    pub(crate) sanitized: Sanitized,
}

/// A message that belongs to EdgeX and cannot be understood, with what its envelope still gave.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) detail: String,
    pub(crate) shape: &'static str,
    pub(crate) request_id: Option<String>,
    pub(crate) correlation_id: Option<String>,
}

/// The `shape` of what is not of EdgeX.
pub(crate) const RAW: &str = "raw";

pub(crate) const EVENT: &str = "event";
pub(crate) const REQUEST: &str = "request";
pub(crate) const RESPONSE: &str = "response";
pub(crate) const EVENT_TYPE: &str = "edgex.event";

/// The `event_type` of several events in one message.
pub(crate) const BATCH_TYPE: &str = "edgex.event.batch";

impl<'a> Found<'a> {
    /// Whether it is of EdgeX.
    pub(crate) fn is_edgex(&self) -> bool {
        self.shape != RAW
    }

    /// Whether its request id stands for one message on a topic.
    pub(crate) fn asks_or_answers(&self) -> bool {
        matches!(self.message_type, REQUEST | RESPONSE)
    }

    /// Puts it into its envelope, which counts before the request within.
    pub(crate) fn within(mut self, mut envelope: Envelope<'a>) -> Self {
        if let Some(id) = envelope.id("requestID") {
            self.request_id = Some(id.to_owned());
        }
        if let Some(version) = self.envelope.field("apiVersion") {
            envelope.fill("apiVersion", version.clone());
        }
        envelope.extra.append(&mut self.envelope.extra);
        self.envelope = envelope;
        self
    }
}

impl Broken {
    pub(crate) fn without_envelope(detail: String) -> Self {
        Self { detail, shape: RAW, request_id: None, correlation_id: None }
    }

    pub(crate) fn in_envelope(
        detail: String,
        shape: &'static str,
        envelope: &Envelope<'_>,
    ) -> Self {
        let id = |name| envelope.id(name).map(str::to_owned);
        Self { detail, shape, request_id: id("requestID"), correlation_id: id("correlationID") }
    }
}

pub(crate) fn notification<'a>(json: Json<'a>, encoding: &'static str) -> Found<'a> {
    let mut found = edgex(json, encoding, "notification");
    found.event_type = "edgex.notification".into();
    found.own_id = found.data.get("Id").and_then(Json::id).map(str::to_owned);
    found.source = Some("support-notifications".to_owned());
    found
}

pub(crate) fn edgex<'a>(data: Json<'a>, encoding: &'static str, shape: &'static str) -> Found<'a> {
    Found {
        message_type: EVENT,
        message_status: None,
        event_type: Cow::Borrowed(EVENT_TYPE),
        own_id: None,
        request_id: None,
        reply_to: None,
        source: None,
        data,
        encoding,
        shape,
        envelope: Envelope::default(),
        sanitized: Sanitized::default(),
    }
}

pub(crate) fn raw<'a>(
    event_type: &'static str,
    data: Json<'a>,
    encoding: &'static str,
) -> Found<'a> {
    Found { message_type: RAW, event_type: event_type.into(), ..edgex(data, encoding, RAW) }
}

pub(crate) fn raw_text(text: &str) -> Found<'_> {
    let mut sanitized = Sanitized::default();
    let data = Json::Text(sanitized.text(text));
    Found { sanitized, ..raw("mqtt.text", data, "text") }
}

pub(crate) fn raw_bytes(bytes: &[u8]) -> Found<'_> {
    raw("mqtt.binary", Json::Bytes(bytes.into()), "base64")
}
