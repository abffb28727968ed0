//! The envelope itself: read from the wire, written to it.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::fault::{Fault, Rejected};
use crate::fields::{Fields, Origin};
use crate::json::{self, Members};
use crate::kinds::{MessageType, ResponseStatus};
use crate::topic::Topic;

/// The `schema` of every envelope.
pub const SCHEMA_ID: &str = "interservice.envelope.v1";

/// What a config allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a body.
    pub max_message_bytes: usize,
    /// Most requests in a chain; beyond it the services are taken to call each other in a loop.
    pub max_chain_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message_bytes: 1_048_576, max_chain_depth: 32 }
    }
}

/// A message between services.
///
/// What this crate returns keeps every rule of `interservice.envelope.v1`; whoever fills one in by hand answers for it.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Identity of the message, the same on every resend.
    pub message_id: String,
    /// Agrees with the topic.
    pub message_type: MessageType,
    /// Where it is sent.
    pub topic: Topic,
    /// Who sends it.
    pub source_service: String,
    /// Always there in a request and a response.
    pub request_id: Option<String>,
    /// The request that caused this one.
    pub parent_request_id: Option<String>,
    /// How many requests led here.
    pub chain_depth: u32,
    /// A response topic; always there in a request.
    pub reply_to: Option<Topic>,
    /// Always there in a response.
    pub status: Option<ResponseStatus>,
    /// Always there in an event.
    pub event_type: Option<String>,
    /// Any JSON, its text as it came.
    pub payload: Box<RawValue>,
    /// Fields beyond the known ones, in their order.
    pub extra: Vec<(String, Box<RawValue>)>,
}

impl Envelope {
    /// Reads a body that has to be complete, as it is on the wire.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Rejected> {
        fields_of(body, limits)?.into_envelope(Origin::Wire, limits).map_err(Rejected::NotEnvelope)
    }

    /// Writes the body: `schema` first, then the known fields that are there, always in the same order, then `extra`.
    /// Equal envelopes make equal bytes; payload and extra keep their text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512 + self.payload.get().len());
        serde_json::to_writer(&mut body, self).expect("keys are text and a Vec takes every byte");
        body
    }
}

/// Equal in every field, with the texts of payload and extra compared as they are.
impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl Eq for Envelope {}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA_ID)?;
        map.serialize_entry("message_id", &self.message_id)?;
        map.serialize_entry("message_type", self.message_type.as_str())?;
        map.serialize_entry("topic", self.topic.as_str())?;
        map.serialize_entry("source_service", &self.source_service)?;
        serialize_some(&mut map, "request_id", self.request_id.as_deref())?;
        serialize_some(&mut map, "parent_request_id", self.parent_request_id.as_deref())?;
        map.serialize_entry("chain_depth", &self.chain_depth)?;
        serialize_some(&mut map, "reply_to", self.reply_to.as_ref().map(Topic::as_str))?;
        serialize_some(&mut map, "status", self.status.map(ResponseStatus::as_str))?;
        serialize_some(&mut map, "event_type", self.event_type.as_deref())?;
        map.serialize_entry("payload", &self.payload)?;
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads a body of any completeness.
pub(crate) fn fields_of<'a>(body: &'a [u8], limits: &Limits) -> Result<Fields<'a>, Rejected> {
    let (bytes, limit) = (body.len(), limits.max_message_bytes);
    if bytes > limit {
        return Err(Rejected::TooLarge { bytes, limit });
    }
    let text = std::str::from_utf8(body).map_err(|error| Rejected::NotJson(error.to_string()))?;
    if !json::is_object(text) {
        json::check(text).map_err(Rejected::NotJson)?;
        return Err(Rejected::NotEnvelope(Fault::new("envelope", "an object is expected").into()));
    }
    let members = Members::parse(text).map_err(Rejected::NotJson)?;
    members.check().map_err(Rejected::NotJson)?;
    Ok(Fields::of(members))
}

fn serialize_some<M: SerializeMap>(
    map: &mut M,
    name: &str,
    value: Option<&str>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}
