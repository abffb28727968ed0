//! The fields of an envelope as found in body, properties or columns, and the rules they have to keep.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::envelope::{Envelope, Limits, SCHEMA_ID};
use crate::fault::{Fault, Faults, quoted};
use crate::json::{self, Members};
use crate::kinds::{MessageType, ResponseStatus};
use crate::topic::{Topic, check_service_name};

/// The most characters of an id or an event type.
const MAX_CHARACTERS: usize = 255;

/// A value that may be absent, or whose problem is known already.
pub(crate) type Slot<T> = Result<Option<T>, String>;

/// A slot for text.
pub(crate) type TextSlot<'a> = Slot<Cow<'a, str>>;

/// Where fields come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The wire, where a message says what it is.
    Wire,
    /// A row, whose topic tells the type where nothing else does, and where `status` means the row's own state.
    Row,
}

/// An envelope to be, one slot for each field.
pub(crate) struct Fields<'a> {
    pub(crate) schema: TextSlot<'a>,
    pub(crate) message_id: TextSlot<'a>,
    pub(crate) message_type: TextSlot<'a>,
    pub(crate) topic: TextSlot<'a>,
    pub(crate) source_service: TextSlot<'a>,
    pub(crate) request_id: TextSlot<'a>,
    pub(crate) parent_request_id: TextSlot<'a>,
    pub(crate) chain_depth: Slot<u32>,
    pub(crate) reply_to: TextSlot<'a>,
    pub(crate) status: TextSlot<'a>,
    pub(crate) event_type: TextSlot<'a>,
    pub(crate) payload: Slot<&'a RawValue>,
    pub(crate) extra: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// Takes the fields out of a body that passed [`Members::check`].
    pub(crate) fn of(mut members: Members<'a>) -> Self {
        let mut text = |name| members.take(name).map(text_of).transpose();
        Self {
            schema: text("schema"),
            message_id: text("message_id"),
            message_type: text("message_type"),
            topic: text("topic"),
            source_service: text("source_service"),
            request_id: text("request_id"),
            event_type: text("event_type"),
            reply_to: text("reply_to"),
            status: text("status"),
            parent_request_id: members
                .take("parent_request_id")
                .filter(|value| value.get() != "null")
                .map(text_of)
                .transpose(),
            chain_depth: members.take("chain_depth").map(depth_of).transpose(),
            payload: Ok(members.take("payload")),
            extra: members.into_rest(),
        }
    }

    /// Nothing but a payload.
    pub(crate) fn bare(payload: Slot<&'a RawValue>) -> Self {
        Self {
            schema: Ok(Some(SCHEMA_ID.into())),
            message_id: Ok(None),
            message_type: Ok(None),
            topic: Ok(None),
            source_service: Ok(None),
            request_id: Ok(None),
            parent_request_id: Ok(None),
            chain_depth: Ok(None),
            reply_to: Ok(None),
            status: Ok(None),
            event_type: Ok(None),
            payload,
            extra: Vec::new(),
        }
    }

    /// Applies every rule; `Err` has all that are broken, in the order of the contract.
    pub(crate) fn into_envelope(self, origin: Origin, limits: &Limits) -> Result<Envelope, Faults> {
        use MessageType::{Event, Request, Response};

        let mut findings = Findings::default();
        let topic = needed(self.topic, "expected a topic").and_then(|text| topic(&text));
        findings.keep("schema", schema(self.schema));
        let message_id = findings.keep("message_id", message_id(self.message_id));
        let kind = match (self.message_type, origin) {
            // Where the topic does not tell it either, the topic's own fault says so.
            (Ok(None), Origin::Row) => topic.as_ref().ok().map(Topic::message_type),
            (slot, _) => findings.keep("message_type", message_type(slot)),
        };
        let topic = findings.keep("topic", topic.and_then(|topic| of_kind(topic, kind)));
        let source_service = findings.keep("source_service", source_service(self.source_service));
        let request_id = needed_by(&[Request, Response], kind, self.request_id, "its id");
        let request_id = findings.keep("request_id", request_id.and_then(short_text));
        let parent_request_id =
            findings.keep("parent_request_id", self.parent_request_id.and_then(short_text));
        let chain_depth = findings.keep("chain_depth", chain_depth(self.chain_depth, limits));
        let reply_to = needed_by(&[Request], kind, self.reply_to, "a response topic");
        let reply_to = findings.keep("reply_to", reply_to.and_then(response_topic));
        let status = needed_by(&[Response], kind, self.status, "success or error");
        let status = findings.keep(origin.name_of_status(), status.and_then(response_status));
        let event_type = needed_by(&[Event], kind, self.event_type, "its name");
        let event_type = findings.keep("event_type", event_type.and_then(short_text));
        let payload =
            findings.keep("payload", needed(self.payload, "it may be null but not left out"));

        let required = (message_id, kind, topic, source_service, payload, findings.0.as_slice());
        let (
            Some(message_id),
            Some(message_type),
            Some(topic),
            Some(source_service),
            Some(payload),
            [],
        ) = required
        else {
            return Err(Faults::found(findings.0));
        };
        Ok(Envelope {
            message_id,
            message_type,
            topic,
            source_service,
            request_id: request_id.flatten(),
            parent_request_id: parent_request_id.flatten(),
            chain_depth: chain_depth.unwrap_or_default(),
            reply_to: reply_to.flatten(),
            status: status.flatten(),
            event_type: event_type.flatten(),
            payload: payload.to_owned(),
            extra: self
                .extra
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value.to_owned()))
                .collect(),
        })
    }
}

