//! Topics, service names, binding patterns, filters of MQTT and records of the spool: short texts that others choose.

use postroad_envelope::{BindingPattern, MAX_TOPIC_BYTES, Topic, check_service_name};
use postroad_transport_mqtt::fuzzing;

use crate::input::line;

/// More words would take the definition too long.
const MOST_WORDS: usize = 12;

/// The first line is a pattern, the rest is a topic, and a record.
pub(crate) fn run(input: &[u8]) {
    let (pattern, rest) = line(input);
    let (pattern, topic) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(rest));
    let parsed = Topic::parse(&topic);
    assert_eq!(parsed.is_ok(), is_topic(&topic), "{topic:?}: {parsed:?}");
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.as_str(), topic);
        if let Some(service) = parsed.service() {
            assert_eq!(check_service_name(service), Ok(()));
        }
        let (publish, subscribe) = fuzzing::topic(&topic);
        assert!(publish && subscribe, "MQTT takes every topic: {topic:?}");
    }
    if let Ok(parsed) = BindingPattern::parse(&pattern) {
        let (words, key) = (words(&pattern), words(&topic));
        let matches = parsed.matches(&topic);
        if words.len() <= MOST_WORDS && key.len() <= MOST_WORDS {
            assert_eq!(matches, by_definition(&words, &key), "{pattern:?} {topic:?}");
        }
    }
    let (publish, subscribe) = fuzzing::topic(&pattern);
    assert!(subscribe || !publish, "what may be published to may be subscribed to: {pattern:?}");
    if let Some(again) = fuzzing::record(rest) {
        assert_eq!(fuzzing::record(&again).as_ref(), Some(&again));
    }
}

/// The grammar of the contract, word by word.
fn is_topic(text: &str) -> bool {
    let words: Vec<_> = text.split('.').collect();
    let is_word = |word: &&str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let form =
        matches!(words.as_slice(), ["event", _, _, _, ..] | [_, "request" | "response", _, _, ..]);
    form && words.iter().all(is_word) && text.len() <= MAX_TOPIC_BYTES
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

fn by_definition(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|taken| by_definition(rest, &key[taken..])),
        Some((&word, rest)) => key.split_first().is_some_and(|(&found, left)| {
            (word == "*" || word == found) && by_definition(rest, left)
        }),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let record = [b"event.#\n\x01\x05".as_slice(), &[7; 16], b"\0\0\0\x03t/xbody"].concat();
    let texts = [
        "event.#\nevent.sales.order.placed",
        "*.request.#\nmes.request.order.create.now",
        "#.a.#.*\nshop.response.a.b",
        "$share/g/a/+/#\n",
        "",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([record]).collect()
}
