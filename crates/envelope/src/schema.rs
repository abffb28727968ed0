//! The JSON Schema of the envelope, for other languages and for a second opinion.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::fault::Fault;

/// The schema, draft 2020-12, as the file in this crate has it.
pub const TEXT: &str = include_str!("../schema/interservice.envelope.v1.json");

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(TEXT).expect("the schema file is JSON");
    jsonschema::draft202012::new(&schema).expect("the schema file is a schema")
});

/// Checks a value with the schema; no fault means that it is valid.
///
/// It says the same as [`crate::Envelope::from_json`] does of a complete body, but for `max_chain_depth`, which
/// belongs to a config. It is the slower one by far.
pub fn check(value: &Value) -> Vec<Fault> {
    VALIDATOR.iter_errors(value).map(|error| fault(&error)).collect()
}

fn fault(error: &ValidationError<'_>) -> Fault {
    if let ValidationErrorKind::Required { property: Value::String(property) } = error.kind() {
        return Fault::new(property, "missing");
    }
    let path = error.instance_path().as_str().trim_start_matches('/');
    Fault::new(if path.is_empty() { "envelope" } else { path }, error.to_string())
}