impl Origin {
    fn name_of_status(self) -> &'static str {
        match self {
            Self::Wire => "status",
            Self::Row => "message_status",
        }
    }
}

#[derive(Default)]
struct Findings(Vec<Fault>);

impl Findings {
    fn keep<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(Fault::new(field, problem))).ok()
    }
}

fn text_of(value: &RawValue) -> Result<Cow<'_, str>, String> {
    json::string(value).ok_or_else(|| format!("{}, text is expected", json::described(value)))
}

/// Reads an integer as JSON Schema knows it: `1.0` and `1e0` are 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer in range")]
fn depth_of(value: &RawValue) -> Result<u32, String> {
    let number = serde_json::from_str::<serde_json::Number>(value.get())
        .ok()
        .and_then(|number| number.as_f64());
    match number {
        Some(number) if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) => {
            Ok(number as u32)
        }
        _ => Err(format!(
            "{}, an integer from 0 to {} is expected",
            json::described(value),
            u32::MAX
        )),
    }
}

fn needed<T>(slot: Slot<T>, what: &str) -> Result<T, String> {
    slot?.ok_or_else(|| format!("missing, {what}"))
}

fn needed_by<T>(
    kinds: &[MessageType],
    kind: Option<MessageType>,
    slot: Slot<T>,
    what: &str,
) -> Slot<T> {
    match (slot, kind) {
        (Ok(None), Some(kind)) if kinds.contains(&kind) => {
            Err(format!("missing, {} needs {what}", kind.with_article()))
        }
        (slot, _) => slot,
    }
}

fn schema(slot: TextSlot<'_>) -> Result<(), String> {
    match slot? {
        Some(schema) if schema == SCHEMA_ID => Ok(()),
        Some(schema) => Err(format!("{} is not {SCHEMA_ID:?}", quoted(&schema))),
        None => Err(format!("missing, expected {SCHEMA_ID:?}")),
    }
}

fn message_id(slot: TextSlot<'_>) -> Result<String, String> {
    needed(slot, "every message needs an id").and_then(within_length)
}

fn message_type(slot: TextSlot<'_>) -> Result<MessageType, String> {
    let word = needed(slot, "expected request, response or event")?;
    MessageType::parse(&word)
        .ok_or_else(|| format!("{} is not one of request, response, event", quoted(&word)))
}

fn topic(text: &str) -> Result<Topic, String> {
    Topic::parse(text).map_err(|error| format!("{} is not a topic: {error}", quoted(text)))
}

fn of_kind(topic: Topic, kind: Option<MessageType>) -> Result<Topic, String> {
    match kind {
        Some(kind) if kind != topic.message_type() => {
            let is = topic.message_type().with_article();
            Err(format!("{} is {is} topic, but message_type is {kind}", quoted(topic.as_str())))
        }
        _ => Ok(topic),
    }
}

fn source_service(slot: TextSlot<'_>) -> Result<String, String> {
    let name = needed(slot, "expected the name of the sending service")?;
    check_service_name(&name)
        .map_err(|error| format!("{} cannot name a service: {error}", quoted(&name)))?;
    Ok(name.into_owned())
}

fn chain_depth(slot: Slot<u32>, limits: &Limits) -> Result<u32, String> {
    let depth = slot?.unwrap_or(0);
    let most = limits.max_chain_depth;
    if depth <= most {
        Ok(depth)
    } else {
        Err(format!("{depth} is above the maximum of {most} (a loop?)"))
    }
}

fn response_topic(text: Option<Cow<'_, str>>) -> Slot<Topic> {
    let Some(text) = text else { return Ok(None) };
    match Topic::parse(&text) {
        Ok(topic) if topic.message_type() == MessageType::Response => Ok(Some(topic)),
        Ok(_) => Err(format!("{} is not a response topic", quoted(&text))),
        Err(error) => Err(format!("{} is not a response topic: {error}", quoted(&text))),
    }
}

fn response_status(word: Option<Cow<'_, str>>) -> Slot<ResponseStatus> {
    let Some(word) = word else { return Ok(None) };
    match ResponseStatus::parse(&word) {
        Some(status) => Ok(Some(status)),
        None => Err(format!("{} is not one of success, error", quoted(&word))),
    }
}

fn short_text(text: Option<Cow<'_, str>>) -> Slot<String> {
    text.map(within_length).transpose()
}

fn within_length(text: Cow<'_, str>) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("empty, 1 to {MAX_CHARACTERS} characters are expected"));
    }
    if text.len() > MAX_CHARACTERS {
        let characters = text.chars().count();
        if characters > MAX_CHARACTERS {
            return Err(format!(
                "{} has {characters} characters, at most {MAX_CHARACTERS} are allowed",
                quoted(&text)
            ));
        }
    }
    Ok(text.into_owned())
}
