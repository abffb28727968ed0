//! The fixed words of `quarantined_message.reason`.

/// The body is larger than `max_message_bytes`, or the headers have more than 64 entries or 16 KiB as JSON.
pub const TOO_LARGE: &str = "too_large";
/// The body is not JSON: not UTF-8, cut off, a duplicate key, NaN, nested too deeply.
pub const INVALID_JSON: &str = "invalid_json";
/// JSON, but not the envelope: a field is missing, of a wrong type or contradicts another.
pub const INVALID_ENVELOPE: &str = "invalid_envelope";
/// The same `message_id` on the same topic came before with another payload.
pub const ID_CONFLICT: &str = "id_conflict";
/// Its headers or properties are not what AMQP says: text that is not UTF-8, a type that does not exist.
pub const UNDECODABLE: &str = "undecodable";
/// A valid message that the database cannot hold, such as one with U+0000 in a text.
pub const UNSTORABLE: &str = "unstorable";
