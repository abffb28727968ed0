//! JSON as a tree that keeps numbers as text, keys in order, and duplicate keys.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Levels of arrays and objects that are read. `serde_json` reads 127, and what is stored wraps up to two around.
pub(crate) const MAX_DEPTH: usize = 124;

/// The members of an object. Found by name without regard to case, the first of several counting.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// Any value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(Cow<'a, str>),
    /// Without U+0000.
    Text(Cow<'a, str>),
    /// Of CBOR only; written as base64.
    Bytes(Cow<'a, [u8]>),
    Array(Vec<Json<'a>>),
    Object(Members<'a>),
}

impl<'a> Json<'a> {
    /// The member of this name, if this is an object and has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether it is an object with this member.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What can serve as an id: text that is not empty, or a number.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        }
        .map(AsRef::as_ref)
    }

    /// Whether it says nothing: null or an empty text.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self, Self::Null) || self.text() == Some("")
    }

    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Number(text) => Json::Number(Cow::Owned(text.into_owned())),
            Self::Text(text) => Json::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Json::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Array(items) => Json::Array(items.into_iter().map(Self::into_owned).collect()),
            Self::Object(members) => Json::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
        }
    }

    /// Appends it as JSON text.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend(b"null"),
            Self::Bool(true) => out.extend(b"true"),
            Self::Bool(false) => out.extend(b"false"),
            Self::Number(text) => out.extend(text.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::Bytes(bytes) => {
                out.push(b'"');
                out.extend(STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            }
            Self::Array(items) => {
                out.push(b'[');
                write_list(items, out, Self::write);
                out.push(b']');
            }
            Self::Object(members) => write_members(members, out),
        }
    }
}

/// Appends an object.
pub(crate) fn write_members<K: AsRef<str>>(members: &[(K, Json<'_>)], out: &mut Vec<u8>) {
    out.push(b'{');
    write_list(members, out, |(key, value), out| {
        write_text(key.as_ref(), out);
        out.push(b':');
        value.write(out);
    });
    out.push(b'}');
}

/// Appends a string with its quotes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text serialises, and a Vec takes every byte");
}

/// The text of what was written.
pub(crate) fn into_text(written: Vec<u8>) -> String {
    String::from_utf8(written).expect("only text was written")
}

fn write_list<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

/// What was changed in a message so that every database can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sanitized {
    /// U+0000 became U+FFFD.
    pub(crate) nul: bool,
    /// Lone surrogates became U+FFFD.
    pub(crate) surrogate: bool,
    /// A number beyond any double became a text.
    pub(crate) number: bool,
}

impl Sanitized {
    /// The words for what was changed.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.nul, "nul"), (self.surrogate, "surrogate"), (self.number, "number")]
            .into_iter()
            .filter_map(|(set, word)| set.then_some(word))
    }

    /// Adds what was changed elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        self.nul |= other.nul;
        self.surrogate |= other.surrogate;
        self.number |= other.number;
    }

    /// A text without U+0000.
    pub(crate) fn text<'a>(&mut self, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let text = text.into();
        if !text.contains('\0') {
            return text;
        }
        self.nul = true;
        text.replace('\0', "\u{fffd}").into()
    }

    /// A number, as a text where not every database and reader would take it.
    pub(crate) fn number<'a>(&mut self, number: impl Into<Cow<'a, str>>) -> Json<'a> {
        let number = number.into();
        if is_holdable(&number) {
            return Json::Number(number);
        }
        self.number = true;
        Json::Text(number)
    }
}

/// Within the digits that an envelope may have, far below the 16,383 after the point that PostgreSQL keeps and writes out each
/// time; `serde_json` refuses what is beyond any double.
fn is_holdable(number: &str) -> bool {
    const MOST_DIGITS: u64 = 1_100;
    if number.len() <= 24 && !number.contains(['e', 'E']) {
        return true;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return false };
    (mantissa.len() as u64).saturating_add(exponent.unsigned_abs()) <= MOST_DIGITS
        && number.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: &str, kept: bool) {
        let mut sanitized = Sanitized::default();
        let json = sanitized.number(number);
        assert_eq!(matches!(json, Json::Number(_)), kept, "{number}");
        assert_eq!(sanitized.number, !kept, "{number}");
        assert_eq!(json.id(), Some(number));
    }

    #[test]
    fn a_number_that_not_every_reader_takes_becomes_a_text_with_all_its_digits() {
        check("18446744073709551616", true);
        check(&"9".repeat(308), true);
        check(&"9".repeat(310), false);
        check("-1.5e308", true);
        check("1e309", false);
        check("1e-1099", true);
        check("1e-1100", false);
        check("1.5e-1098", false);
        check("0e99999999999999999999", false);
        check("0E-500", true);
        check(&format!("0.{}", "1".repeat(1_098)), true);
        check(&format!("0.{}", "1".repeat(1_099)), false);
    }
}
