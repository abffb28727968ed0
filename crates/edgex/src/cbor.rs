//! CBOR to the same tree as JSON: byte strings as base64, NaN and infinities as EdgeX spells them, any key as its text.

use std::borrow::Cow;
use std::mem;

use ciborium_ll::{Decoder, Error, Header, simple, tag};

use crate::json::{Json, MAX_DEPTH, Sanitized, into_text};
use crate::parse::Parsed;

/// Digits of a large integer that are worked out; beyond any double in any case.
const MAX_BIGNUM_BYTES: usize = 160;

/// Why bytes are not CBOR that can be read. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCbor {
    #[error("CBOR that is cut off after {0} bytes")]
    CutOff(usize),
    #[error("no CBOR from byte {0} on")]
    Unexpected(usize),
    #[error("CBOR nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("a CBOR map with keys that are not text")]
    Keys,
    #[error("CBOR with an array or map as a key within another one, at byte {0}")]
    KeyInKey(usize),
}

/// Whether these bytes start as a CBOR map or array does, the tag for CBOR itself aside.
pub(crate) fn starts_as_container(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(&[0xd9, 0xd9, 0xf7]).unwrap_or(bytes);
    matches!(bytes.first(), Some(0x80..=0xbf))
}

/// Reads a map with text keys that fills the bytes.
pub(crate) fn map(bytes: &[u8]) -> Result<Parsed<Json<'_>>, NotCbor> {
    let mut reader = Reader::new(bytes);
    let json = reader.whole()?;
    match json {
        Json::Object(_) if reader.odd_keys_at_top => Err(NotCbor::Keys),
        Json::Object(_) => Ok((json, reader.sanitized)),
        _ => Err(NotCbor::Unexpected(0)),
    }
}

