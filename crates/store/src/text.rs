//! Text that every database can keep.

/// Enough to say what went wrong.
const LONGEST_NOTE: usize = 2_000;

/// A note for a person, fit for a text column: without U+0000, and not endless.
pub(crate) fn note(text: &str) -> String {
    text.chars().take(LONGEST_NOTE).map(visible).collect()
}

/// The same text with something visible for each U+0000.
pub(crate) fn without_nul(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Whether a string somewhere in a JSON text holds U+0000, written as an escape or as it is.
pub(crate) fn json_has_nul(json: &str) -> bool {
    nul_escape(json, 0).is_some() || json.contains('\0')
}

/// The JSON text with U+FFFD for each U+0000.
pub(crate) fn json_without_nul(json: &str) -> String {
    let mut kept = without_nul(json);
    let mut from = 0;
    while let Some(at) = nul_escape(&kept, from) {
        kept.replace_range(at..at + 6, "\\ufffd");
        from = at + 6;
    }
    kept
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .collect()
}

fn visible(character: char) -> char {
    if character == '\0' { char::REPLACEMENT_CHARACTER } else { character }
}

/// Where the next `\u0000` is that is an escape, not an escaped backslash followed by `u0000`.
fn nul_escape(json: &str, from: usize) -> Option<usize> {
    let bytes = json.as_bytes();
    let mut at = from;
    while let Some(offset) = bytes.get(at..)?.iter().position(|&byte| byte == b'\\') {
        at += offset;
        if bytes[at..].starts_with(b"\\u0000") {
            return Some(at);
        }
        // The escaped character cannot begin an escape of its own.
        at += 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: bool) {
        assert_eq!(json_has_nul(json), expected, "{json}");
        assert!(!json_has_nul(&json_without_nul(json)), "{json}");
    }

    #[test]
    fn an_escaped_nul_is_found_and_an_escaped_backslash_before_u0000_is_not_one() {
        check(r#"{"a":"x\u0000y"}"#, true);
        check(r#"{"a\u0000":1}"#, true);
        check(r#"{"a":"\\\u0000"}"#, true);
        check("\"raw \0\"", true);
        check(r#"{"a":"\\u0000"}"#, false);
        check(r#"{"a":"\\\\u0000\n\u00001"}"#, true);
        check(r#"{"a":"\u0001 \u00e9 u0000"}"#, false);
        check("\"\\", false);
    }

    #[test]
    fn a_nul_is_replaced_and_all_else_is_kept() {
        assert_eq!(json_without_nul(r#"["\\u0000","\u0000"]"#), r#"["\\u0000","\ufffd"]"#);
        assert_eq!(note("a\0b"), "a\u{fffd}b");
        assert_eq!(note(&"é".repeat(3_000)).chars().count(), LONGEST_NOTE);
    }
}
