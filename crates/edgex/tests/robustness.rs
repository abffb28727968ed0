//! No bytes on any topic panic or get lost, and every database takes what becomes of them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postroad_edgex::{Decoded, Message, MessageId, Settings, decode};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// A message as it might come.
#[derive(Debug, Clone)]
struct Sent {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

impl Sent {
    fn message(&self) -> Message<'_> {
        let (topic, payload, retain) = (&self.topic, &self.payload, self.retain);
        Message { topic, payload, retain, qos: 1, dup: false }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_on_any_topic_become_something_storable(
        topic in topic(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        retain: bool,
    ) {
        check(&Sent { topic, payload, retain });
    }

    #[test]
    fn an_edgex_message_changed_in_one_place_becomes_something_storable(
        topic in prop::option::of(topic()),
        (mut sent, place, change) in (select(corpus()), any::<Index>(), change()),
    ) {
        change.apply(&mut sent.payload, place);
        sent.topic = topic.unwrap_or(sent.topic);
        check(&sent);
    }

    #[test]
    fn any_json_in_any_wrapping_becomes_something_storable(
        topic in topic(),
        json in json(),
        wrapping in 0..7_u8,
        retain: bool,
    ) {
        check(&Sent { topic, payload: wrapped(&json, wrapping), retain });
    }

    #[test]
    fn any_cbor_becomes_something_storable(
        topic in topic(),
        items in prop::collection::vec(cbor(), 1..20),
        in_map: bool,
    ) {
        let mut payload = if in_map { b"\xbf\x67payload".to_vec() } else { Vec::new() };
        payload.extend(items.concat());
        if in_map {
            payload.extend(b"\x69errorCode\x00\xff");
        }
        check(&Sent { topic, payload, retain: false });
    }
}

/// What holds of every message.
fn check(sent: &Sent) {
    let message = sent.message();
    let decoded = decode(&message, &Settings::default());
    assert_eq!(decode(&message, &Settings::default()), decoded, "equal messages, equal things");
    match decoded {
        Decoded::Row(row) => {
            assert!(["request", "response", "event", "raw"].contains(&row.message_type));
            assert_eq!(row.message_status.is_some(), row.message_type == "response");
            check_json(&row.payload);
            row.headers.iter().for_each(|headers| check_json(headers));
            check_json(&row.properties);
            check_texts([Some(row.topic), row.reply_to], usize::MAX);
            let ids = [row.request_id, row.event_type, Some(row.source_service)];
            check_texts(ids, 255);
            check_id(row.message_id);
        }
        Decoded::Malformed(kept) => {
            assert!(!kept.detail.is_empty());
            check_json(&kept.properties);
            check_texts([Some(kept.topic), kept.correlation_id, Some(kept.detail)], usize::MAX);
            check_texts([kept.request_id, Some(kept.source_service)], 255);
            check_id(kept.message_id);
        }
    }
}

fn check_id(id: MessageId) {
    let id = id.or_fresh(|| "fresh".to_owned());
    assert!(!id.is_empty());
    check_texts([Some(id)], 255);
}

fn check_texts<const N: usize>(texts: [Option<String>; N], max_characters: usize) {
    for text in texts.into_iter().flatten() {
        assert!(!text.contains('\0'), "{text:?}");
        assert!(text.chars().count() <= max_characters, "{text:?}");
    }
}

/// Any reader takes it, so its depth and its numbers are bounded and it has no lone surrogate; and no text in it holds
/// U+0000.
fn check_json(text: &str) {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(!has_nul(&json), "{text}");
}

fn has_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains('\0') || has_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn corpus() -> Vec<Sent> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sent = files.map(|path| {
        let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let payload = match &file["payload_base64"] {
            Value::String(encoded) => STANDARD.decode(encoded).unwrap(),
            _ => file["payload_utf8"].as_str().unwrap().as_bytes().to_vec(),
        };
        let topic = file["topic"].as_str().unwrap().to_owned();
        Sent { topic, payload, retain: file["mqtt"]["retain"] == true }
    });
    // The largest ones only take time.
    sent.filter(|sent| sent.payload.len() < 8_192).collect()
}

fn topic() -> impl Strategy<Value = String> {
    let known = [
        "t",
        "core-command",
        "edgex/events/device/s/p/d/r",
        "edgex/device/command/request/s/d/c/get",
        "edgex/command/request/d%2D/c/get",
        "edgex/commandquery/request/all",
        "edgex/response/s/r",
        "edgex/device/command/response/s/d/c/get",
        "edgex/system-events/s/device/add",
        "edgex/telemetry/s/m",
        "edgex/configs/a/b",
        "edgex/s/validate/device",
    ];
    prop_oneof![
        4 => select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => any::<String>().prop_map(|name| format!("edgex/events/device/{name}/p/d/r")),
        1 => any::<String>().prop_map(|name| format!("edgex/response/{name}/{name}")),
        1 => any::<String>().prop_map(|name| format!("edgex/command/request/{name}/get")),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Cut,
    Byte(u8),
    Insert(Vec<u8>),
}

impl Change {
    fn apply(self, payload: &mut Vec<u8>, place: Index) {
        let at = place.index(payload.len() + 1);
        match self {
            Self::Cut => payload.truncate(at),
            Self::Byte(byte) => payload[at..].iter_mut().take(1).for_each(|old| *old = byte),
            Self::Insert(bytes) => {
                payload.splice(at..at, bytes);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Cut),
        any::<u8>().prop_map(Change::Byte),
        select(&b"{}[]\",:0-e\\\0"[..]).prop_map(Change::Byte),
        prop::collection::vec(any::<u8>(), 1..9).prop_map(Change::Insert),
        select(vec![r"\u0000", r"\ud83d", "1e999", "-0.1E-99999", "[[[["])
            .prop_map(|text| Change::Insert(text.into())),
    ]
}

/// JSON text with everything in it that is hard to keep.
fn json() -> impl Strategy<Value = String> {
    let scalars = [
        "null",
        "true",
        "1",
        "0",
        "-18446744073709551617",
        "1e400",
        "1e-20000",
        r#""""#,
        r#""\u0000""#,
        r#""\ud83d""#,
        r#""eyJhIjoxfQ==""#,
        r#""{\"a\":""#,
        r#""text/plain""#,
        r#""application/cbor""#,
        r#""oWFhAQ""#,
    ];
    let text = any::<String>().prop_map(|text| Value::String(text).to_string());
    let leaf = prop_oneof![3 => select(scalars.to_vec()).prop_map(str::to_owned), 1 => text];
    leaf.prop_recursive(6, 40, 8, |inner| {
        let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..9)
                .prop_map(|members| format!("{{{}}}", members.join(", "))),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "payload",
        "Payload",
        "contentType",
        "correlationID",
        "RequestId",
        "errorCode",
        "queryParams",
        "receivedTopic",
        "apiVersion",
        "event",
        "readings",
        "deviceName",
        "device",
        "id",
        "name",
        "fields",
        "key",
        "type",
        "action",
        "source",
        "details",
        "Content",
        "Severity",
        "Sender",
        "Status",
        "schema",
        r"\u0000",
        r"\udc00",
    ];
    select(known.to_vec()).prop_map(|key| format!("\"{key}\""))
}

fn wrapped(json: &str, wrapping: u8) -> Vec<u8> {
    let encoded = STANDARD.encode(json);
    let quoted = Value::String(json.to_owned()).to_string();
    match wrapping {
        0 => json.to_owned(),
        1 => format!(r#"{{"payload":{json},"contentType":"application/json"}}"#),
        2 => format!(r#"{{"payload":"{encoded}","contentType":"application/json"}}"#),
        3 => format!(r#"{{"payload":"{encoded}","errorCode":1,"requestID":"r"}}"#),
        4 => format!(r#"{{"payload":{quoted},"correlationID":"c"}}"#),
        5 => format!(r#"["{encoded}","{encoded}"]"#),
        _ => format!("{json}{json}"),
    }
    .into_bytes()
}

/// Items of CBOR, whole ones and heads that promise too much.
fn cbor() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<String>().prop_map(|text| {
            let mut item = vec![0x7a];
            item.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            item.extend(text.as_bytes());
            item
        }),
        any::<f64>().prop_map(|number| [&[0xfb][..], &number.to_be_bytes()].concat()),
        any::<u64>().prop_map(|number| [&[0x3b][..], &number.to_be_bytes()].concat()),
        prop::collection::vec(any::<u8>(), 0..24).prop_map(|bytes| {
            [&[0x40 + u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
        }),
        (prop::num::u8::ANY, 0..5_usize).prop_map(|(head, more)| vec![head; more + 1]),
        select(&[0xc2_u8, 0xc3, 0x9f, 0xbf, 0xff, 0xf6, 0x82, 0xa1][..])
            .prop_map(|head| vec![head]),
    ]
}
