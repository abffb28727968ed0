//! Bodies that are no JSON, or JSON that nobody should have to read.

use postroad_envelope::{Envelope, Limits, Rejected};

use crate::samples::{event, event_around, read, refused};

#[track_caller]
fn check_not_json(body: impl AsRef<[u8]>, why: &str) {
    match read(body) {
        Err(Rejected::NotJson(told)) => assert!(told.contains(why), "{told}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_json_is_refused_as_such() {
    check_not_json("", "EOF");
    check_not_json("{", "EOF");
    check_not_json("{} {}", "trailing characters");
    check_not_json("\u{feff}{}", "expected value");
    check_not_json(b"{\"a\":\"\xff\"}", "invalid utf-8");
    check_not_json(&event().to_string()[..50], "EOF");
    for payload in [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        ".5",
        "1.",
        "'a'",
        "[1,]",
        "{\"a\":1,}",
        "\"\t\"",
        "nul",
    ] {
        check_not_json(event_around(payload), "line 1");
    }
}

#[test]
fn json_that_is_no_object_is_no_envelope() {
    for body in ["[]", " 1", "\"x\"", "null", "[[[]]]"] {
        assert_eq!(refused(body), "not an envelope: envelope: an object is expected", "{body}");
    }
}

#[test]
fn a_body_over_the_limit_is_not_looked_into() {
    let body = event().to_string();
    let limits = |max_message_bytes| Limits { max_message_bytes, ..Limits::default() };
    assert!(Envelope::from_json(body.as_bytes(), &limits(body.len())).is_ok());
    let rejected = Envelope::from_json(body.as_bytes(), &limits(body.len() - 1)).unwrap_err();
    assert_eq!(rejected, Rejected::TooLarge { bytes: body.len(), limit: body.len() - 1 });
    assert!(matches!(
        read(vec![0; 1_048_577]),
        Err(Rejected::TooLarge { bytes: 1_048_577, limit: 1_048_576 })
    ));
}

#[test]
fn a_duplicate_key_is_refused_at_every_depth() {
    check_not_json(event_around("1,\"payload\":1"), r#"duplicate key "payload""#);
    check_not_json(event_around("1,\"topic\":\"event.a.b.c\""), r#"duplicate key "topic""#);
    check_not_json(event_around("1,\"x\":1,\"x\":1"), r#"duplicate key "x""#);
    check_not_json(event_around(r#"{"a":1,"a":1}"#), r#"in "payload": duplicate key "a""#);
    check_not_json(
        event_around(r#"[[{"b":{"a":1,"c":2,"a":1}}]]"#),
        r#"in "payload": duplicate key "a""#,
    );
    check_not_json(event_around(r#"1,"x":{"a":1,"a":1}"#), r#"in "x": duplicate key "a""#);
    check_not_json(
        event_around(r#"1,"status":{"a":1,"a":1}"#),
        r#"in "status": duplicate key "a""#,
    );
}

#[test]
fn a_key_written_in_another_way_is_the_same_key() {
    check_not_json(event_around(r#"{"a":1,"\u0061":1}"#), r#"duplicate key "a""#);
    check_not_json(event_around(r#"1,"p\u0061yload":1"#), r#"duplicate key "payload""#);
}

#[test]
fn a_duplicate_is_found_among_many_keys_too() {
    let keys = |last: usize| {
        (0..1000).chain([last]).map(|key| format!("\"k{key}\":{key}")).collect::<Vec<_>>().join(",")
    };
    for twice in [0, 15, 16, 17, 999] {
        check_not_json(
            event_around(&format!("{{{}}}", keys(twice))),
            &format!("duplicate key \"k{twice}\""),
        );
        check_not_json(
            event_around(&format!("1,{}", keys(twice))),
            &format!("duplicate key \"k{twice}\""),
        );
    }
    assert!(read(event_around(&format!("{{{}}}", keys(1000)))).is_ok());
}

#[test]
fn the_same_key_in_two_objects_is_no_duplicate() {
    assert!(read(event_around(r#"[{"a":{"a":1}},{"a":2}]"#)).is_ok());
}

#[test]
fn a_body_of_128_levels_is_the_deepest() {
    let arrays = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for payload in [arrays(127), objects(127)] {
        assert!(read(event_around(&payload)).is_ok());
        assert!(read(event_around(&format!("1,\"extra\":{payload}"))).is_ok());
    }
    for payload in [arrays(128), objects(128), arrays(129), arrays(100_000)] {
        check_not_json(event_around(&payload), r#"in "payload": nested deeper than 128 levels"#);
        check_not_json(
            event_around(&format!("1,\"extra\":{payload}")),
            r#"in "extra": nested deeper than 128 levels"#,
        );
        check_not_json(
            event_around(&format!("1,\"status\":{payload}")),
            r#"in "status": nested deeper than 128 levels"#,
        );
    }
}

#[test]
fn a_million_brackets_are_no_danger() {
    for bracket in ["[", "{\"a\":", "{\"payload\":", "[{\"a\":"] {
        let body = bracket.repeat(1_000_000 / bracket.len());
        check_not_json(&body, "");
        check_not_json(event_around(&body), "");
    }
}

#[test]
fn a_lone_surrogate_is_refused_wherever_it_stands() {
    for lone in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x"] {
        for body in [
            event_around(&format!("\"{lone}\"")),
            event_around(&format!("{{\"{lone}\":1}}")),
            event_around(&format!("1,\"x\":[\"{lone}\"]")),
            event_around(&format!("1,\"{lone}\":1")),
            event().to_string().replace("OrderPlaced", lone),
        ] {
            check_not_json(body, "");
        }
    }
    assert!(read(event_around(r#""\ud83d\ude00""#)).is_ok());
}

#[test]
fn a_number_that_takes_very_many_digits_is_refused() {
    let digits = "1".repeat(2_000);
    for number in ["1e-16000", "-0.1E-2000", "0e99999999999", &digits, &format!("0.{digits}")] {
        let words = if number == "0e99999999999" { "" } else { "more than 1100 digits" };
        let words = if number == digits { "" } else { words };
        check_not_json(event_around(number), words);
        check_not_json(event_around(&format!("[\"\\\"1e-16000\", {{\"a\": {number}}}]")), words);
    }
    let least = format!("4.9{}e-324", "0".repeat(700));
    assert!(read(event_around(&least)).is_ok());
    assert!(read(event_around(r#"["1e-16000", "\\", "\"", {"1e-16000": 1}]"#)).is_ok());
}

#[test]
fn a_number_beyond_any_double_is_refused() {
    check_not_json(event_around("1e400"), "number out of range");
    assert!(read(event_around("[1e308, 1e-400, 123456789012345678901234567890]")).is_ok());
}
