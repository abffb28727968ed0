//! Reading JSON more strictly than usual: no duplicate key at any depth, no lone surrogate, a bounded depth.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::quoted;

/// Up to this many keys are compared one by one, which is faster than looking them up.
const FEW_KEYS: usize = 16;

/// How deep a value in the top-level object may be, so that the whole stays within 128 levels. It is the limit that
/// `serde_json` sets by itself.
const MAX_VALUE_DEPTH: usize = 127;

/// More than any double needs that is not zero: the smallest has 324 zeros and up to 767 digits behind them.
const MAX_DIGITS: usize = 1_100;

/// The members of an object in their order, values as text. The keys differ; the values are not checked yet.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; anything else is refused.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| told(&error))
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Removes a key and returns its value, if it is there.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }

    /// Checks every value; `Err` names the member.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|(name, value)| {
            check(value.get()).map_err(|problem| format!("in {}: {problem}", quoted(name)))
        })
    }

    /// Those not taken.
    pub(crate) fn into_rest(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::with_capacity(FEW_KEYS);
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            keys.add(key.clone())?;
            members.push((key, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// Whether a text can only be an object, if it is JSON at all.
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// Whether a text may be an object with this key at its top; a quick look that saves most texts a closer one.
pub(crate) fn may_have_key(text: &str, key: &str) -> bool {
    is_object(text) && (text.contains('\\') || text.contains(&format!("{key:?}")))
}

/// Checks a JSON text of at most 127 levels for everything that makes a body invalid.
pub(crate) fn check(text: &str) -> Result<(), String> {
    serde_json::from_str(text).map(|Strict| ()).map_err(|error| told(&error))?;
    match long_number(text) {
        None => Ok(()),
        Some(number) => {
            let shown = number.chars().take(40).collect::<String>();
            Err(format!("the number {shown} has more than {MAX_DIGITS} digits"))
        }
    }
}

/// The first number of a JSON text that written out has too many digits. PostgreSQL's jsonb keeps all of them: `1e-16000` takes
/// 16 KB wherever it is read, and a message of a megabyte may hold a hundred thousand of these.
fn long_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let number = &text[at..at + length];
                if is_long(number) {
                    return Some(number);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

fn after_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

fn is_long(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    // One that does not fit into a number is a large one.
    let exponent = exponent.parse::<i32>().map_or(usize::MAX, |it| it.unsigned_abs() as usize);
    digits.len().saturating_add(exponent) > MAX_DIGITS
}

/// The value of a JSON text without the space around it.
pub(crate) fn raw(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|error| told(&error))
}

/// The string in a JSON text that passed [`check`], `None` for any other value.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// A value that is of the wrong type, for a text: `12 is a number`.
pub(crate) fn described(value: &RawValue) -> String {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        Some(b'"') => format!("{} is text", quoted(&string(value).unwrap_or_default())),
        Some(b'n') => "null".to_owned(),
        Some(b't' | b'f') => format!("{text} is a boolean"),
        _ => format!("{} is a number", text.chars().take(40).collect::<String>()),
    }
}

fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return format!("nested deeper than {} levels", MAX_VALUE_DEPTH + 1);
    }
    text
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Any value that keeps the rules. Reading every string and number finds what skipping them would not.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            keys.add(key)?;
            map.next_value::<Strict>()?;
        }
        Ok(Strict)
    }
}

/// The keys of one object so far.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: BTreeSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    fn add<E: serde::de::Error>(&mut self, key: Cow<'a, str>) -> Result<(), E> {
        if self.many.contains(&key) || self.few.contains(&key) {
            return Err(E::custom(format_args!("duplicate key {}", quoted(&key))));
        }
        if self.few.len() < FEW_KEYS {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
        Ok(())
    }
}
