//! MQTT messages, of EdgeX above all.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postroad_edgex::{Decoded, Message, Settings, decode};
use serde_json::Value;

use crate::input::{check_json, line};

/// The columns of ids hold so many characters.
const MAX_ID: usize = 255;

/// The first line is the topic, the rest is the payload.
pub(crate) fn run(input: &[u8]) {
    let (topic, payload) = line(input);
    let topic = String::from_utf8_lossy(topic);
    let message = Message { topic: &topic, payload, qos: 1, retain: false, dup: false };
    let decoded = decode(&message, &Settings::default());
    assert_eq!(decode(&message, &Settings::default()), decoded, "equal messages, equal things");
    match decoded {
        Decoded::Row(row) => {
            check_json(&row.payload);
            check_json(&row.properties);
            row.headers.as_deref().map(check_json);
            let ids = [row.request_id, row.event_type, Some(row.source_service)];
            check_texts(ids, MAX_ID);
            check_texts([Some(row.topic), row.reply_to], usize::MAX);
            check_texts([Some(row.message_id.or_fresh(|| "fresh".to_owned()))], MAX_ID);
        }
        Decoded::Malformed(kept) => {
            assert!(!kept.detail.is_empty());
            check_json(&kept.properties);
            check_texts([Some(kept.topic), kept.correlation_id, Some(kept.detail)], usize::MAX);
            check_texts([kept.request_id, Some(kept.source_service)], MAX_ID);
            check_texts([Some(kept.message_id.or_fresh(|| "fresh".to_owned()))], MAX_ID);
        }
    }
}

fn check_texts<const N: usize>(texts: [Option<String>; N], most: usize) {
    for text in texts.into_iter().flatten() {
        assert!(!text.contains('\0'), "{text:?}");
        assert!(text.chars().count() <= most, "{text:?}");
    }
}

/// The collection of messages that `postroad-edgex` is tested with, those of a size that a fuzzer can work with.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edgex/tests/corpus");
    let files = fs::read_dir(folder).expect("the collection is there");
    let mut seeds = Vec::new();
    for file in files {
        let text = fs::read(file.expect("it can be listed").path()).expect("it can be read");
        let sample: Value = serde_json::from_slice(&text).expect("it is JSON");
        let payload = match (&sample["payload_utf8"], &sample["payload_base64"]) {
            (_, Value::String(base64)) => STANDARD.decode(base64).expect("it is base64"),
            (Value::String(text), _) => text.as_bytes().to_vec(),
            _ => continue,
        };
        let topic = sample["topic"].as_str().unwrap_or_default();
        if payload.len() < 4_000 {
            seeds.push([topic.as_bytes(), b"\n", &payload].concat());
        }
    }
    seeds
}
