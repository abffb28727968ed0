//! The rules for which the corpus has no message.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postroad_edgex::{Decoded, Malformed, Message, MessageId, Row, Settings, decode, reason};
use serde_json::{Value, json};

const EVENT_TOPIC: &str = "edgex/events/device/device-rest/p/d/s";
const EVENT: &str =
    r#"{"apiVersion":"v3","id":"e-1","deviceName":"d","origin":1764500000123456789,"readings":[]}"#;

fn decoded(topic: &str, payload: impl AsRef<[u8]>) -> Decoded {
    let message = Message { topic, payload: payload.as_ref(), qos: 1, ..Message::default() };
    decode(&message, &Settings::default())
}

#[track_caller]
fn row(topic: &str, payload: impl AsRef<[u8]>) -> Row {
    match decoded(topic, payload) {
        Decoded::Row(row) => *row,
        Decoded::Malformed(kept) => panic!("malformed: {}", kept.detail),
    }
}

#[track_caller]
fn malformed(topic: &str, payload: impl AsRef<[u8]>) -> Malformed {
    match decoded(topic, payload) {
        Decoded::Malformed(kept) => *kept,
        Decoded::Row(row) => panic!("a row: {row:?}"),
    }
}

fn payload(row: &Row) -> Value {
    serde_json::from_str(&row.payload).unwrap()
}

