//! A body that has to be complete.

use postroad_envelope::{Envelope, Limits, MessageType, Rejected, ResponseStatus};
use serde_json::{Value, json};

use crate::samples::{
    SCHEMA, event, event_around, read, refused, request, response, with, without,
};

#[track_caller]
fn check_refused(body: &Value, why: &str) {
    assert_eq!(refused(body.to_string()), format!("not an envelope: {why}"));
}

#[track_caller]
fn check_taken(body: &Value) -> Envelope {
    read(body.to_string()).unwrap()
}

#[test]
fn a_request_is_read() {
    let envelope =
        check_taken(&with(with(request(), "chain_depth", 3), "parent_request_id", "r-0"));
    assert_eq!(envelope.message_type, MessageType::Request);
    assert_eq!(envelope.message_id, "m-1");
    assert_eq!(envelope.topic.as_str(), "mes.request.order.create");
    assert_eq!(envelope.source_service, "shop");
    assert_eq!(envelope.request_id.as_deref(), Some("r-1"));
    assert_eq!(envelope.parent_request_id.as_deref(), Some("r-0"));
    assert_eq!(envelope.chain_depth, 3);
    assert_eq!(envelope.reply_to.unwrap().as_str(), "shop.response.order.create");
    assert_eq!((envelope.status, envelope.event_type), (None, None));
    assert_eq!(envelope.payload.get(), r#"{"n":1}"#);
}

#[test]
fn a_response_is_read() {
    let envelope = check_taken(&response());
    assert_eq!(envelope.status, Some(ResponseStatus::Success));
    assert_eq!(envelope.payload.get(), "null");
    assert_eq!(
        check_taken(&with(response(), "status", "error")).status,
        Some(ResponseStatus::Error)
    );
}

#[test]
fn an_event_is_read() {
    let envelope = check_taken(&event());
    assert_eq!(envelope.event_type.as_deref(), Some("OrderPlaced"));
    assert_eq!((envelope.chain_depth, envelope.request_id), (0, None));
}

#[test]
fn what_is_missing_is_named() {
    check_refused(
        &without(event(), "schema"),
        r#"schema: missing, expected "interservice.envelope.v1""#,
    );
    check_refused(
        &without(event(), "message_id"),
        "message_id: missing, every message needs an id",
    );
    check_refused(
        &without(event(), "message_type"),
        "message_type: missing, expected request, response or event",
    );
    check_refused(&without(event(), "topic"), "topic: missing, expected a topic");
    check_refused(
        &without(event(), "source_service"),
        "source_service: missing, expected the name of the sending service",
    );
    check_refused(
        &without(event(), "payload"),
        "payload: missing, it may be null but not left out",
    );
    check_refused(&without(event(), "event_type"), "event_type: missing, an event needs its name");
    check_refused(&without(request(), "request_id"), "request_id: missing, a request needs its id");
    check_refused(
        &without(request(), "reply_to"),
        "reply_to: missing, a request needs a response topic",
    );
    check_refused(
        &without(response(), "request_id"),
        "request_id: missing, a response needs its id",
    );
    check_refused(
        &without(response(), "status"),
        "status: missing, a response needs success or error",
    );
}

#[test]
fn a_wrong_type_is_a_fault_and_so_is_null() {
    check_refused(&with(event(), "message_id", 12), "message_id: 12 is a number, text is expected");
    check_refused(&with(event(), "message_id", json!(null)), "message_id: null, text is expected");
    check_refused(&with(event(), "schema", true), "schema: true is a boolean, text is expected");
    check_refused(&with(event(), "topic", json!(["a"])), "topic: an array, text is expected");
    check_refused(
        &with(event(), "event_type", json!({})),
        "event_type: an object, text is expected",
    );
    check_refused(
        &with(event(), "parent_request_id", 1),
        "parent_request_id: 1 is a number, text is expected",
    );
    for field in ["request_id", "reply_to", "status", "chain_depth"] {
        assert!(
            refused(with(event(), field, json!(null)).to_string())
                .contains(&format!("{field}: null, ")),
            "{field}"
        );
    }
}

#[test]
fn a_null_parent_is_no_parent() {
    assert_eq!(
        check_taken(&with(event(), "parent_request_id", json!(null))).parent_request_id,
        None
    );
}

#[test]
fn an_unknown_word_is_shown_with_the_known_ones() {
    check_refused(
        &with(event(), "message_type", "reqest"),
        r#"message_type: "reqest" is not one of request, response, event"#,
    );
    check_refused(
        &with(event(), "message_type", "Event"),
        r#"message_type: "Event" is not one of request, response, event"#,
    );
    check_refused(
        &with(response(), "status", "ok"),
        r#"status: "ok" is not one of success, error"#,
    );
    check_refused(&with(event(), "status", "ok"), r#"status: "ok" is not one of success, error"#);
    check_refused(
        &with(event(), "schema", "v2"),
        r#"schema: "v2" is not "interservice.envelope.v1""#,
    );
}

#[test]
fn a_topic_has_to_fit_the_message_type() {
    check_refused(
        &with(request(), "topic", "event.x.y.z"),
        r#"topic: "event.x.y.z" is an event topic, but message_type is request"#,
    );
    check_refused(
        &with(event(), "topic", "shop.response.y.z"),
        r#"topic: "shop.response.y.z" is a response topic, but message_type is event"#,
    );
    check_refused(
        &with(event(), "topic", "a.b"),
        r#"topic: "a.b" is not a topic: it has 2 segments, at least 4 are needed"#,
    );
}

#[test]
fn reply_to_is_a_response_topic_wherever_it_stands() {
    let why = r#"reply_to: "ebmr.request.x.y" is not a response topic"#;
    check_refused(&with(request(), "reply_to", "ebmr.request.x.y"), why);
    check_refused(&with(event(), "reply_to", "ebmr.request.x.y"), why);
    check_refused(
        &with(request(), "reply_to", ""),
        r#"reply_to: "" is not a response topic: it is empty"#,
    );
    check_refused(
        &with(request(), "reply_to", "event.response.x.y"),
        r#"reply_to: "event.response.x.y" is not a response topic"#,
    );
    check_taken(&with(response(), "reply_to", "ebmr.response.x.y"));
}

#[test]
fn source_service_is_one_segment_and_not_event() {
    for name in ["", "a.b", "event", "a b", "*", &"x".repeat(256)] {
        assert!(
            refused(with(event(), "source_service", name).to_string()).contains("source_service: "),
            "{name}"
        );
    }
    check_taken(&with(event(), "source_service", "Event"));
}

#[test]
fn lengths_count_characters() {
    for field in ["message_id", "request_id", "parent_request_id", "event_type"] {
        for text in ["x".repeat(255), "𝕏".repeat(255), "\0".to_owned(), " ".to_owned()] {
            check_taken(&with(event(), field, text));
        }
        check_refused(
            &with(event(), field, ""),
            &format!("{field}: empty, 1 to 255 characters are expected"),
        );
        let long = refused(with(event(), field, "ü".repeat(256)).to_string());
        assert!(long.contains(&format!("{field}: \"üü")), "{long}");
        assert!(long.ends_with("has 256 characters, at most 255 are allowed"), "{long}");
        assert!(long.chars().count() < 250, "{long}");
    }
}

#[test]
fn chain_depth_is_an_integer_as_json_schema_has_it() {
    for (text, depth) in
        [("0", 0), ("32", 32), ("1.0", 1), ("3e0", 3), ("0.5e1", 5), ("-0", 0), ("-0.0", 0)]
    {
        let body = with(event(), "chain_depth", 77).to_string().replace("77", text);
        assert_eq!(read(body).unwrap().chain_depth, depth, "{text}");
    }
    for text in
        ["-1", "1.5", "\"1\"", "true", "[]", "null", "4294967296", "18446744073709551616", "1e300"]
    {
        let body = with(event(), "chain_depth", 77).to_string().replace("77", text);
        assert!(refused(body).contains("an integer from 0 to 4294967295 is expected"), "{text}");
    }
}

#[test]
fn a_chain_beyond_the_limit_is_taken_for_a_loop() {
    check_refused(
        &with(event(), "chain_depth", 33),
        "chain_depth: 33 is above the maximum of 32 (a loop?)",
    );
    let limits = Limits { max_chain_depth: 33, ..Limits::default() };
    assert!(
        Envelope::from_json(with(event(), "chain_depth", 33).to_string().as_bytes(), &limits)
            .is_ok()
    );
}

#[test]
fn all_faults_are_told_at_once_in_order() {
    let body = json!({"schema": SCHEMA, "message_type": "response", "topic": "a", "status": 1, "chain_depth": 99});
    let Err(Rejected::NotEnvelope(faults)) = read(body.to_string()) else {
        panic!("should be refused")
    };
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        ["message_id", "topic", "source_service", "request_id", "chain_depth", "status", "payload"]
    );
    assert_eq!(faults.to_string().split("; ").count(), 7);
}

#[test]
fn fields_beyond_the_known_ones_are_kept_as_they_are() {
    let body = event_around("1").replacen('{', r#"{"zeta": {"b" : 1e2}, "Topic": "x","#, 1);
    let envelope = read(&body).unwrap();
    let extra: Vec<_> =
        envelope.extra.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
    assert_eq!(extra, [("zeta", r#"{"b" : 1e2}"#), ("Topic", r#""x""#)]);
    assert_eq!(read(envelope.to_json()).unwrap(), envelope);
}

#[test]
fn the_payload_keeps_its_text() {
    let text = "{ \"n\": 1.10, \"big\": 123456789012345678901234567890,\n \"s\": \"\\u00e9\\/\" }";
    let envelope = read(event_around(text)).unwrap();
    assert_eq!(envelope.payload.get(), text);
    assert!(String::from_utf8(envelope.to_json()).unwrap().contains(text));
}

#[test]
fn the_json_has_a_fixed_order_and_no_absent_fields() {
    let body = with(with(request(), "extra", 1), "parent_request_id", json!(null)).to_string();
    assert_eq!(
        String::from_utf8(read(body).unwrap().to_json()).unwrap(),
        concat!(
            r#"{"schema":"interservice.envelope.v1","message_id":"m-1","message_type":"request","#,
            r#""topic":"mes.request.order.create","source_service":"shop","request_id":"r-1","chain_depth":0,"#,
            r#""reply_to":"shop.response.order.create","payload":{"n":1},"extra":1}"#
        )
    );
}
