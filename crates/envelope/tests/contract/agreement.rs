//! The typed path and the schema give the same verdict, and what is valid survives the way out and back.

use postroad_envelope::{
    Envelope, InboundParts, Limits, OutboxColumns, normalise_inbound, normalise_outbound, schema,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use crate::samples::{event, event_around, request, response};

const LIMITS: Limits = Limits { max_message_bytes: 1_048_576, max_chain_depth: u32::MAX };

const FIELDS: &[&str] = &[
    "schema",
    "message_id",
    "message_type",
    "topic",
    "source_service",
    "request_id",
    "parent_request_id",
    "chain_depth",
    "reply_to",
    "status",
    "event_type",
    "payload",
    "extra",
];

/// JSON texts that one field or another takes offence at.
const VALUES: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "0",
    "1",
    "1.0",
    "1.5",
    "-0",
    "-0.0",
    "-1",
    "1e0",
    "1e2",
    "1e-1",
    "1e-400",
    "1e300",
    "1e400",
    "4294967295",
    "4294967295.0",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1.00000000000000000001",
    "123456789012345678901234567890",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud835\\udd4f\"",
    "\"a\"",
    "\"a.b\"",
    "\"a\\n\"",
    "\"event\"",
    "\"event\\n\"",
    "\"Event\"",
    "\"request\"",
    "\"response\"",
    "\"success\"",
    "\"error\"",
    "\"interservice.envelope.v1\"",
    "\"interservice.envelope.v1 \"",
    "\"event.a.b.c\"",
    "\"event.a.b.c.d\"",
    "\"event.a.b\"",
    "\"event.request.a.b\"",
    "\"event.response.a.b\"",
    "\"a.request.b.c\"",
    "\"a.request.b\"",
    "\"a.response.b.c\"",
    "\"a.response.b.c.d-e_f\"",
    "\"a.response.b.c\\n\"",
    "\"a.response..c\"",
    "\"a.response.b.*\"",
    "\"a.response.b.#\"",
    "\"a.response.b.\u{e9}\"",
    "\".response.b.c\"",
    "\"response.response.b.c\"",
    "\"a.Request.b.c\"",
    "{\"a\": [1, {\"b\": null}]}",
];

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(VALUES).prop_map(str::to_owned),
        1 => (select(&["a", "\u{fc}", "\u{1d54f}"][..]), 254..=257_usize).prop_map(|(text, n)| format!("{:?}", text.repeat(n))),
        1 => (select(&["event.a.b.", "a.request.b.", "a.response.b."][..]), 240..=260_usize)
            .prop_map(|(stem, n)| format!("\"{stem}{}\"", "x".repeat(n - stem.len()))),
        1 => "[a-c.*#_ -]{0,12}".prop_map(|text| format!("{text:?}")),
        1 => any::<String>().prop_map(|text| Value::from(text).to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| Value::from(number).to_string()),
    ]
}

/// A valid body with some fields changed and some left out.
fn body() -> impl Strategy<Value = String> {
    let sample = select(vec![request(), response(), event()]);
    let changes =
        prop::collection::vec((select(FIELDS), prop::option::weighted(0.8, value())), 0..4);
    (sample, changes).prop_map(|(sample, changes)| {
        let sample = sample.as_object().unwrap();
        let mut members: Vec<_> =
            sample.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
        for (field, change) in changes {
            members.retain(|(name, _)| *name != field);
            members.extend(change.map(|text| (field, text)));
        }
        let members: Vec<_> =
            members.iter().map(|(name, text)| format!("{name:?}: {text}")).collect();
        format!("{{{}}}", members.join(", "))
    })
}

fn schema_takes(body: &str) -> bool {
    serde_json::from_str(body).is_ok_and(|value| schema::check(&value).is_empty())
}

#[test]
fn both_agree_on_every_listed_value_in_every_field() {
    for sample in [request(), response(), event()] {
        for field in FIELDS {
            for text in VALUES {
                let mut sample = sample.clone();
                sample[*field] = "<here>".into();
                let body = sample.to_string().replace("\"<here>\"", text);
                let typed = Envelope::from_json(body.as_bytes(), &LIMITS);
                assert_eq!(typed.is_ok(), schema_takes(&body), "{body}: {typed:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn both_agree_on_mutated_envelopes(body in body()) {
        let typed = Envelope::from_json(body.as_bytes(), &LIMITS);
        prop_assert_eq!(typed.is_ok(), schema_takes(&body), "{}: {:?}", body, typed);
    }

    #[test]
    fn what_is_valid_survives_the_way_out_and_back(body in body()) {
        if let Ok(envelope) = Envelope::from_json(body.as_bytes(), &LIMITS) {
            prop_assert!(schema_takes(std::str::from_utf8(&envelope.to_json()).unwrap()));
            prop_assert_eq!(&Envelope::from_json(&envelope.to_json(), &LIMITS).unwrap(), &envelope);
            let delivery = InboundParts { body: body.as_bytes(), ..InboundParts::default() };
            prop_assert_eq!(&normalise_inbound(&delivery, &LIMITS).unwrap(), &envelope);
            let row = OutboxColumns { topic: envelope.topic.to_string(), payload: body, ..OutboxColumns::default() };
            prop_assert_eq!(normalise_outbound(&row, "config", &LIMITS).unwrap().envelope, envelope);
        }
    }

    #[test]
    fn what_goes_out_is_valid(
        body in body(),
        id in any::<String>(),
        columns in prop::collection::vec(prop::option::weighted(0.2, value()), 8),
        depth in prop::option::weighted(0.2, -2..40_i64),
        topic in select(&["event.a.b.c", "a.request.b.c", "shop.response.order.create", "x"][..]),
    ) {
        let column = |index: usize| {
            columns[index].as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.clone()))
        };
        let row = OutboxColumns {
            id,
            topic: topic.into(),
            message_id: column(0),
            message_type: column(1),
            message_status: column(2),
            request_id: column(3),
            event_type: column(4),
            source_service: column(5),
            parent_request_id: column(6),
            chain_depth: depth,
            reply_to: column(7),
            payload: body,
        };
        if let Ok(prepared) = normalise_outbound(&row, "config", &LIMITS) {
            prop_assert_eq!(Envelope::from_json(&prepared.body, &LIMITS).unwrap(), prepared.envelope);
        }
    }

    #[test]
    fn a_payload_keeps_its_text(text in any::<String>(), number in any::<f64>()) {
        let payload = format!("[ {}, {number:e} ]", Value::from(text));
        let envelope = Envelope::from_json(event_around(&payload).as_bytes(), &LIMITS).unwrap();
        prop_assert_eq!(envelope.payload.get(), payload);
    }
}
