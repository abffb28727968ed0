//! What the body lacks is taken from AMQP.

use postroad_envelope::{Envelope, InboundParts, Limits, Rejected, normalise_inbound};
use serde_json::json;

use crate::samples::{SCHEMA, event, read, request, response, with, without};

const PROPERTIES: InboundParts<'static> = InboundParts {
    body: b"",
    routing_key: "mes.request.order.create",
    message_id: Some("amqp-id"),
    correlation_id: Some("amqp-correlation"),
    reply_to: Some("shop.response.amqp.reply"),
    app_id: Some("amqp-app"),
    message_type: Some("request"),
};

fn normalise(parts: &InboundParts<'_>) -> Result<Envelope, Rejected> {
    normalise_inbound(parts, &Limits::default())
}

#[test]
fn a_bare_body_is_completed_from_the_properties() {
    let body = json!({"schema": SCHEMA, "payload": 1}).to_string();
    let envelope = normalise(&InboundParts { body: body.as_bytes(), ..PROPERTIES }).unwrap();
    assert_eq!(envelope.message_id, "amqp-id");
    assert_eq!(envelope.message_type.as_str(), "request");
    assert_eq!(envelope.topic.as_str(), "mes.request.order.create");
    assert_eq!(envelope.source_service, "amqp-app");
    assert_eq!(envelope.request_id.as_deref(), Some("amqp-correlation"));
    assert_eq!(envelope.reply_to.unwrap().as_str(), "shop.response.amqp.reply");
}

#[test]
fn the_body_counts_before_the_properties() {
    let body = request().to_string();
    assert_eq!(normalise(&InboundParts { body: body.as_bytes(), ..PROPERTIES }), read(&body));
}

#[test]
fn a_wrong_field_is_not_mended_by_a_property() {
    for field in ["message_id", "message_type", "topic", "source_service", "request_id", "reply_to"]
    {
        for wrong in [json!(null), json!(7), json!("")] {
            let body = with(request(), field, wrong).to_string();
            let told = normalise(&InboundParts { body: body.as_bytes(), ..PROPERTIES })
                .unwrap_err()
                .to_string();
            assert!(told.contains(&format!("{field}: ")), "{told}");
        }
    }
}

#[test]
fn without_a_message_id_anywhere_the_message_is_refused() {
    let body = without(event(), "message_id").to_string();
    for message_id in [None, Some("")] {
        let parts = InboundParts { body: body.as_bytes(), message_id, ..InboundParts::default() };
        let told = normalise(&parts).unwrap_err().to_string();
        assert_eq!(told, "not an envelope: message_id: missing, every message needs an id");
    }
}

#[test]
fn a_property_has_to_keep_the_same_rules() {
    let body = json!({"schema": SCHEMA, "payload": 1}).to_string();
    let parts = InboundParts { body: body.as_bytes(), ..PROPERTIES };
    for (parts, why) in [
        (
            InboundParts { reply_to: Some("amq.gen-1"), ..parts },
            r#"reply_to: "amq.gen-1" is not a response topic"#,
        ),
        (
            InboundParts { app_id: Some("my app"), ..parts },
            r#"source_service: "my app" cannot name a service"#,
        ),
        (
            InboundParts { message_type: Some("ask"), ..parts },
            r#"message_type: "ask" is not one of"#,
        ),
        (InboundParts { routing_key: "inbox", ..parts }, r#"topic: "inbox" is not a topic"#),
        (
            InboundParts { routing_key: "event.a.b.c", ..parts },
            "is an event topic, but message_type is request",
        ),
        (InboundParts { correlation_id: None, ..parts }, "request_id: missing"),
    ] {
        let told = normalise(&parts).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn an_empty_property_counts_as_none() {
    let body = event().to_string();
    let parts = InboundParts {
        body: body.as_bytes(),
        correlation_id: Some(""),
        reply_to: Some(""),
        ..PROPERTIES
    };
    let envelope = normalise(&parts).unwrap();
    assert_eq!((envelope.request_id, envelope.reply_to), (None, None));
}

#[test]
fn a_stray_reply_to_does_not_spoil_what_needs_none() {
    for sample in [event(), response()] {
        let body = sample.to_string();
        let with_reply_to = |reply_to| InboundParts {
            body: body.as_bytes(),
            reply_to: Some(reply_to),
            ..PROPERTIES
        };
        assert_eq!(normalise(&with_reply_to("amq.rabbitmq.reply-to.x")).unwrap().reply_to, None);
        let kept = normalise(&with_reply_to("shop.response.a.b")).unwrap().reply_to.unwrap();
        assert_eq!(kept.as_str(), "shop.response.a.b");
    }
}

#[test]
fn the_schema_has_no_substitute() {
    let body = without(event(), "schema").to_string();
    let told =
        normalise(&InboundParts { body: body.as_bytes(), ..PROPERTIES }).unwrap_err().to_string();
    assert!(told.contains("schema: missing"), "{told}");
}

#[test]
fn limits_apply() {
    let body = with(event(), "chain_depth", 33).to_string();
    let parts = InboundParts { body: body.as_bytes(), ..InboundParts::default() };
    assert!(normalise(&parts).unwrap_err().to_string().contains("chain_depth: 33 is above"));
    let limits = Limits { max_message_bytes: 10, ..Limits::default() };
    assert!(matches!(
        normalise_inbound(&parts, &limits),
        Err(Rejected::TooLarge { limit: 10, .. })
    ));
}
