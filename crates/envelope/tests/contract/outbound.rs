//! From row to envelope.

use postroad_envelope::{Envelope, Limits, OutboxColumns, Prepared, normalise_outbound};
use serde_json::{Value, json};

use crate::samples::{event, read, request, response, with, without};

fn row(topic: &str, payload: &impl ToString) -> OutboxColumns {
    OutboxColumns {
        id: "row-id".into(),
        topic: topic.into(),
        payload: payload.to_string(),
        ..OutboxColumns::default()
    }
}

fn event_row() -> OutboxColumns {
    OutboxColumns {
        event_type: Some("OrderPlaced".into()),
        ..row("event.sales.order.placed", &"{}")
    }
}

fn request_row() -> OutboxColumns {
    OutboxColumns {
        request_id: Some("r-1".into()),
        reply_to: Some("shop.response.order.create".into()),
        ..row("mes.request.order.create", &"{}")
    }
}

/// A row with nothing but what must not be null, around an embedded envelope.
fn embedding(sample: &Value) -> OutboxColumns {
    row(sample["topic"].as_str().unwrap(), sample)
}

fn normalise(row: &OutboxColumns) -> Result<Prepared, String> {
    normalise_outbound(row, "config-service", &Limits::default())
        .map_err(|faults| faults.to_string())
}

#[track_caller]
fn sent(row: &OutboxColumns) -> Envelope {
    let prepared = normalise(row).unwrap();
    assert_eq!(prepared.body, prepared.envelope.to_json());
    assert_eq!(read(&prepared.body).unwrap(), prepared.envelope, "what is sent can be read");
    assert_eq!(normalise(row).unwrap().body, prepared.body, "a resend has the same bytes");
    prepared.envelope
}

#[track_caller]
fn check_refused(row: &OutboxColumns, why: &str) {
    assert_eq!(normalise(row).unwrap_err(), why);
}

#[test]
fn what_the_row_leaves_out_is_filled_in() {
    let envelope = sent(&event_row());
    assert_eq!(envelope.message_id, "row-id");
    assert_eq!(envelope.source_service, "config-service");
    assert_eq!(envelope.message_type.as_str(), "event");
    assert_eq!(envelope.chain_depth, 0);
    assert_eq!(sent(&request_row()).message_type.as_str(), "request");
}

#[test]
fn the_row_counts_before_the_defaults() {
    let envelope = sent(&OutboxColumns {
        message_id: Some("mine".into()),
        source_service: Some("other".into()),
        message_type: Some("response".into()),
        message_status: Some("error".into()),
        parent_request_id: Some("r-0".into()),
        chain_depth: Some(7),
        request_id: Some("r-1".into()),
        ..row("shop.response.order.create", &"null")
    });
    assert_eq!((envelope.message_id.as_str(), envelope.source_service.as_str()), ("mine", "other"));
    assert_eq!(envelope.parent_request_id.as_deref(), Some("r-0"));
    assert_eq!((envelope.chain_depth, envelope.status.unwrap().as_str()), (7, "error"));
}

#[test]
fn the_payload_may_be_any_json_and_keeps_its_text() {
    for text in [
        "null",
        "0",
        "\"x\"",
        "[1, 2]",
        "{\"a\" : 1.10}",
        "{\"schema\":\"other\"}",
        "{\"schema\":1}",
    ] {
        let row = OutboxColumns { payload: format!(" \n{text}\t "), ..event_row() };
        assert_eq!(sent(&row).payload.get(), text);
    }
}

#[test]
fn a_bad_payload_is_a_fault_of_its_field() {
    for (payload, why) in [
        ("", "payload: not JSON: EOF"),
        ("NaN", "payload: not JSON: expected value"),
        ("{\"a\":1,\"a\":2}", "payload: not JSON: duplicate key \"a\""),
        ("\"\\ud800\"", "payload: not JSON: "),
        ("1 2", "payload: not JSON: trailing characters"),
    ] {
        let told =
            normalise(&OutboxColumns { payload: payload.into(), ..event_row() }).unwrap_err();
        assert!(told.starts_with(why), "{told}");
    }
}

