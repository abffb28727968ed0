//! The payload of an EdgeX envelope as what it holds, by looking at it more than at what it is said to be.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::body::json_in;
use crate::cbor;
use crate::dto;
use crate::json::{Json, Sanitized};
use crate::parse::{self, NotJson};

/// How lenient the reading of base64 is: any padding, any alphabet.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a payload holds.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) data: Json<'a>,
    /// How it was encoded, as a word.
    pub(crate) encoding: &'static str,
    pub(crate) sanitized: Sanitized,
    /// Why it is not what it was meant to be, such as JSON that is cut off.
    pub(crate) broken: Option<String>,
}

/// What an envelope says of its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hints<'h> {
    /// In lower case, without parameters.
    pub(crate) content_type: &'h str,
    pub(crate) is_error: bool,
    /// Whether the envelope itself was CBOR.
    pub(crate) in_cbor: bool,
}

/// The words for how bytes within a payload were encoded, by what they hold.
struct Words {
    json: &'static str,
    cbor: &'static str,
    text: &'static str,
    other: &'static str,
}

const BASE64: Words =
    Words { json: "base64-json", cbor: "base64-cbor", text: "base64-text", other: "base64" };
const CBOR_BYTES: Words = Words {
    json: "cbor-bytes-json",
    cbor: "cbor-bytes-cbor",
    text: "cbor-bytes-text",
    other: "cbor-bytes",
};

impl<'a> Content<'a> {
    /// Decodes a payload.
    pub(crate) fn of(payload: Json<'a>, hints: Hints<'_>) -> Self {
        match payload {
            Json::Null => Self::plain(Json::Null, "none"),
            Json::Text(text) => Self::of_text(text, hints),
            Json::Bytes(bytes) => Self::of_bytes(&bytes, hints, &CBOR_BYTES)
                .unwrap_or_else(|| Self::plain(Json::Bytes(bytes), CBOR_BYTES.other)),
            other => Self::plain(other, if hints.in_cbor { "cbor" } else { "json" }),
        }
    }

    fn of_text(text: Cow<'a, str>, hints: Hints<'_>) -> Self {
        if hints.is_error || hints.content_type.starts_with("text/") {
            return Self::of_message(text, hints);
        }
        if json_in(&text).trim_start().starts_with(['{', '[']) {
            return match json_within(&text) {
                Ok((data, sanitized)) => Self { sanitized, ..Self::plain(data, "json-string") },
                Err(error) => {
                    let broken = is_meant_as_json(&text).then(|| error.to_string());
                    Self { broken, ..Self::plain(Json::Text(text), "text") }
                }
            };
        }
        let Some(bytes) = from_base64(&text) else { return Self::plain(Json::Text(text), "text") };
        Self::of_bytes(&bytes, hints, &BASE64).unwrap_or_else(|| {
            // The text itself is what base64 of these bytes looks like.
            let canonical = STANDARD.decode(text.as_bytes()).is_ok();
            Self::plain(Json::Text(text), if canonical { BASE64.other } else { "text" })
        })
    }

    /// A text for a person: bare since v4, in base64 before, and an object in the C SDK.
    fn of_message(text: Cow<'a, str>, hints: Hints<'_>) -> Self {
        let decoded = STANDARD.decode(text.as_bytes()).ok().and_then(printable);
        let (text, text_word, json_word) = match decoded {
            Some(decoded) => (Cow::Owned(decoded), BASE64.text, BASE64.json),
            None => (text, "text", "json-string"),
        };
        if hints.content_type.ends_with("json")
            && text.starts_with('{')
            && let Ok((object, sanitized)) = json_within(&text)
        {
            return Self { sanitized, ..Self::plain(object, json_word) };
        }
        Self::plain(Json::Text(text), text_word)
    }

