//! Messages of every EdgeX generation, and what has to become of them. Each file in `corpus` is one.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postroad_edgex::{Decoded, Malformed, Message, MessageId, Row, Settings, decode, reason};
use serde_json::{Value, json};

struct Case {
    name: String,
    topic: String,
    payload: Vec<u8>,
    mqtt: Value,
    expect: Value,
    /// The file, for numbers that no `Value` holds exactly.
    text: String,
}

impl Case {
    fn message(&self) -> Message<'_> {
        Message {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.mqtt["qos"].as_u64().unwrap().try_into().unwrap(),
            retain: self.mqtt["retain"].as_bool().unwrap(),
            dup: false,
        }
    }

    #[track_caller]
    fn same(&self, key: &str, found: impl Into<Value>) {
        assert_eq!(found.into(), self.expect[key], "`{key}` of {}", self.name);
    }

    fn may_be(&self, stored_in: &str) -> bool {
        let any_of = self.expect["stored_in_any_of"].as_array();
        self.expect["stored_in"] == stored_in
            || any_of.is_some_and(|any_of| any_of.iter().any(|word| word == stored_in))
    }
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| case(&path))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 96, "{} cases", cases.len());
    cases
}

fn case(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let payload = match &file["payload_base64"] {
        Value::String(encoded) => STANDARD.decode(encoded).unwrap(),
        _ => file["payload_utf8"].as_str().unwrap().as_bytes().to_vec(),
    };
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        topic: file["topic"].as_str().unwrap().to_owned(),
        payload,
        mqtt: file["mqtt"].clone(),
        expect: file["expect"].clone(),
        text,
    }
}

fn decoded(message: &Message<'_>) -> Decoded {
    decode(message, &Settings::default())
}

fn id_of(message: &Message<'_>) -> MessageId {
    match decoded(message) {
        Decoded::Row(row) => row.message_id,
        Decoded::Malformed(kept) => kept.message_id,
    }
}

#[test]
fn every_message_becomes_what_it_should() {
    for case in corpus() {
        match decoded(&case.message()) {
            Decoded::Row(row) => check_row(&case, &row),
            Decoded::Malformed(kept) => check_malformed(&case, &kept),
        }
    }
}

fn check_row(case: &Case, row: &Row) {
    assert!(case.may_be("inbound_event"), "{} is a row", case.name);
    assert_eq!(row.topic, case.topic);
    case.same("message_type", row.message_type);
    case.same("message_status", row.message_status);
    case.same("event_type", row.event_type.clone());
    case.same("source_service", row.source_service.clone());
    case.same("request_id", row.request_id.clone());
    case.same("reply_to", row.reply_to.clone());
    case.same("parent_request_id", row.parent_request_id.clone());
    case.same("chain_depth", row.chain_depth);
    let given = match &row.message_id {
        MessageId::Given(id) => Some(id.clone()),
        MessageId::Derived(_) | MessageId::Fresh => None,
    };
    case.same("message_id", given);
    check_payload(case, &row.payload);
}

fn check_payload(case: &Case, text: &str) {
    let payload: Value = serde_json::from_str(text).unwrap();
    assert_eq!(payload["mqtt"]["qos"], case.mqtt["qos"], "{}", case.name);
    assert_eq!(payload["mqtt"]["retain"], case.mqtt["retain"], "{}", case.name);
    let edgex = payload["edgex"].as_object().unwrap();
    case.same("shape", edgex.get("shape").cloned().unwrap_or(json!("raw")));
    case.same("correlation_id", edgex.get("correlationID").cloned());
    case.same("payload_encoding", payload["mqtt"]["encoding"].clone());
    case.same("sanitized", payload["mqtt"]["sanitized"].clone());
    let expect = case.expect.as_object().unwrap();
    if expect.contains_key("data") {
        case.same("data", payload["data"].clone());
        for number in long_numbers(case) {
            assert!(text.contains(number), "{number} of {}", case.name);
        }
    }
    for (path, expected) in
        expect.get("data_checks").and_then(Value::as_object).into_iter().flatten()
    {
        assert_eq!(&at(&payload["data"], path), expected, "{path} of {}", case.name);
    }
}

/// The numbers of the expected data that are too long for a double.
fn long_numbers(case: &Case) -> impl Iterator<Item = &str> {
    let data = &case.text[case.text.rfind("\"data\":").unwrap()..];
    let data = &data[..data.find("\"stored_in").unwrap()];
    data.split(|character: char| !character.is_ascii_digit()).filter(|digits| digits.len() > 15)
}

/// The value at a path such as `readings.0.value`; `#` is a length.
fn at(data: &Value, path: &str) -> Value {
    path.split('.').fold(data.clone(), |value, step| match (step, step.parse::<usize>()) {
        ("#", _) => value.as_array().unwrap().len().into(),
        (_, Ok(index)) => value[index].clone(),
        (name, _) => value[name].clone(),
    })
}

fn check_malformed(case: &Case, kept: &Malformed) {
    assert!(case.may_be("quarantined_message"), "{}: {}", case.name, kept.detail);
    assert_eq!(kept.reason, reason::EDGEX_MALFORMED, "{}", case.name);
    assert!(!kept.detail.is_empty(), "{}", case.name);
    case.same("source_service", kept.source_service.clone());
    if case.expect["stored_in_any_of"].is_array() {
        return;
    }
    case.same("event_type", kept.reason);
    case.same("message_type", "raw");
    case.same("request_id", kept.request_id.clone());
    case.same("correlation_id", kept.correlation_id.clone());
    case.same("shape", kept.shape);
    case.same("data_raw_base64", true);
    let properties: Value = serde_json::from_str(&kept.properties).unwrap();
    assert_eq!(properties["properties"]["qos"], case.mqtt["qos"]);
    assert_eq!(properties["edgex"]["correlationID"], case.expect["correlation_id"]);
}

#[test]
fn every_message_has_the_id_that_its_rule_gives() {
    for case in corpus() {
        let (name, message) = (&case.name, case.message());
        let id = id_of(&message);
        let again = Message { dup: true, ..message };
        assert_eq!(id_of(&again), id, "{name} comes twice");
        let other_topic = format!("{}x", case.topic);
        let elsewhere = id_of(&Message { topic: &other_topic, ..message });
        let longer = [&case.payload[..], b" "].concat();
        let changed = id_of(&Message { payload: &longer, ..message });
        match case.expect["message_id_rule"].as_str().unwrap() {
            _ if case.expect["stored_in_any_of"].is_array() => {}
            "event.id" | "notification.id" => {
                assert_eq!(id, MessageId::Given(text(&case.expect["message_id"])), "{name}");
            }
            "topic+request_id" => {
                assert!(matches!(id, MessageId::Derived(_)), "{name}");
                assert_eq!(id, changed, "{name}");
                assert_ne!(id, elsewhere, "{name}");
                assert_eq!(id, id_of(&Message { retain: !message.retain, ..message }), "{name}");
            }
            "topic+correlation_id+payload_hash" | "topic+payload_hash" => {
                assert!(matches!(id, MessageId::Derived(_)), "{name}");
                assert_ne!(id, changed, "{name}");
                assert_ne!(id, elsewhere, "{name}");
            }
            "fresh" => assert_eq!(id, MessageId::Fresh, "{name}"),
            unknown => panic!("rule `{unknown}` of {name}"),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