#[test]
fn the_envelope_counts_as_a_level() {
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    sent(&OutboxColumns { payload: nested(127), ..event_row() });
    check_refused(
        &OutboxColumns { payload: nested(128), ..event_row() },
        "payload: not JSON: nested deeper than 128 levels",
    );
    let embedded = |levels| event().to_string().replace("[1,2]", &nested(levels));
    sent(&OutboxColumns { payload: embedded(127), ..event_row() });
    let told = normalise(&OutboxColumns { payload: embedded(128), ..event_row() }).unwrap_err();
    assert!(
        told.contains("payload: not JSON: in \"payload\": nested deeper than 128 levels"),
        "{told}"
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    check_refused(
        &OutboxColumns { event_type: None, ..event_row() },
        "event_type: missing, an event needs its name",
    );
    check_refused(
        &OutboxColumns { reply_to: None, ..request_row() },
        "reply_to: missing, a request needs a response topic",
    );
    check_refused(
        &OutboxColumns { request_id: Some("r".into()), ..row("shop.response.a.b", &"1") },
        "message_status: missing, a response needs success or error",
    );
    check_refused(
        &OutboxColumns { message_type: Some("request".into()), ..event_row() },
        concat!(
            r#"topic: "event.sales.order.placed" is an event topic, but message_type is request; "#,
            "request_id: missing, a request needs its id; reply_to: missing, a request needs a response topic"
        ),
    );
    check_refused(
        &row("a.b", &"1"),
        r#"topic: "a.b" is not a topic: it has 2 segments, at least 4 are needed"#,
    );
}

#[test]
fn an_empty_column_is_not_null() {
    for (row, field) in [
        (OutboxColumns { message_id: Some(String::new()), ..event_row() }, "message_id"),
        (OutboxColumns { message_type: Some(String::new()), ..event_row() }, "message_type"),
        (OutboxColumns { message_status: Some(String::new()), ..event_row() }, "message_status"),
        (OutboxColumns { request_id: Some(String::new()), ..event_row() }, "request_id"),
        (OutboxColumns { event_type: Some(String::new()), ..event_row() }, "event_type"),
        (OutboxColumns { source_service: Some(String::new()), ..event_row() }, "source_service"),
        (
            OutboxColumns { parent_request_id: Some(String::new()), ..event_row() },
            "parent_request_id",
        ),
        (OutboxColumns { reply_to: Some(String::new()), ..event_row() }, "reply_to"),
        (OutboxColumns { topic: String::new(), ..event_row() }, "topic"),
        (OutboxColumns { id: String::new(), ..event_row() }, "message_id"),
    ] {
        let told = normalise(&row).unwrap_err();
        assert!(told.starts_with(&format!("{field}: ")), "{told}");
    }
}

#[test]
fn the_chain_depth_of_a_row_is_checked() {
    for (depth, why) in [
        (-1, "chain_depth: -1 is not an integer from 0 to 4294967295"),
        (33, "chain_depth: 33 is above the maximum of 32 (a loop?)"),
        (i64::MAX, "chain_depth: 9223372036854775807 is not an integer from 0 to 4294967295"),
    ] {
        check_refused(&OutboxColumns { chain_depth: Some(depth), ..event_row() }, why);
    }
}

#[test]
fn an_embedded_envelope_fills_the_columns_that_are_null() {
    for sample in [request(), response(), event()] {
        let sample = with(with(sample, "chain_depth", 4), "parent_request_id", "r-0");
        assert_eq!(sent(&embedding(&sample)), read(sample.to_string()).unwrap());
    }
}

#[test]
fn an_embedded_envelope_may_be_incomplete() {
    let sample = json!({"schema": "interservice.envelope.v1", "payload": {"schema": "interservice.envelope.v1"}});
    let envelope = sent(&OutboxColumns { payload: sample.to_string(), ..event_row() });
    assert_eq!(
        (envelope.message_id.as_str(), envelope.source_service.as_str()),
        ("row-id", "config-service")
    );
    assert_eq!(envelope.payload.get(), r#"{"schema":"interservice.envelope.v1"}"#);
}

#[test]
fn an_embedded_envelope_needs_a_payload() {
    check_refused(
        &embedding(&without(event(), "payload")),
        "payload: missing, it may be null but not left out",
    );
}

#[test]
fn an_embedded_envelope_is_known_however_it_is_written() {
    let payload = event()
        .to_string()
        .replace("\"schema\"", r#""sch\u0065ma""#)
        .replace("envelope", r"\u0065nvelope");
    assert_eq!(sent(&OutboxColumns { payload, ..event_row() }).message_id, "m-3");
}

#[test]
fn columns_may_repeat_what_is_embedded() {
    let sample = with(with(response(), "chain_depth", 2), "parent_request_id", "r-0");
    let repeated = OutboxColumns {
        message_id: Some("m-2".into()),
        message_type: Some("response".into()),
        message_status: Some("success".into()),
        request_id: Some("r-1".into()),
        source_service: Some("mes".into()),
        parent_request_id: Some("r-0".into()),
        chain_depth: Some(2),
        ..embedding(&sample)
    };
    assert_eq!(sent(&repeated), sent(&embedding(&sample)));
}

#[test]
fn a_column_and_an_embedded_field_that_disagree_are_a_fault() {
    let sample = with(with(response(), "chain_depth", 2), "parent_request_id", "r-0");
    let sample = with(with(sample, "event_type", "x"), "reply_to", "a.response.b.c");
    let row = embedding(&sample);
    for (row, why) in [
        (
            OutboxColumns { request_id: Some("a".into()), ..row.clone() },
            r#"request_id: the column says "a", the embedded envelope "r-1""#,
        ),
        (
            OutboxColumns { message_id: Some("a".into()), ..row.clone() },
            r#"message_id: the column says "a", the embedded envelope "m-2""#,
        ),
        (
            OutboxColumns { message_type: Some("event".into()), ..row.clone() },
            r#"message_type: the column says "event", the embedded envelope "response""#,
        ),
        (
            OutboxColumns { message_status: Some("error".into()), ..row.clone() },
            r#"message_status: the column says "error", the embedded envelope "success""#,
        ),
        (
            OutboxColumns { topic: "shop.response.a.b".into(), ..row.clone() },
            r#"topic: the column says "shop.response.a.b", the embedded envelope "shop.response.order.create""#,
        ),
        (
            OutboxColumns { source_service: Some("a".into()), ..row.clone() },
            r#"source_service: the column says "a", the embedded envelope "mes""#,
        ),
        (
            OutboxColumns { parent_request_id: Some("a".into()), ..row.clone() },
            r#"parent_request_id: the column says "a", the embedded envelope "r-0""#,
        ),
        (
            OutboxColumns { chain_depth: Some(0), ..row.clone() },
            "chain_depth: the column says 0, the embedded envelope 2",
        ),
        (
            OutboxColumns { event_type: Some("a".into()), ..row.clone() },
            r#"event_type: the column says "a", the embedded envelope "x""#,
        ),
        (
            OutboxColumns { reply_to: Some("a".into()), ..row.clone() },
            r#"reply_to: the column says "a", the embedded envelope "a.response.b.c""#,
        ),
    ] {
        check_refused(&row, why);
    }
}

#[test]
fn an_embedded_type_that_the_topic_contradicts_is_a_fault() {
    check_refused(
        &row("event.a.b.c", &without(request(), "topic")),
        r#"topic: "event.a.b.c" is an event topic, but message_type is request"#,
    );
}

#[test]
fn a_wrong_type_in_an_embedded_envelope_is_a_fault_even_under_a_column() {
    let row = OutboxColumns {
        message_id: Some("m".into()),
        ..embedding(&with(event(), "message_id", 5))
    };
    check_refused(&row, "message_id: 5 is a number, text is expected");
    check_refused(
        &embedding(&with(event(), "status", json!(null))),
        "message_status: null, text is expected",
    );
}

#[test]
fn extra_fields_of_an_embedded_envelope_are_kept() {
    let envelope = sent(&embedding(&with(event(), "trace", json!({"id": 1}))));
    assert_eq!((envelope.extra[0].0.as_str(), envelope.extra[0].1.get()), ("trace", r#"{"id":1}"#));
}

#[test]
fn the_size_limit_is_on_the_whole_envelope() {
    let size = normalise(&event_row()).unwrap().body.len();
    let limits = |max_message_bytes| Limits { max_message_bytes, ..Limits::default() };
    assert!(normalise_outbound(&event_row(), "config-service", &limits(size)).is_ok());
    let faults = normalise_outbound(&event_row(), "config-service", &limits(size - 1)).unwrap_err();
    let most = size - 1;
    assert_eq!(
        faults.to_string(),
        format!("payload: it makes a message of {size} bytes, at most {most} are allowed")
    );
}

#[test]
fn a_bad_name_in_the_config_is_a_fault() {
    let faults = normalise_outbound(&event_row(), "event", &Limits::default()).unwrap_err();
    assert!(faults.to_string().starts_with("source_service: \"event\" cannot name a service"));
}
