//! The schema file.

use postroad_envelope::schema;
use serde_json::{Value, json};

use crate::samples::{event, request, response, with, without};

#[track_caller]
fn check(value: &Value, fields: &[&str]) {
    let faults = schema::check(value);
    assert_eq!(
        faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(),
        fields,
        "{faults:?}"
    );
}

#[test]
fn the_file_is_a_schema_of_draft_2020_12() {
    let schema: Value = serde_json::from_str(schema::TEXT).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn the_samples_are_valid() {
    for sample in [request(), response(), event()] {
        check(&sample, &[]);
    }
}

#[test]
fn a_fault_names_its_field() {
    check(&without(event(), "payload"), &["payload"]);
    check(&without(request(), "reply_to"), &["reply_to"]);
    check(&without(response(), "status"), &["status"]);
    check(&with(event(), "chain_depth", -1), &["chain_depth"]);
    check(&with(event(), "topic", "shop.response.a.b"), &["topic"]);
    check(&json!([]), &["envelope"]);
}

#[test]
fn every_required_field_is_asked_for() {
    check(
        &json!({}),
        &["schema", "message_id", "message_type", "topic", "source_service", "payload"],
    );
}
