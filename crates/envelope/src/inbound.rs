//! From a delivery of RabbitMQ to an envelope.

use crate::envelope::{Envelope, Limits, fields_of};
use crate::fault::Rejected;
use crate::fields::{Origin, TextSlot};
use crate::kinds::MessageType;
use crate::topic::Topic;

/// A delivery: its body and the AMQP properties that may stand in for what the body lacks.
///
/// An empty property counts as none, since many clients cannot tell the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundParts<'a> {
    /// The whole body.
    pub body: &'a [u8],
    /// Stands in for `topic`.
    pub routing_key: &'a str,
    /// Stands in for `message_id`.
    pub message_id: Option<&'a str>,
    /// Stands in for `request_id`.
    pub correlation_id: Option<&'a str>,
    /// Stands in for `reply_to`; where the message is no request, only if it is a response topic.
    pub reply_to: Option<&'a str>,
    /// Stands in for `source_service`.
    pub app_id: Option<&'a str>,
    /// AMQP `type`, stands in for `message_type`.
    pub message_type: Option<&'a str>,
}

/// Reads a delivery. What the body lacks is taken from the properties; a field of the body, right or wrong, counts
/// before its property.
///
/// After `Err` the message is for quarantine; a redelivery fares no better.
pub fn normalise_inbound(parts: &InboundParts<'_>, limits: &Limits) -> Result<Envelope, Rejected> {
    let mut fields = fields_of(parts.body, limits)?;
    fill(&mut fields.message_id, parts.message_id);
    fill(&mut fields.message_type, parts.message_type);
    fill(&mut fields.topic, Some(parts.routing_key));
    fill(&mut fields.source_service, parts.app_id);
    fill(&mut fields.request_id, parts.correlation_id);
    let asks =
        matches!(&fields.message_type, Ok(Some(word)) if word == MessageType::Request.as_str());
    // Some clients set the property on everything they send; only a request has to mean it.
    fill(
        &mut fields.reply_to,
        parts.reply_to.filter(|reply_to| asks || is_response_topic(reply_to)),
    );
    fields.into_envelope(Origin::Wire, limits).map_err(Rejected::NotEnvelope)
}

fn fill<'a>(slot: &mut TextSlot<'a>, property: Option<&'a str>) {
    if let (Ok(None), Some(text)) = (&slot, property.filter(|text| !text.is_empty())) {
        *slot = Ok(Some(text.into()));
    }
}

fn is_response_topic(text: &str) -> bool {
    Topic::parse(text).is_ok_and(|topic| topic.message_type() == MessageType::Response)
}
