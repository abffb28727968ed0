//! From a message to what amqprs is given.

use amqprs::BasicProperties;
use amqprs::channel::BasicPublishArguments;
use postroad_transport::{Outgoing, PublishError};

use crate::dead_letters::{Letter, Original};
use crate::headers::to_table;
use crate::settings::MAX_SHORT_TEXT;

/// The fixed part of a content header frame and of the properties in it, rounded up.
const FIXED_HEADER_BYTES: usize = 64;

/// A message ready for the wire.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) topic: String,
    /// The property, left out where AMQP cannot carry it. The envelope in the body has it in any case.
    pub(crate) message_id: Option<String>,
    /// Whether the broker is to return it when no queue takes it.
    pub(crate) mandatory: bool,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
    /// Bytes on the wire, about.
    pub(crate) size: usize,
}

impl Prepared {
    /// Lays the message out. `frame_max` is what the broker takes in one frame, 0 for anything: headers have to fit.
    pub(crate) fn new(message: Outgoing, frame_max: u32) -> Result<Self, PublishError> {
        if message.topic.len() > MAX_SHORT_TEXT {
            let bytes = message.topic.len();
            return Err(unsendable(format!(
                "the topic has {bytes} bytes, AMQP takes at most {MAX_SHORT_TEXT}"
            )));
        }
        let mandatory = message.must_route();
        let mut properties = BasicProperties::default();
        properties.with_persistence(true).with_content_type("application/json");
        let mut header_bytes = FIXED_HEADER_BYTES;
        let mut carried = |text: Option<&str>| {
            let text = text.filter(|text| text.len() <= MAX_SHORT_TEXT)?.to_owned();
            header_bytes += 1 + text.len();
            Some(text)
        };
        let message_id = carried(Some(&message.message_id));
        if let Some(text) = &message_id {
            properties.with_message_id(text);
        }
        if let Some(text) = carried(message.correlation_id.as_deref()) {
            properties.with_correlation_id(&text);
        }
        if let Some(text) = carried(message.reply_to.as_deref()) {
            properties.with_reply_to(&text);
        }
        if let Some(text) = carried(message.app_id.as_deref()) {
            properties.with_app_id(&text);
        }
        if let Some(kind) = message.message_type {
            properties.with_message_type(kind.as_str());
        }
        if let Some(seconds) = message.timestamp {
            properties.with_timestamp(seconds);
        }
        if !message.headers.is_empty() {
            let (table, bytes) = to_table(&message.headers)?;
            properties.with_headers(table);
            header_bytes += bytes;
        }
        if frame_max != 0 && header_bytes > usize::try_from(frame_max).unwrap_or(usize::MAX) {
            return Err(unsendable(format!(
                "the headers have {header_bytes} bytes, the broker takes {frame_max}"
            )));
        }
        let size = header_bytes + message.topic.len() + message.body.len();
        Ok(Self {
            topic: message.topic,
            message_id,
            mandatory,
            properties,
            body: message.body.into(),
            size,
        })
    }

    /// A dead letter: as it came, but for its properties. A queue has to take it.
    pub(crate) fn dead(letter: &Letter, properties: BasicProperties) -> Self {
        let Original { topic, body, .. } = &letter.original;
        Self {
            topic: topic.clone(),
            message_id: properties.message_id().cloned(),
            mandatory: true,
            properties,
            size: FIXED_HEADER_BYTES + topic.len() + body.len(),
            body: body.to_vec(),
        }
    }

    pub(crate) fn arguments(&self, exchange: &str) -> BasicPublishArguments {
        BasicPublishArguments::new(exchange, &self.topic).mandatory(self.mandatory).finish()
    }
}

fn unsendable(text: String) -> PublishError {
    PublishError::Unsendable(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postroad_envelope::MessageType;
    use serde_json::json;

    use super::*;

    fn message() -> Outgoing {
        Outgoing {
            topic: "a.request.b.c".to_owned(),
            body: Bytes::from_static(b"{}"),
            message_id: "m".to_owned(),
            message_type: Some(MessageType::Request),
            correlation_id: Some("r".to_owned()),
            reply_to: Some("b.response.b.c".to_owned()),
            app_id: Some("b".to_owned()),
            timestamp: Some(7),
            headers: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_message_has_the_properties_of_the_contract() {
        let prepared = Prepared::new(message(), 0).unwrap();
        let properties = &prepared.properties;
        assert_eq!(properties.content_type().map(String::as_str), Some("application/json"));
        assert_eq!(properties.delivery_mode(), Some(2));
        assert_eq!(properties.message_id().map(String::as_str), Some("m"));
        assert_eq!(properties.correlation_id().map(String::as_str), Some("r"));
        assert_eq!(properties.reply_to().map(String::as_str), Some("b.response.b.c"));
        assert_eq!(properties.message_type().map(String::as_str), Some("request"));
        assert_eq!(properties.app_id().map(String::as_str), Some("b"));
        assert_eq!(properties.timestamp(), Some(7));
        assert!(prepared.mandatory);
    }

    #[test]
    fn only_what_must_be_routed_is_mandatory() {
        for (kind, mandatory) in
            [(None, false), (Some(MessageType::Event), false), (Some(MessageType::Response), true)]
        {
            let prepared = Prepared::new(Outgoing { message_type: kind, ..message() }, 0).unwrap();
            assert_eq!(prepared.mandatory, mandatory, "{kind:?}");
        }
    }

    #[test]
    fn properties_that_are_too_long_are_left_out() {
        let long = || "é".repeat(128);
        let message = Outgoing {
            message_id: long(),
            correlation_id: Some(long()),
            reply_to: Some(long()),
            app_id: Some(long()),
            ..message()
        };
        let properties = Prepared::new(message, 0).unwrap().properties;
        assert_eq!(properties.message_id(), None);
        assert_eq!(properties.correlation_id(), None);
        assert_eq!(properties.reply_to(), None);
        assert_eq!(properties.app_id(), None);
    }

    #[test]
    fn what_amqp_cannot_carry_is_unsendable() {
        let headers = json!({ "h": "x".repeat(5_000) }).as_object().unwrap().clone();
        for message in
            [Outgoing { topic: "t".repeat(256), ..message() }, Outgoing { headers, ..message() }]
        {
            let outcome = Prepared::new(message, 4_096);
            assert!(matches!(outcome, Err(PublishError::Unsendable(_))), "{outcome:?}");
        }
    }
}
