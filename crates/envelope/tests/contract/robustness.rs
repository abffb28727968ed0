//! No input makes anything panic.

use postroad_envelope::{
    BindingPattern, Envelope, InboundParts, Limits, OutboxColumns, Topic, check_service_name,
    normalise_inbound, normalise_outbound,
};
use proptest::prelude::*;

use crate::samples::request;

/// Calls all there is with one input; what it says does not matter here, only that it says something.
fn try_everything(bytes: &[u8]) {
    let limits = Limits::default();
    let text = String::from_utf8_lossy(bytes);
    let said = [
        Envelope::from_json(bytes, &limits).is_ok(),
        normalise_inbound(
            &InboundParts { body: bytes, routing_key: &text, ..InboundParts::default() },
            &limits,
        )
        .is_ok(),
        normalise_outbound(&row(&text), &text, &limits).is_ok(),
        Topic::parse(&text).is_ok(),
        check_service_name(&text).is_ok(),
        BindingPattern::parse(&text).is_ok_and(|pattern| pattern.matches(&text)),
    ];
    std::hint::black_box(said);
}

fn row(text: &str) -> OutboxColumns {
    OutboxColumns { topic: text.to_owned(), payload: text.to_owned(), ..OutboxColumns::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_everything(&bytes);
    }

    #[test]
    fn text_that_looks_like_json_does_not_panic(text in "[\\[\\]{}\":,.eE+\\-0-9a\\\\u#* \u{fc}]{0,80}") {
        try_everything(text.as_bytes());
    }

    #[test]
    fn a_damaged_envelope_does_not_panic(at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = request().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if cut {
            bytes.truncate(at + 1);
        }
        try_everything(&bytes);
    }
}
