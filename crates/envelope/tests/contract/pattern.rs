//! Binding patterns mean what they mean to RabbitMQ.

use postroad_envelope::BindingPattern;
use proptest::prelude::*;

fn matches(pattern: &str, key: &str) -> bool {
    BindingPattern::parse(pattern).unwrap().matches(key)
}

#[track_caller]
fn check(pattern: &str, takes: &[&str], leaves: &[&str]) {
    for key in takes {
        assert!(matches(pattern, key), "{pattern:?} should take {key:?}");
    }
    for key in leaves {
        assert!(!matches(pattern, key), "{pattern:?} should leave {key:?}");
    }
}

#[test]
fn a_pattern_without_wildcards_takes_itself() {
    check("a.b", &["a.b"], &["a", "a.b.c", "a.B", "", "a.b."]);
}

#[test]
fn a_star_is_exactly_one_word() {
    check("a.*.c", &["a.b.c", "a..c", "a.*.c"], &["a.c", "a.b.b.c"]);
    check("*", &["a", "#"], &["", "a.b", "."]);
    check("*.*", &["a.b", "."], &["a", "a.b.c"]);
}

#[test]
fn a_hash_is_any_number_of_words() {
    check("#", &["", "a", "a.b", "."], &[]);
    check(
        "shop.request.#",
        &["shop.request", "shop.request.a.b.c"],
        &["shop", "shop.requests.a", "mes.request.a"],
    );
    check("#.c", &["c", "a.c", "a.b.c", "c.c"], &["", "c.a"]);
    check("a.#.c", &["a.c", "a.b.c", "a.c.c", "a.c.b.c"], &["a", "c", "a.c.b"]);
    check("#.a.#.b.#", &["a.b", "x.a.y.b.z", "a.a.b"], &["b.a", "a", "b"]);
}

#[test]
fn wildcards_combine() {
    check("#.*", &["a", "a.b"], &[""]);
    check("*.#", &["a", "a.b"], &[""]);
    check("*.#.*", &["a.b", "a.b.c"], &["a", ""]);
    check("#.#", &["", "a", "a.b"], &[]);
}

#[test]
fn a_wildcard_inside_a_word_is_a_letter() {
    check("a*.b#", &["a*.b#"], &["ab.b", "a.b", "ax.b.c"]);
    check("**", &["**"], &["a", "a.b"]);
    check("##", &["##"], &["", "a"]);
}

#[test]
fn the_empty_pattern_takes_the_empty_key_only() {
    check("", &[""], &["a", "."]);
    check("a.", &["a."], &["a", "a.b"]);
    check(".", &["."], &["", "a"]);
}

#[test]
fn words_may_be_any_text() {
    check("müll er.\u{0}.*", &["müll er.\u{0}.x"], &["mull er.\u{0}.x"]);
}

#[test]
fn a_pattern_of_255_bytes_is_the_longest() {
    assert!(BindingPattern::parse(&"x".repeat(255)).is_ok());
    let error = BindingPattern::parse(&"ü".repeat(128)).unwrap_err();
    assert_eq!(error.to_string(), "it has 256 bytes, at most 255 are allowed");
}

#[test]
fn a_pattern_full_of_hashes_is_no_trap() {
    let pattern = format!("{}b", "#.a.".repeat(60));
    assert!(!matches(&pattern, &"a.".repeat(100_000)));
}

/// The definition, word by word, without any cleverness.
fn naive(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|taken| naive(rest, &key[taken..])),
        Some((&word, rest)) => key
            .split_first()
            .is_some_and(|(&found, left)| (word == "*" || word == found) && naive(rest, left)),
    }
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn matching_follows_the_definition(pattern in "([ab*#]\\.){0,6}[ab*#]?", key in "([ab]\\.){0,7}[ab]?") {
        prop_assert_eq!(matches(&pattern, &key), naive(&words(&pattern), &words(&key)), "{} {}", pattern, key);
    }
}
