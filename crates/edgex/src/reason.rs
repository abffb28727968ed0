//! The fixed words for why a message is kept in quarantine.

/// On a topic of EdgeX or in its envelope, but nothing that EdgeX sends; also what is nested too deeply there.
pub const EDGEX_MALFORMED: &str = "edgex.malformed";
/// More bytes than allowed.
pub const TOO_LARGE: &str = "too_large";
/// Says that it is an `interservice.envelope.v1`, but is not JSON.
pub const INVALID_JSON: &str = "invalid_json";
/// Says that it is an `interservice.envelope.v1`, but breaks its rules.
pub const INVALID_ENVELOPE: &str = "invalid_envelope";
/// A valid `interservice.envelope.v1` that a database cannot hold, such as one with U+0000 in a text.
pub const UNSTORABLE: &str = "unstorable";