    /// Bytes that hold something; `None` where they are only bytes.
    fn of_bytes(bytes: &[u8], hints: Hints<'_>, words: &Words) -> Option<Self> {
        let declared_cbor = hints.content_type.ends_with("cbor");
        let as_cbor = cbor::starts_as_container(bytes).then(|| cbor::item(bytes));
        if let Some(Ok((data, sanitized))) = as_cbor {
            return Some(Self { sanitized, ..Self::plain(data.into_owned(), words.cbor) });
        }
        if let Some(Err(error)) = as_cbor
            && declared_cbor
        {
            let data = Json::Bytes(bytes.to_vec().into());
            let broken = Some(error.to_string());
            return Some(Self { broken, ..Self::plain(data, words.other) });
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return Self::of_cut_text(bytes, &error, words),
        };
        match json_within(text) {
            Ok((data, sanitized)) => Some(Self { sanitized, ..Self::plain(data, words.json) }),
            Err(error) => {
                let broken = is_meant_as_json(text).then(|| error.to_string());
                let text = printable(bytes.to_vec())?;
                Some(Self { broken, ..Self::plain(Json::Text(text.into()), words.text) })
            }
        }
    }

    /// JSON that is not UTF-8 throughout is broken JSON.
    fn of_cut_text(bytes: &[u8], error: &std::str::Utf8Error, words: &Words) -> Option<Self> {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?;
        is_meant_as_json(valid).then(|| Self {
            broken: Some(format!("no UTF-8 from byte {} on", error.valid_up_to())),
            ..Self::plain(Json::Bytes(bytes.to_vec().into()), words.other)
        })
    }

    fn plain(data: Json<'a>, encoding: &'static str) -> Self {
        Self { data, encoding, sanitized: Sanitized::default(), broken: None }
    }
}

/// Reads base64 as publishers write it: either alphabet, padded or not, on one line or several.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut text = Cow::Borrowed(text);
    if text.contains(['\r', '\n']) {
        text = text.replace(['\r', '\n'], "").into();
    }
    let engine = if text.contains(['-', '_']) { LENIENT_URL } else { LENIENT_STANDARD };
    Some(text).filter(|text| !text.is_empty()).and_then(|text| engine.decode(text.as_bytes()).ok())
}

/// One JSON value, or an array of the events that were glued together.
fn json_within(text: &str) -> Result<(Json<'static>, Sanitized), NotJson> {
    let (mut documents, sanitized) = parse::documents(json_in(text))?;
    let json = match documents.len() {
        1 => documents.swap_remove(0),
        _ if documents.iter().all(dto::is_event) => Json::Array(documents),
        several => return Err(NotJson::Several(several)),
    };
    Ok((json.into_owned(), sanitized))
}

/// Whether a text that is not JSON looks as if it should be. A log line in brackets does not.
fn is_meant_as_json(text: &str) -> bool {
    let mut characters = json_in(text).chars().filter(|character| !character.is_ascii_whitespace());
    match (characters.next(), characters.next()) {
        (Some('{'), second) => matches!(second, Some('"' | '}') | None),
        (Some('['), second) => matches!(second, Some('{' | '[' | '"' | ']') | None),
        _ => false,
    }
}