#[track_caller]
fn is(row: &Row, event_type: &str, source: &str, encoding: &str) {
    let found = (row.event_type.as_deref(), row.source_service.as_str());
    assert_eq!(found, (Some(event_type), source));
    assert_eq!(payload(row)["mqtt"]["encoding"], encoding);
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// An envelope as v4 writes it, around a payload of JSON text.
fn envelope(payload: &str, more: &str) -> String {
    format!(r#"{{"apiVersion":"v3","contentType":"application/json","payload":{payload}{more}}}"#)
}

mod events {
    use super::*;

    #[test]
    fn an_event_is_told_on_any_topic_by_its_shape() {
        is(&row("application", envelope(EVENT, "")), "edgex.event", "edgex", "json");
        is(&row("plant/events/core/app/p/d/s", EVENT), "edgex.event", "app", "json");
        is(&row("edgex/telemetry/s/m", envelope(EVENT, "")), "edgex.event", "edgex", "json");
    }

    #[test]
    fn what_the_request_around_an_event_says_is_kept() {
        let request =
            format!(r#"{{"apiVersion":"v3","statusCode":200,"lot":1.50,"event":{EVENT}}}"#);
        let row = row(EVENT_TOPIC, envelope(&request, r#","hop":7"#));
        assert_eq!(
            row.headers.as_deref(),
            Some(r#"{"extra":{"hop":7,"statusCode":200,"lot":1.50}}"#)
        );
        assert!(
            row.payload.starts_with(&format!(r#"{{"data":{EVENT},"mqtt":"#)),
            "{}",
            row.payload
        );
    }

    #[test]
    fn the_request_id_of_the_envelope_counts_before_that_within() {
        let request = format!(r#"{{"requestId":"inner","event":{EVENT}}}"#);
        let inner = row(EVENT_TOPIC, envelope(&request, r#","requestID":"""#));
        assert_eq!(inner.request_id.as_deref(), Some("inner"));
        let outer = row(EVENT_TOPIC, envelope(&request, r#","requestID":"outer""#));
        assert_eq!(outer.request_id.as_deref(), Some("outer"));
    }

    #[test]
    fn an_id_may_be_a_number_and_null_is_none() {
        let event = r#"{"id":17,"deviceName":"d","readings":null}"#;
        assert_eq!(row("t", event).message_id, MessageId::Given("17".to_owned()));
        let event = r#"{"id":null,"deviceName":"d","readings":null}"#;
        assert_eq!(row("t", event).message_id, MessageId::Fresh);
    }

    #[test]
    fn an_id_that_is_too_long_is_replaced_by_a_derived_one_and_stays_in_the_data() {
        let long = "x".repeat(256);
        let event = |id: &str| format!(r#"{{"id":"{id}","deviceName":"d","readings":null}}"#);
        let replaced = row("t", event(&long));
        assert!(matches!(replaced.message_id, MessageId::Derived(_)));
        assert_eq!(replaced.message_id, row("t", event(&long)).message_id);
        assert_ne!(replaced.message_id, row("u", event(&long)).message_id);
        assert_eq!(payload(&replaced)["data"]["id"], long);
    }

    #[test]
    fn glued_documents_and_mixed_batches_are_batches_of_the_events_themselves() {
        let glued = row("edgex-export", format!("{EVENT}\n{{\"event\":{EVENT}}}"));
        is(&glued, "edgex.event.batch", "edgex", "json");
        assert!(glued.payload.starts_with(&format!(r#"{{"data":[{EVENT},{EVENT}],"#)));
        assert!(matches!(glued.message_id, MessageId::Derived(_)));
        let list = format!("[{EVENT},{EVENT}]");
        let enveloped = row("t", envelope(&format!("\"{}\"", base64(&list)), ""));
        is(&enveloped, "edgex.event.batch", "edgex", "base64-json");
        let with_others = row("t", format!("[{EVENT},1]"));
        is(&with_others, "mqtt.json", "mqtt", "json");
        is(&row("t", format!("{EVENT}{{}}")), "mqtt.text", "mqtt", "text");
        is(&row("t", "[]"), "mqtt.json", "mqtt", "json");
    }

    #[test]
    fn a_bare_event_in_cbor_is_an_event() {
        let cbor = b"\xa3\x62id\x61i\x6adeviceName\x61d\x68readings\xf6";
        let row = row("t", cbor);
        is(&row, "edgex.event", "edgex", "cbor");
        assert_eq!(payload(&row)["edgex"]["shape"], "event");
        assert_eq!(payload(&row)["data"], json!({"id": "i", "deviceName": "d", "readings": null}));
    }

    #[test]
    fn a_list_of_numbers_of_some_device_is_no_v1_event() {
        let sensor = r#"{"id":"esp32","device":"esp32","readings":[21.5,22.0]}"#;
        is(&row("sensors", sensor), "mqtt.json", "mqtt", "json");
    }
}

mod requests_and_answers {
    use super::*;

    #[test]
    fn a_request_by_hand_needs_nothing_but_its_id() {
        let row = row("edgex/command/request/d/c/get", r#"{"apiVersion":"v3","RequestId":"r"}"#);
        is(&row, "edgex.command.request", "edgex", "none");
        assert_eq!(row.request_id.as_deref(), Some("r"));
        malformed("edgex/command/request/d/c/get", r#"{"payload":{}}"#);
        malformed("edgex/command/request/d/c/get", r#"{"apiVersion":"v3"}"#);
    }

    #[test]
    fn a_query_for_all_devices_comes_on_a_topic_without_the_base_prefix() {
        let row = row("core-command", envelope("null", r#","requestID":"r""#));
        is(&row, "edgex.command_query.request", "edgex", "none");
        assert_eq!(row.reply_to.as_deref(), Some("edgex/core/commandquery/request/all/r"));
        is(&super::row("core-command", "hello"), "mqtt.text", "mqtt", "text");
    }

    #[test]
    fn a_request_without_ids_is_new_each_time() {
        let row = row("edgex/core/command/request/d/c/get", envelope("null", ""));
        assert_eq!((row.message_id, row.request_id, row.reply_to), (MessageId::Fresh, None, None));
    }

    #[test]
    fn an_answer_takes_its_request_id_from_envelope_topic_or_payload() {
        let of = |topic, id: &str| {
            row(topic, envelope(r#"{"requestId":"inner"}"#, &format!(r#","requestID":"{id}""#)))
                .request_id
        };
        assert_eq!(of("edgex/response/s/topic", "outer").as_deref(), Some("outer"));
        assert_eq!(of("edgex/response/s/topic", "").as_deref(), Some("topic"));
        assert_eq!(of("edgex/commandquery/response", "").as_deref(), Some("inner"));
    }

    #[test]
    fn an_event_in_an_answer_does_not_make_it_one() {
        let row = row("edgex/response/s/r", envelope(&format!(r#"{{"event":{EVENT}}}"#), ""));
        is(&row, "edgex.response", "s", "json");
        assert_eq!((row.message_type, row.message_status), ("response", Some("success")));
        malformed("edgex/response/s/r", EVENT);
    }

    #[test]
    fn an_error_in_cbor_is_its_text() {
        let cbor = b"\xa4\x69errorCode\x01\x69requestID\x61r\x67payload\x64busy\x6bcontentType\x6atext/plain";
        let row = row("edgex/response/s/r", cbor);
        is(&row, "edgex.response", "s", "text");
        assert_eq!(row.message_status, Some("error"));
        assert_eq!(payload(&row)["edgex"]["shape"], "envelope-cbor");
        assert_eq!(payload(&row)["data"], "busy");
    }

    #[test]
    fn a_request_id_that_is_too_long_is_replaced_alike_in_request_and_answer() {
        let long = "r".repeat(300);
        let body = envelope("null", &format!(r#","requestID":"{long}""#));
        let asked = row("edgex/core/command/request/d/c/get", &body);
        let answered = row("edgex/response/core-command/x", &body);
        assert_eq!(asked.request_id, answered.request_id);
        assert_eq!(asked.request_id.as_ref().map(String::len), Some(36));
        assert_eq!(payload(&asked)["edgex"]["requestID"], long);
    }
}

mod other_edgex_messages {
    use super::*;

    const SYSTEM_EVENT: &str =
        r#"{"type":"device","action":"add","source":"core-metadata","details":{"requestId":"r"}}"#;

    #[test]
    fn a_system_event_metric_or_config_change_needs_no_envelope() {
        let system_event = row("edgex/system-events/x/device/add", SYSTEM_EVENT);
        is(&system_event, "edgex.system_event.device.add", "core-metadata", "json");
        assert_eq!(system_event.request_id.as_deref(), Some("r"));
        let metric = row("edgex/telemetry/device%2Dx/m", r#"{"name":"m","fields":[]}"#);
        is(&metric, "edgex.metric", "device-x", "json");
        let deleted = row("edgex/configs/a/b", r#"{"key":"a/b","Created":0,"Modified":0}"#);
        is(&deleted, "edgex.config_change", "core-keeper", "json");
    }

    #[test]
    fn a_system_event_is_told_under_another_base_prefix_and_by_its_topics_service() {
        let row = row("site/system-events/core-metadata/device/add", envelope(SYSTEM_EVENT, ""));
        is(&row, "edgex.system_event.device.add", "core-metadata", "json");
        let no_source = r#"{"type":"device","action":"x","source":""}"#;
        let row = super::row("edgex/system-event/device%2Dc/device/x", no_source);
        is(&row, "edgex.system_event.device.x", "device-c", "json");
    }

    #[test]
    fn a_metric_under_another_base_prefix_is_some_message() {
        let row = row("site/telemetry/s/m", envelope(r#"{"name":"m","fields":[]}"#, ""));
        is(&row, "edgex.message", "edgex", "json");
    }

    #[test]
    fn a_very_long_kind_of_system_event_is_cut() {
        let text = format!(r#"{{"type":"{}","action":"a"}}"#, "é".repeat(300));
        let row = row("edgex/system-events/s/x/a", text);
        assert_eq!(row.event_type.unwrap().chars().count(), 255);
    }

    #[test]
    fn a_notification_is_told_in_any_key_case() {
        let text = r#"{"id":"n","content":"c","severity":"MINOR","sender":"s","status":"NEW"}"#;
        let row = row("anything", text);
        is(&row, "edgex.notification", "support-notifications", "json");
        assert_eq!(row.message_id, MessageId::Given("n".to_owned()));
    }

    #[test]
    fn equal_ticks_without_ids_are_two_and_with_a_correlation_one() {
        let tick = envelope(&format!("\"{}\"", base64("tick")), r#","correlationID":"""#);
        let first = row("edgex/jobs/tick", &tick);
        is(&first, "edgex.message", "edgex", "base64-text");
        assert_eq!(first.message_id, MessageId::Fresh);
        let told = envelope("1", r#","correlationID":"c""#);
        assert!(matches!(row("edgex/jobs/tick", told).message_id, MessageId::Derived(_)));
    }

    #[test]
    fn settings_name_the_base_prefix_and_the_sources_that_are_not_told() {
        let settings = Settings {
            base_prefix: "plant 7/edgex".to_owned(),
            edgex_source: "site-a".to_owned(),
            mqtt_source: "gateway".to_owned(),
            ..Settings::default()
        };
        let decoded = |topic, payload: &str| {
            let message = Message { topic, payload: payload.as_bytes(), ..Message::default() };
            match decode(&message, &settings) {
                Decoded::Row(row) => row.source_service,
                Decoded::Malformed(kept) => kept.source_service,
            }
        };
        assert_eq!(decoded("plant 7/edgex/telemetry/s/m", r#"{"name":"m","fields":[]}"#), "s");
        assert_eq!(decoded("edgex/telemetry/s/m", "1"), "gateway");
        assert_eq!(decoded("t", EVENT), "site-a");
        assert_eq!(decoded("plant 7/edgex/events/device/x", "no event"), "site-a");
    }
}

mod malformed_messages {
    use super::*;

    #[track_caller]
    fn check(topic: &str, payload: impl AsRef<[u8]>, source: &str) {
        let kept = malformed(topic, payload);
        assert_eq!((kept.reason, kept.source_service.as_str()), (reason::EDGEX_MALFORMED, source));
    }

    #[test]
    fn what_does_not_belong_on_a_topic_of_edgex_is_malformed() {
        check(EVENT_TOPIC, r#"{"temperature":21}"#, "device-rest");
        check(EVENT_TOPIC, "[]", "device-rest");
        check(EVENT_TOPIC, "null", "device-rest");
        check(EVENT_TOPIC, b"\xa1\x01\x02", "device-rest");
        check(EVENT_TOPIC, b"{\"a\":\"\xff\"}", "device-rest");
        check(EVENT_TOPIC, r#"{"deviceName":"d","readings":["#, "device-rest");
        check(EVENT_TOPIC, envelope("null", ""), "device-rest");
        check("edgex/telemetry/s/m", "text", "s");
        check("edgex/telemetry/s/m", envelope(r#"{"a":1}"#, ""), "s");
        check("edgex/configs/a", "1", "core-keeper");
        check("edgex/system-events/s/device/add", r#"{"type":"device"}"#, "s");
        check("edgex/device/command/request/s/d/c/get", "{}", "core-command");
    }

    #[test]
    fn what_envelope_and_topic_still_gave_is_kept() {
        let broken = base64(r#"{"apiVersion":"v3","#);
        let ids = r#","requestID":"r","correlationID":"c""#;
        let kept = malformed("edgex/jobs/x", envelope(&format!("\"{broken}\""), ids));
        assert_eq!(
            (kept.request_id.as_deref(), kept.correlation_id.as_deref()),
            (Some("r"), Some("c"))
        );
        assert_eq!(kept.shape, "envelope");
        let kept = malformed("edgex/response/s/r-9", "no envelope");
        assert_eq!(kept.request_id.as_deref(), Some("r-9"));
        assert!(matches!(kept.message_id, MessageId::Derived(_)));
    }

    #[test]
    fn a_detail_shows_nothing_of_the_content() {
        for payload in ["secret", r#"{"secret":"secret"}"#, r#"{"secret":secret}"#] {
            assert!(!malformed(EVENT_TOPIC, payload).detail.contains("secret"), "{payload}");
        }
    }

    #[test]
    fn nothing_at_all_is_not_malformed_since_it_clears_a_retained_message() {
        is(&row("edgex/command/response/d/c/get", ""), "mqtt.empty", "mqtt", "none");
    }

    #[test]
    fn deep_nesting_is_malformed_on_topics_of_edgex_and_text_elsewhere() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        check(EVENT_TOPIC, &deep, "device-rest");
        check(EVENT_TOPIC, vec![0x81; 1_000_000], "device-rest");
        check("t", envelope(&format!("\"{}\"", base64(&deep)), ""), "edgex");
        is(&row("t", &deep), "mqtt.text", "mqtt", "text");
        is(&row("t", vec![0xa1; 1_000_000]), "mqtt.binary", "mqtt", "base64");
    }

    #[test]
    fn what_is_over_the_limit_is_not_looked_into() {
        let settings = Settings { max_bytes: 1, ..Settings::default() };
        let bytes = vec![b'1'; settings.limits.max_message_bytes + 1];
        let message = Message { topic: "t", payload: &bytes, ..Message::default() };
        let Decoded::Malformed(kept) = decode(&message, &settings) else { panic!("it is a row") };
        assert_eq!(kept.reason, reason::TOO_LARGE);
        is(&row("t", &bytes), "mqtt.json", "mqtt", "json");
    }
}

mod anything_else {
    use super::*;

    #[test]
    fn a_word_of_an_envelope_does_not_make_one() {
        is(&row("lora/up", r#"{"payload":"AQI=","fPort":2}"#), "mqtt.json", "mqtt", "json");
        is(&row("app/log", r#"{"event":"opened","severity":3}"#), "mqtt.json", "mqtt", "json");
    }

    #[test]
    fn broken_json_is_text_and_broken_text_is_bytes() {
        is(&row("t", r#"{"a":"#), "mqtt.text", "mqtt", "text");
        is(&row("t", "[NaN]"), "mqtt.text", "mqtt", "text");
        is(&row("t", b"{\"a\":\"\xff\"}"), "mqtt.binary", "mqtt", "base64");
        is(&row("t", b"\xa1\x61a\x01"), "mqtt.binary", "mqtt", "base64");
    }

    #[test]
    fn nul_within_text_makes_it_bytes_and_at_its_end_is_replaced() {
        is(&row("t", "\u{8}\0\u{1}"), "mqtt.binary", "mqtt", "base64");
        let ended = row("t", "open\0");
        is(&ended, "mqtt.text", "mqtt", "text");
        assert_eq!(payload(&ended)["data"], "open\u{fffd}");
        assert_eq!(payload(&ended)["mqtt"]["sanitized"], json!(["nul"]));
    }

    #[test]
    fn bytes_that_happen_to_be_cbor_are_kept_as_they_came() {
        let row = row("t", b"\xa1\x61\0\x81\xf4");
        is(&row, "mqtt.binary", "mqtt", "base64");
        assert_eq!(payload(&row)["mqtt"].get("sanitized"), None);
    }

    #[test]
    fn json_is_kept_to_the_digit_and_repaired_where_it_must_be() {
        let row = row("t", r#"{"a":1.10,"a":-0,"b":"\ud83d\u0000","c":1e400}"#);
        let data = "{\"data\":{\"a\":1.10,\"a\":-0,\"b\":\"\u{fffd}\u{fffd}\",\"c\":\"1e400\"},";
        assert!(row.payload.starts_with(data), "{}", row.payload);
        assert_eq!(payload(&row)["mqtt"]["sanitized"], json!(["nul", "surrogate", "number"]));
        assert_eq!(payload(&row)["edgex"], json!({}));
    }

    #[test]
    fn an_event_in_another_envelope_is_the_same_and_another_event_of_its_id_is_not() {
        let row = |correlation: &str, origin: u64| {
            let event = json!({"apiVersion": "v3", "id": "e-1", "deviceName": "d", "profileName": "p",
                "sourceName": "s", "origin": origin, "readings": []});
            let payload = json!({"apiVersion": "v3", "correlationID": correlation, "contentType": "application/json",
                "payload": {"apiVersion": "v3", "event": event}});
            let payload = payload.to_string().into_bytes();
            let topic = "edgex/events/device/device-x/p/d/s";
            match decode(
                &Message { topic, payload: &payload, ..Message::default() },
                &Settings::default(),
            ) {
                Decoded::Row(row) => (row.message_id, row.fingerprint),
                Decoded::Malformed(kept) => panic!("{}", kept.detail),
            }
        };
        assert_eq!(row("c-1", 7), row("c-2", 7));
        let ((id, fingerprint), (same_id, other)) = (row("c-1", 7), row("c-1", 8));
        assert_eq!(id, same_id);
        assert_ne!(fingerprint, other);
    }

    #[test]
    fn live_and_retained_copies_agree_in_their_fingerprint() {
        let message = Message { topic: "t", payload: b"1", ..Message::default() };
        let rows = [message, Message { retain: true, ..message }].map(|message| {
            match decode(&message, &Settings::default()) {
                Decoded::Row(row) => row,
                Decoded::Malformed(kept) => panic!("{}", kept.detail),
            }
        });
        assert_ne!(rows[0].payload, rows[1].payload);
        assert_eq!(rows[0].fingerprint, rows[1].fingerprint);
        assert_eq!(
            rows[1].properties,
            r#"{"headers":{},"properties":{"dup":false,"qos":0,"retain":true}}"#
        );
    }
}

mod interservice_envelopes {
    use super::*;

    const TOPIC: &str = "event.a.b.c";

    fn interservice(more: &str) -> String {
        format!(
            r#"{{"schema":"interservice.envelope.v1","message_id":"m","message_type":"event",
            "source_service":"shop","event_type":"Done"{more}}}"#
        )
    }

    #[test]
    fn an_envelope_is_checked_as_one_with_the_mqtt_topic_for_a_missing_one() {
        let text =
            interservice(r#","payload":{"n":12345678901234567890123},"odd":1.10,"chain_depth":2"#);
        let row = row(TOPIC, text);
        assert_eq!(row.message_id, MessageId::Given("m".to_owned()));
        assert_eq!((row.message_type, row.chain_depth), ("event", 2));
        assert_eq!(row.event_type.as_deref(), Some("Done"));
        assert_eq!(row.source_service, "shop");
        assert_eq!(row.payload, r#"{"n":12345678901234567890123}"#);
        assert_eq!(row.headers.as_deref(), Some(r#"{"extra":{"odd":1.10}}"#));
    }

    #[test]
    fn the_row_has_the_topic_that_the_message_came_on() {
        let text = interservice(r#","payload":null,"topic":"event.x.y.z""#);
        assert_eq!(row("bridge/in", text).topic, "bridge/in");
    }

    #[test]
    fn an_invalid_envelope_is_quarantined_wherever_it_comes() {
        let of = |more: &str| interservice(&format!(r#","topic":"{TOPIC}"{more}"#));
        let cases = [
            (of(""), reason::INVALID_ENVELOPE),
            (of(r#","payload":NaN"#), reason::INVALID_JSON),
            (of(r#","payload":1,"payload":2"#), reason::INVALID_JSON),
            (of(r#","payload":"\ud83d""#), reason::INVALID_JSON),
            (format!("{} x", of(r#","payload":1"#)), reason::INVALID_JSON),
            (of(&format!(r#","payload":{}"#, "[".repeat(1_000_000))), reason::INVALID_JSON),
            (of(r#","payload":"a\u0000b""#), reason::UNSTORABLE),
            (of(r#","payload":1,"x":["\u0000"]"#), reason::UNSTORABLE),
            (of(&format!(r#","payload":"{}""#, "x".repeat(1_048_576))), reason::TOO_LARGE),
        ];
        for (text, expected) in cases {
            for topic in [TOPIC, EVENT_TOPIC] {
                let kept = malformed(topic, &text);
                assert_eq!(
                    kept.reason,
                    expected,
                    "{}: {}",
                    &text[..120.min(text.len())],
                    kept.detail
                );
            }
        }
        let on_no_topic = interservice(r#","payload":1"#);
        assert_eq!(malformed("no/topic", on_no_topic).reason, reason::INVALID_ENVELOPE);
    }

    #[test]
    fn an_envelope_that_is_only_quoted_is_none() {
        let text = r#"{"doc":{"schema":"interservice.envelope.v1"}}"#;
        is(&row("t", text), "mqtt.json", "mqtt", "json");
        let text = r#"say "schema": "interservice.envelope.v1""#;
        is(&row("t", text), "mqtt.text", "mqtt", "text");
    }
}