/// Reads the one value that the bytes are.
pub(crate) fn item(bytes: &[u8]) -> Result<Parsed<Json<'_>>, NotCbor> {
    let mut reader = Reader::new(bytes);
    Ok((reader.whole()?, reader.sanitized))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    sanitized: Sanitized,
    odd_keys_at_top: bool,
    /// Whether what is read is part of a key. An array or map as a key becomes JSON in a text; as a key in there it would
    /// become that once more, twice as long each time for its quotation marks.
    in_key: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            sanitized: Sanitized::default(),
            odd_keys_at_top: false,
            in_key: false,
        }
    }

    fn whole(&mut self) -> Result<Json<'a>, NotCbor> {
        let json = self.value(0)?;
        if self.at == self.bytes.len() { Ok(json) } else { Err(NotCbor::Unexpected(self.at)) }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotCbor> {
        let start = self.at;
        let header = self.header()?;
        self.value_of(header, start, depth)
    }

    /// Reads the value that a header at `start` begins, and that lies in `depth` others.
    fn value_of(
        &mut self,
        header: Header,
        start: usize,
        depth: usize,
    ) -> Result<Json<'a>, NotCbor> {
        Ok(match header {
            Header::Positive(number) => Json::Number(number.to_string().into()),
            Header::Negative(inverted) => {
                Json::Number((-1 - i128::from(inverted)).to_string().into())
            }
            Header::Float(number) => float(number),
            Header::Simple(simple::FALSE) => Json::Bool(false),
            Header::Simple(simple::TRUE) => Json::Bool(true),
            Header::Simple(simple::NULL | simple::UNDEFINED) => Json::Null,
            Header::Simple(other) => Json::Number(other.to_string().into()),
            Header::Bytes(length) => Json::Bytes(self.bytes_of(length)?),
            Header::Text(length) => Json::Text(self.text_of(length)?),
            Header::Array(_) | Header::Map(_) | Header::Tag(_) if depth == MAX_DEPTH => {
                return Err(NotCbor::TooDeep);
            }
            Header::Array(length) => self.array(length, depth + 1)?,
            Header::Map(length) => self.map(length, depth + 1)?,
            Header::Tag(tag) => self.tagged(tag, depth + 1)?,
            Header::Break => return Err(NotCbor::Unexpected(start)),
        })
    }

    fn array(&mut self, length: Option<usize>, depth: usize) -> Result<Json<'a>, NotCbor> {
        let mut items = Vec::new();
        while let Some((start, header)) = self.next_of(length, items.len())? {
            items.push(self.value_of(header, start, depth)?);
        }
        Ok(Json::Array(items))
    }

    fn map(&mut self, length: Option<usize>, depth: usize) -> Result<Json<'a>, NotCbor> {
        let mut members = Vec::new();
        while let Some((start, header)) = self.next_of(length, members.len())? {
            let in_key = mem::replace(&mut self.in_key, true);
            if in_key && matches!(header, Header::Array(_) | Header::Map(_) | Header::Tag(_)) {
                return Err(NotCbor::KeyInKey(start));
            }
            let key = self.value_of(header, start, depth)?;
            self.in_key = in_key;
            let key = match key {
                Json::Text(key) => key,
                other => {
                    self.odd_keys_at_top |= depth == 1;
                    text(&other).into()
                }
            };
            members.push((key, self.value(depth)?));
        }
        Ok(Json::Object(members))
    }

    /// The header of the next item of an array or map that has `so_far`, `None` at its end.
    fn next_of(
        &mut self,
        length: Option<usize>,
        so_far: usize,
    ) -> Result<Option<(usize, Header)>, NotCbor> {
        if length == Some(so_far) {
            return Ok(None);
        }
        let start = self.at;
        let header = self.header()?;
        let ended = length.is_none() && header == Header::Break;
        Ok((!ended).then_some((start, header)))
    }

    /// Large integers are numbers; what else a tag says of a value is dropped.
    fn tagged(&mut self, tag: u64, depth: usize) -> Result<Json<'a>, NotCbor> {
        let value = self.value(depth)?;
        Ok(match (tag, value) {
            (tag::BIGPOS, Json::Bytes(bytes)) if bytes.len() <= MAX_BIGNUM_BYTES => {
                self.sanitized.number(decimal(&bytes))
            }
            (tag::BIGNEG, Json::Bytes(bytes)) if bytes.len() <= MAX_BIGNUM_BYTES => {
                self.sanitized.number(format!("-{}", decimal(&plus_one(&bytes))))
            }
            (_, value) => value,
        })
    }

    fn text_of(&mut self, length: Option<usize>) -> Result<Cow<'a, str>, NotCbor> {
        let start = self.at;
        let text = match length {
            Some(length) => Cow::Borrowed(text_in(self.slice(length)?, start)?),
            None => {
                let mut joined = String::new();
                while let Some((start, header)) = self.next_of(None, 0)? {
                    let Header::Text(Some(length)) = header else {
                        return Err(NotCbor::Unexpected(start));
                    };
                    joined.push_str(text_in(self.slice(length)?, start)?);
                }
                joined.into()
            }
        };
        Ok(self.sanitized.text(text))
    }

    fn bytes_of(&mut self, length: Option<usize>) -> Result<Cow<'a, [u8]>, NotCbor> {
        if let Some(length) = length {
            return self.slice(length).map(Cow::Borrowed);
        }
        let mut joined = Vec::new();
        while let Some((start, header)) = self.next_of(None, 0)? {
            let Header::Bytes(Some(length)) = header else {
                return Err(NotCbor::Unexpected(start));
            };
            joined.extend(self.slice(length)?);
        }
        Ok(joined.into())
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], NotCbor> {
        let rest = &self.bytes[self.at..];
        let slice = rest.get(..length).ok_or(NotCbor::CutOff(self.bytes.len()))?;
        self.at += length;
        Ok(slice)
    }

    fn header(&mut self) -> Result<Header, NotCbor> {
        let mut decoder = Decoder::from(&self.bytes[self.at..]);
        let header = decoder.pull().map_err(|error| match error {
            Error::Io(_) => NotCbor::CutOff(self.bytes.len()),
            Error::Syntax(offset) => NotCbor::Unexpected(self.at + offset),
        })?;
        self.at += decoder.offset();
        Ok(header)
    }
}

fn text_in(bytes: &[u8], start: usize) -> Result<&str, NotCbor> {
    std::str::from_utf8(bytes).map_err(|_| NotCbor::Unexpected(start))
}

/// A key that is not text, as text.
fn text(json: &Json<'_>) -> String {
    let mut out = Vec::new();
    json.write(&mut out);
    into_text(out).trim_matches('"').to_owned()
}

fn float(number: f64) -> Json<'static> {
    if number.is_nan() {
        Json::Text("NaN".into())
    } else if number.is_infinite() {
        Json::Text(if number > 0.0 { "+Inf" } else { "-Inf" }.into())
    } else {
        let number = serde_json::Number::from_f64(number).expect("it is finite");
        Json::Number(number.to_string().into())
    }
}

