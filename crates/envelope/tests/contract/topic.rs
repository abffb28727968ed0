//! The topic grammar.

use postroad_envelope::MessageType::{Event, Request, Response};
use postroad_envelope::{BindingPattern, MessageType, Topic, check_service_name};
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, kind: MessageType, service: Option<&str>) {
    let topic = Topic::parse(text).unwrap();
    assert_eq!((topic.message_type(), topic.service(), topic.as_str()), (kind, service, text));
    assert_eq!(topic.segments().collect::<Vec<_>>().join("."), text);
}

#[track_caller]
fn check_refused(text: &str, why: &str) {
    assert_eq!(Topic::parse(text).unwrap_err().to_string(), why);
}

#[test]
fn the_three_forms_are_taken() {
    check("mes.request.order.create", Request, Some("mes"));
    check("shop.response.order.create", Response, Some("shop"));
    check("event.sales.order.placed", Event, None);
    check("mes.request.order.create.now.or-never", Request, Some("mes"));
    check("A_1-b.request.X.0", Request, Some("A_1-b"));
}

#[test]
fn the_word_event_in_front_makes_an_event_whatever_follows() {
    check("event.request.order.create", Event, None);
    check("event.response.order.create", Event, None);
    check("Event.request.order.create", Request, Some("Event"));
}

#[test]
fn a_service_may_be_named_like_the_other_words() {
    check("request.request.a.b", Request, Some("request"));
    check("response.request.a.b", Request, Some("response"));
}

#[test]
fn an_error_says_which_rule_is_broken() {
    check_refused("", "it is empty");
    check_refused("a.b", "it has 2 segments, at least 4 are needed");
    check_refused("mes.request.order", "it has 3 segments, at least 4 are needed");
    check_refused("event.a.b", "it has 3 segments, at least 4 are needed");
    check_refused("mes..order.create", "segment 2 is empty");
    check_refused(".request.order.create", "segment 1 is empty");
    check_refused("mes.request.order.", "segment 4 is empty");
    check_refused(
        "mes.request.*.create",
        "`*` is a wildcard, which only a binding pattern may have",
    );
    check_refused("event.a.b.#", "`#` is a wildcard, which only a binding pattern may have");
    check_refused(
        "mes.request.or der.x",
        "' ' is not allowed, a segment is made of A-Z a-z 0-9 _ -",
    );
    check_refused(
        "mes.request.ördér.x",
        "'ö' is not allowed, a segment is made of A-Z a-z 0-9 _ -",
    );
    check_refused(
        "mes.request.order.x\n",
        "'\\n' is not allowed, a segment is made of A-Z a-z 0-9 _ -",
    );
    check_refused(
        "mes.Request.a.b",
        "the first segment has to be `event`, or the second `request` or `response`",
    );
    check_refused(
        "mes.event.a.b",
        "the first segment has to be `event`, or the second `request` or `response`",
    );
}

#[test]
fn a_topic_of_255_bytes_is_the_longest() {
    let stem = "event.a.b.";
    check(&format!("{stem}{}", "c".repeat(255 - stem.len())), Event, None);
    check_refused(
        &format!("{stem}{}", "c".repeat(256 - stem.len())),
        "it has 256 bytes, at most 255 are allowed",
    );
}

#[test]
fn a_service_name_is_one_segment_and_not_event() {
    for name in ["shop", "A_1-b", "Event", "events", "request", &"x".repeat(255)] {
        assert_eq!(check_service_name(name), Ok(()), "{name}");
    }
    for (name, why) in [
        ("", "it is empty"),
        ("event", "a service is not named `event`, which starts the topics of events"),
        ("a.b", "'.' is not allowed, it is made of A-Z a-z 0-9 _ -"),
        ("*", "'*' is not allowed, it is made of A-Z a-z 0-9 _ -"),
        (&"x".repeat(256), "it has 256 bytes, at most 255 are allowed"),
    ] {
        assert_eq!(check_service_name(name).unwrap_err().to_string(), why);
    }
}

/// The grammar of the contract, without any cleverness.
fn naive(text: &str) -> Option<MessageType> {
    let words: Vec<_> = text.split('.').collect();
    let is_word = |word: &&str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let kind = match words.as_slice() {
        ["event", _, _, _, ..] => Event,
        [_, "request", _, _, ..] => Request,
        [_, "response", _, _, ..] => Response,
        _ => return None,
    };
    (words.iter().all(is_word) && text.len() <= 255).then_some(kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn parsing_follows_the_definition(
        words in prop::collection::vec("event|request|response|[a-c]{1,3}|[aZ0_-]{1,90}|[a.*#\\u{fc} ]{0,2}", 0..7),
    ) {
        let text = words.join(".");
        let kind = Topic::parse(&text).ok().map(|topic| topic.message_type());
        prop_assert_eq!(kind, naive(&text), "{}", text);
    }

    #[test]
    fn a_topic_is_a_pattern_that_takes_itself(
        words in prop::collection::vec("event|request|response|[a-c]{1,3}", 4..7),
    ) {
        let text = words.join(".");
        if Topic::parse(&text).is_ok() {
            let pattern = BindingPattern::parse(&text).unwrap();
            let longer = format!("{text}.x");
            prop_assert!(pattern.matches(&text), "{}", text);
            prop_assert!(!pattern.matches(&longer), "{}", longer);
        }
    }
}
