//! The bytes of a message as what they are: nothing, JSON, CBOR, text or bytes.

use crate::cbor;
use crate::json::{Json, Sanitized};
use crate::parse;

/// Looked at without knowing of EdgeX.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// No bytes.
    Empty,
    /// One value.
    Json(Json<'a>, Sanitized),
    /// Several JSON documents, one after the other, in a text.
    Documents(Vec<Json<'a>>, Sanitized, &'a str),
    /// A CBOR map with text keys.
    Cbor(Json<'a>, Sanitized),
    /// UTF-8 that is not JSON, and why not.
    Text(&'a str, String),
    /// Anything else, and why it is neither JSON nor CBOR.
    Bytes(String),
}

impl<'a> Body<'a> {
    /// Looks at all bytes of a message.
    pub(crate) fn of(payload: &'a [u8]) -> Self {
        if payload.is_empty() {
            return Self::Empty;
        }
        match std::str::from_utf8(payload) {
            Ok(text) => match parse::documents(json_in(text)) {
                Ok((mut documents, sanitized)) => match documents.pop() {
                    Some(only) if documents.is_empty() => Self::Json(only, sanitized),
                    last => {
                        documents.extend(last);
                        Self::Documents(documents, sanitized, text)
                    }
                },
                Err(error) if has_inner_nul(text) => Self::Bytes(error.to_string()),
                Err(error) => Self::Text(text, error.to_string()),
            },
            // No UTF-8 starts as a CBOR map does, so nothing can be both.
            Err(_) if cbor::starts_as_container(payload) => match cbor::map(payload) {
                Ok((map, sanitized)) => Self::Cbor(map, sanitized),
                Err(error) => Self::Bytes(error.to_string()),
            },
            Err(error) => Self::Bytes(format!("no UTF-8 from byte {} on", error.valid_up_to())),
        }
    }
}

/// A text without what publishers put around their JSON: a byte order mark, space, and the NUL that ends a C string.
pub(crate) fn json_in(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.trim_end_matches(['\0', ' ', '\t', '\n', '\r'])
}

/// NUL within a text means that it is not one, although its bytes happen to be UTF-8; at the end it is C's.
fn has_inner_nul(text: &str) -> bool {
    text.trim_end_matches('\0').contains('\0')
}