/// A large integer, most significant byte first, in digits.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for &byte in bytes {
        let mut carry = u16::from(byte);
        for digit in &mut digits {
            carry += u16::from(*digit) * 256;
            *digit = u8::try_from(carry % 10).expect("below ten");
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).expect("below ten"));
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

fn plus_one(bytes: &[u8]) -> Vec<u8> {
    let mut sum = [&[0], bytes].concat();
    for byte in sum.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let (json, _) = item(bytes).unwrap_or_else(|error| panic!("{expected}: {error}"));
        let mut out = Vec::new();
        json.write(&mut out);
        assert_eq!(into_text(out), expected);
    }

    #[track_caller]
    fn refused(bytes: &[u8], error: &NotCbor) {
        assert_eq!(item(bytes).as_ref().err(), Some(error), "{bytes:02x?}");
    }

    #[test]
    fn a_key_of_keys_does_not_grow_without_bound() {
        check(&[0xa1, 0x81, 0x01, 0x02], r#"{"[1]":2}"#);
        check(&[0xa1, 0xa1, 0x01, 0x02, 0x03], r#"{"{\"1\":2}":3}"#);
        let mut bytes = vec![0xa1; 60];
        bytes.extend([0x01; 61]);
        assert_eq!(item(&bytes).unwrap_err(), NotCbor::KeyInKey(2));
    }

    #[test]
    fn scalars_are_exact() {
        check(b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615");
        check(b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "-18446744073709551616");
        check(b"\xc2\x49\x01\0\0\0\0\0\0\0\0", "18446744073709551616");
        check(b"\xc3\x49\x01\0\0\0\0\0\0\0\0", "-18446744073709551617");
        check(b"\xc3\x41\xff", "-256");
        check(b"\xc2\x40", "0");
        check(b"\xf9\x3c\x00", "1.0");
        check(b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1");
        check(b"\xf9\x7e\x00", r#""NaN""#);
        check(b"\xf9\x7c\x00", r#""+Inf""#);
        check(b"\xf9\xfc\x00", r#""-Inf""#);
        check(b"\xf7", "null");
        check(b"\xf8\xff", "255");
        check(b"\xc0\x63now", r#""now""#);
    }

    #[test]
    fn containers_of_unknown_length_and_in_parts_are_read() {
        check(b"\x9f\x01\x82\xf4\xf5\xff", "[1,[false,true]]");
        check(b"\xbf\x61a\x01\xff", r#"{"a":1}"#);
        check(b"\x7f\x61a\x62bc\xff", r#""abc""#);
        check(b"\x5f\x41\xff\x41\xd8\xff", r#""/9g=""#);
    }

    #[test]
    fn a_key_of_another_type_becomes_its_text() {
        check(
            b"\xa4\x01\x01\x41\xff\x02\xf6\x03\x81\x61x\x04",
            r#"{"1":1,"/w==":2,"null":3,"[\"x\"]":4}"#,
        );
        assert_eq!(map(b"\xa1\x01\x01").err(), Some(NotCbor::Keys));
        assert!(map(b"\xa1\x61a\xa1\x01\x01").is_ok());
        assert!(map(b"\xd9\xd9\xf7\xa0").is_ok());
        assert_eq!(map(b"\x80").err(), Some(NotCbor::Unexpected(0)));
    }

    #[test]
    fn what_is_cut_off_or_claims_too_much_is_refused() {
        refused(b"", &NotCbor::CutOff(0));
        refused(b"\xa1\x61", &NotCbor::CutOff(2));
        refused(b"\xa1\x61a", &NotCbor::CutOff(3));
        refused(b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", &NotCbor::CutOff(9));
        refused(b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01", &NotCbor::CutOff(10));
        refused(b"\x01\x01", &NotCbor::Unexpected(1));
        refused(b"\xff", &NotCbor::Unexpected(0));
        refused(b"\x1c", &NotCbor::Unexpected(0));
        refused(b"\x62\xc3\x28", &NotCbor::Unexpected(1));
        refused(b"\x7f\x41a\xff", &NotCbor::Unexpected(1));
    }

    #[test]
    fn depth_is_bounded() {
        for head in [&[0x81][..], &[0xa1, 0x60], &[0x9f], &[0xc0]] {
            refused(&head.repeat(1_000_000), &NotCbor::TooDeep);
        }
    }
}
