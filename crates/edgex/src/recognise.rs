//! What a message is: an EdgeX message of some kind, something else, or malformed.

use crate::Settings;
use crate::address::{Address, Place};
use crate::body::Body;
use crate::content::{Content, Hints};
use crate::dto::{self, Event};
use crate::envelope::Envelope;
use crate::found::{self, BATCH_TYPE, Broken, EVENT, EVENT_TYPE, Found, REQUEST, RESPONSE};
use crate::json::{Json, Sanitized};

/// Tells what a message is. `payload` are the bytes that `body` was read from.
pub(crate) fn recognise<'a>(
    body: Body<'a>,
    payload: &'a [u8],
    address: &Address<'_>,
    settings: &Settings,
) -> Result<Found<'a>, Broken> {
    let reader = Reader { payload, address, settings };
    match body {
        Body::Empty => Ok(found::raw("mqtt.empty", Json::Null, "none")),
        Body::Json(json, sanitized) => reader.tree(json, Form::Json, sanitized),
        Body::Cbor(json, sanitized) => reader.tree(json, Form::Cbor, sanitized),
        Body::Documents(documents, sanitized, text) => reader.documents(documents, sanitized, text),
        Body::Text(text, why) => reader.not_json(why, || found::raw_text(text)),
        Body::Bytes(why) => reader.not_json(why, || found::raw_bytes(payload)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Cbor,
}

struct Reader<'r, 'a> {
    payload: &'a [u8],
    address: &'r Address<'r>,
    settings: &'r Settings,
}

impl<'a> Reader<'_, 'a> {
    fn tree(&self, json: Json<'a>, form: Form, sanitized: Sanitized) -> Result<Found<'a>, Broken> {
        let mut found = match Envelope::of(json, self.expects_request()) {
            Ok(envelope) => self.enveloped(envelope, form),
            Err(json) => self.bare(json, form),
        }?;
        // Bytes that are kept as they came have nothing replaced.
        if found.is_edgex() || form == Form::Json {
            found.sanitized.add(sanitized);
        }
        Ok(found)
    }

    fn expects_request(&self) -> bool {
        self.address.is_edgex && matches!(self.address.place, Place::Request(_))
    }

    fn documents(
        &self,
        documents: Vec<Json<'a>>,
        sanitized: Sanitized,
        text: &'a str,
    ) -> Result<Found<'a>, Broken> {
        let count = documents.len();
        match dto::batch(Json::Array(documents)) {
            Ok((events, inner)) if !self.address.is_answer() => {
                let mut found = self.batch(events, "json", "batch");
                found.sanitized = sanitized;
                found.sanitized.add(inner);
                Ok(found)
            }
            _ => self.not_json(format!("{count} JSON documents one after the other"), || {
                found::raw_text(text)
            }),
        }
    }

    fn not_json(&self, why: String, raw: impl FnOnce() -> Found<'a>) -> Result<Found<'a>, Broken> {
        if self.address.is_edgex { Err(Broken::without_envelope(why)) } else { Ok(raw()) }
    }

    /// What an EdgeX service sends in its envelope.
    fn enveloped(&self, mut envelope: Envelope<'a>, form: Form) -> Result<Found<'a>, Broken> {
        let shape = if form == Form::Cbor { "envelope-cbor" } else { "envelope" };
        let payload = envelope.take_payload();
        let content_type = envelope.content_type();
        let hints = Hints {
            content_type: &content_type,
            is_error: envelope.is_error(),
            in_cbor: form == Form::Cbor,
        };
        let content = Content::of(payload, hints);
        if let Some(problem) = content.broken {
            return Err(Broken::in_envelope(format!("the payload is {problem}"), shape, &envelope));
        }
        let mut found = self.with_content(content.data, content.encoding, shape, envelope)?;
        found.sanitized.add(content.sanitized);
        Ok(found)
    }

    fn with_content(
        &self,
        data: Json<'a>,
        encoding: &'static str,
        shape: &'static str,
        envelope: Envelope<'a>,
    ) -> Result<Found<'a>, Broken> {
        let data = match self.events(data, encoding, shape) {
            Ok(found) => return Ok(found.within(envelope)),
            Err(data) => data,
        };
        let request_id = envelope.id("requestID").map(str::to_owned);
        let mut found = found::edgex(data, encoding, shape);
        found.request_id = request_id;
        match &self.address.place {
            Place::Answer(answer) => {
                let status = if envelope.is_error() { "error" } else { "success" };
                found.message_type = RESPONSE;
                found.message_status = Some(status);
                found.event_type = answer.event_type.into();
                found.source = answer.source.as_deref().map(str::to_owned);
                let inner = found.data.get("requestId").and_then(Json::id);
                let elsewhere = answer.request_id.or(inner).map(str::to_owned);
                found.request_id = found.request_id.or(elsewhere);
            }
            Place::Request(request) => {
                let id = found.request_id.as_deref();
                found.reply_to = request.reply_to(&self.settings.base_prefix, id, envelope.is_v2());
                found.message_type = REQUEST;
                found.event_type = request.event_type.into();
                found.source = request.source.map(str::to_owned);
            }
            _ if self.is_told_by_topic(&mut found) => {}
            _ if self.address.is_edgex => {
                let detail = self.unexpected(&found.data);
                return Err(Broken::in_envelope(detail, shape, &envelope));
            }
            _ => found.event_type = "edgex.message".into(),
        }
        Ok(found.within(envelope))
    }

    /// What comes without an envelope.
    fn bare(&self, json: Json<'a>, form: Form) -> Result<Found<'a>, Broken> {
        let encoding = if form == Form::Cbor { "cbor" } else { "json" };
        let shape = match &json {
            Json::Array(_) => "batch",
            event if event.has("readings") => EVENT,
            _ => "add-event-request",
        };
        let json = match self.events(json, encoding, shape) {
            Ok(found) => return Ok(found),
            Err(json) => json,
        };
        if !self.address.is_answer() && dto::is_notification(&json) {
            return Ok(found::notification(json, encoding));
        }
        let mut found = found::edgex(json, encoding, "dto");
        if self.is_told_by_topic(&mut found) {
            Ok(found)
        } else if self.address.is_edgex {
            Err(Broken::without_envelope(self.unexpected(&found.data)))
        } else if form == Form::Cbor {
            Ok(found::raw_bytes(self.payload))
        } else {
            Ok(found::raw("mqtt.json", found.data, "json"))
        }
    }

    /// An event or several of them; anything else comes back, and so does the event that an answer holds.
    fn events(
        &self,
        json: Json<'a>,
        encoding: &'static str,
        shape: &'static str,
    ) -> Result<Found<'a>, Json<'a>> {
        if self.address.is_answer() {
            return Err(json);
        }
        let json = match dto::event(json) {
            Ok(event) => return Ok(self.event(event, encoding, shape)),
            Err(json) => json,
        };
        let (events, sanitized) = dto::batch(json)?;
        Ok(Found { sanitized, ..self.batch(events, encoding, shape) })
    }

    fn event(&self, event: Event<'a>, encoding: &'static str, shape: &'static str) -> Found<'a> {
        let Event { event, request } = event;
        let mut found = found::edgex(event, encoding, shape);
        found.event_type = EVENT_TYPE.into();
        found.own_id = found.data.get("id").and_then(Json::id).map(str::to_owned);
        found.source = self.address.event_source.as_deref().map(str::to_owned);
        if let Some(request) = request {
            found.request_id = request.request_id.as_ref().and_then(Json::id).map(str::to_owned);
            if let Some(api_version) = request.api_version {
                found.envelope.fill("apiVersion", api_version);
            }
            found.envelope.extra = request.extra;
        }
        found
    }

    fn batch(&self, events: Json<'a>, encoding: &'static str, shape: &'static str) -> Found<'a> {
        Found {
            event_type: BATCH_TYPE.into(),
            source: self.address.event_source.as_deref().map(str::to_owned),
            ..found::edgex(events, encoding, shape)
        }
    }

    /// Whether topic and shape together say what it is: a system event, a metric or a change of the configuration.
    fn is_told_by_topic(&self, found: &mut Found<'a>) -> bool {
        match &self.address.place {
            Place::SystemEvents(service) => {
                let Some(event_type) = dto::system_event(&found.data) else { return false };
                let said = found.data.get("source").and_then(Json::id);
                found.source = said.or(service.as_deref()).map(str::to_owned);
                let details = found.data.get("details");
                let inner = details.and_then(|details| details.get("requestId")?.id());
                found.request_id = found.request_id.take().or(inner.map(str::to_owned));
                found.event_type = event_type;
            }
            Place::Metrics(service) if dto::is_metric(&found.data) => {
                found.event_type = "edgex.metric".into();
                found.source = service.as_deref().map(str::to_owned);
            }
            Place::ConfigChanges if dto::is_config_change(&found.data) => {
                found.event_type = "edgex.config_change".into();
                found.source = Some("core-keeper".to_owned());
            }
            _ => return false,
        }
        true
    }

    fn unexpected(&self, data: &Json<'_>) -> String {
        let expected = match self.address.place {
            Place::Events => "an event",
            Place::Request(_) => "a request in its envelope",
            Place::Answer(_) => "an answer in its envelope",
            Place::SystemEvents(_) => "a system event",
            Place::Metrics(_) => "a metric",
            Place::ConfigChanges => "a change of the configuration",
            Place::Elsewhere => "something of EdgeX",
        };
        let is = match data {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a text",
            Json::Bytes(_) => "bytes",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        };
        format!("{is}, which is not {expected} as the topic has it")
    }
}
