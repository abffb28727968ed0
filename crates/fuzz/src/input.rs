//! Taking an input apart.

use serde_json::Value;

/// The first line and what follows it; the whole is the first line where there is no other.
pub(crate) fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

/// What our readers take out of JSON has to be JSON for the next reader too.
#[track_caller]
pub(crate) fn check_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}