fn printable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let is_printable = |character: char| !character.is_control() || "\t\r\n".contains(character);
    (!text.is_empty() && text.chars().all(is_printable)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::into_text;

    const JSON: Hints<'_> =
        Hints { content_type: "application/json", is_error: false, in_cbor: false };
    const CBOR: Hints<'_> = Hints { content_type: "application/cbor", ..JSON };
    const TEXT: Hints<'_> = Hints { content_type: "text/plain", ..JSON };
    const ERROR: Hints<'_> = Hints { is_error: true, ..JSON };

    #[track_caller]
    fn check(payload: Json<'_>, hints: Hints<'_>, data: &str, encoding: &str) {
        let content = Content::of(payload, hints);
        let mut out = Vec::new();
        content.data.write(&mut out);
        assert_eq!((into_text(out).as_str(), content.encoding), (data, encoding));
        assert_eq!(content.broken, None);
    }

    #[track_caller]
    fn check_text(payload: &str, hints: Hints<'_>, data: &str, encoding: &str) {
        check(Json::Text(payload.into()), hints, data, encoding);
    }

    #[track_caller]
    fn broken(payload: &[u8], hints: Hints<'_>) {
        let payload = STANDARD.encode(payload);
        let content = Content::of(Json::Text(payload.into()), hints);
        assert!(content.broken.is_some(), "{content:?}");
    }

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        STANDARD.encode(bytes)
    }

    #[test]
    fn what_is_no_text_is_taken_as_it_is() {
        check(Json::Null, JSON, "null", "none");
        check(Json::Bool(true), JSON, "true", "json");
        check(Json::Array(vec![]), Hints { in_cbor: true, ..JSON }, "[]", "cbor");
    }

    #[test]
    fn an_error_is_its_text_unless_base64_of_a_printable_one() {
        check_text("device busy", ERROR, r#""device busy""#, "text");
        check_text("Unauthorized", TEXT, r#""Unauthorized""#, "text");
        check_text(&base64("not found\n"), TEXT, r#""not found\n""#, "base64-text");
        check_text(&base64("bell\u{7}"), TEXT, &format!("{:?}", base64("bell\u{7}")), "text");
        check_text("{x", ERROR, r#""{x""#, "text");
        check_text("", ERROR, r#""""#, "text");
        let in_cbor = Hints { in_cbor: true, ..TEXT };
        check_text("not found", in_cbor, r#""not found""#, "text");
    }

    #[test]
    fn an_error_object_is_an_object_where_it_is_said_to_be_json() {
        let object = r#"{"message":"no"}"#;
        check_text(&base64(object), ERROR, object, "base64-json");
        check_text(object, ERROR, object, "json-string");
        let quoted = format!("{object:?}");
        let text = Hints { content_type: "text/plain", ..ERROR };
        check_text(&base64(object), text, &quoted, "base64-text");
    }

    #[test]
    fn base64_is_read_whatever_its_alphabet_padding_and_lines() {
        let json = r#"{"a":"???>>>"}"#;
        let standard = base64(json);
        check_text(&standard, JSON, json, "base64-json");
        check_text(standard.trim_end_matches('='), JSON, json, "base64-json");
        check_text(&standard.replace('+', "-").replace('/', "_"), JSON, json, "base64-json");
        let (first, second) = standard.split_at(8);
        check_text(&format!("{first}\r\n{second}\n"), JSON, json, "base64-json");
    }

    #[test]
    fn the_content_type_is_only_a_hint() {
        let cbor = base64(b"\xa1\x61a\x01");
        check_text(&cbor, JSON, r#"{"a":1}"#, "base64-cbor");
        check_text(&base64(r#"{"a":1}"#), CBOR, r#"{"a":1}"#, "base64-json");
        let bytes = |bytes: &'static [u8]| Json::Bytes(bytes.into());
        check(bytes(br#"{"a":1}"#), CBOR, r#"{"a":1}"#, "cbor-bytes-json");
        check(bytes(b"\xa1\x61a\x01"), JSON, r#"{"a":1}"#, "cbor-bytes-cbor");
        check(bytes(b"hello"), JSON, r#""hello""#, "cbor-bytes-text");
        check(bytes(b"\xff\xd8"), JSON, r#""/9g=""#, "cbor-bytes");
    }

    #[test]
    fn an_app_services_output_may_hold_anything() {
        check_text(&base64("<Event/>"), JSON, r#""<Event/>""#, "base64-text");
        check_text(&base64("[INFO] started"), JSON, r#""[INFO] started""#, "base64-text");
        check_text("[INFO] started", JSON, r#""[INFO] started""#, "text");
        check_text(&base64(b"\x1f\x8b\x08\0"), JSON, r#""H4sIAA==""#, "base64");
        check_text("a plain string", JSON, r#""a plain string""#, "text");
        check_text("{\"a\":[1]}\0", JSON, r#"{"a":[1]}"#, "json-string");
    }

    #[test]
    fn events_that_were_glued_together_are_a_list() {
        let event = r#"{"deviceName":"d","readings":[]}"#;
        check_text(
            &base64(format!("{event}\n{event}")),
            JSON,
            &format!("[{event},{event}]"),
            "base64-json",
        );
    }

    #[test]
    fn json_and_cbor_that_are_cut_off_are_broken() {
        broken(br#"{"apiVersion":"v3","#, JSON);
        broken(b"{\"a\":\"\xff\"}", JSON);
        broken(br#"[{"a":1}"#, CBOR);
        broken(b"\xa2\x61a\x01", CBOR);
        broken(br#"{"a":1}{"b":2}"#, JSON);
        let inline = Content::of(Json::Text(r#"{"a":"#.into()), JSON);
        assert!(inline.broken.is_some());
    }
}
