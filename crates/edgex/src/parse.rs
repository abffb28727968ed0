//! JSON text to a tree: strict in grammar, but with duplicate keys, lone surrogates and numbers of any length.

use std::borrow::Cow;

use crate::json::{Json, MAX_DEPTH, Sanitized};

/// Why a text is not JSON that can be read. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotJson {
    #[error("JSON that is cut off after {0} bytes")]
    CutOff(usize),
    #[error("no JSON from byte {0} on")]
    Unexpected(usize),
    #[error("JSON nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("{0} JSON documents one after the other")]
    Several(usize),
}

/// What was read, and what was changed in it.
pub(crate) type Parsed<T> = (T, Sanitized);

/// Reads the one value that a text is.
pub(crate) fn document(text: &str) -> Result<Parsed<Json<'_>>, NotJson> {
    let (mut documents, sanitized) = documents(text)?;
    match (documents.pop(), documents.len()) {
        (Some(only), 0) => Ok((only, sanitized)),
        (_, before) => Err(NotJson::Several(before + 1)),
    }
}

/// Reads the values that a text is, one or more.
pub(crate) fn documents(text: &str) -> Result<Parsed<Vec<Json<'_>>>, NotJson> {
    documents_within(text, MAX_DEPTH)
}

/// The same, for another depth.
pub(crate) fn documents_within(
    text: &str,
    max_depth: usize,
) -> Result<Parsed<Vec<Json<'_>>>, NotJson> {
    let mut parser = Parser { text, at: 0, max_depth, sanitized: Sanitized::default() };
    let mut documents = Vec::with_capacity(1);
    parser.skip_space();
    loop {
        documents.push(parser.value(0)?);
        parser.skip_space();
        match parser.peek() {
            None => return Ok((documents, parser.sanitized)),
            // Scalars need something between them, and nobody sends them glued together.
            Some(b'{' | b'[') => {}
            Some(_) => return Err(NotJson::Unexpected(parser.at)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
    sanitized: Sanitized,
}

impl<'a> Parser<'a> {
    /// Reads a value that lies in `depth` others.
    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        match self.peek() {
            Some(b'{' | b'[') if depth == self.max_depth => Err(NotJson::TooDeep(depth)),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            _ => Err(self.unexpected()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            members.push((key, self.value(depth)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    /// Reads a string; most have no escapes and are borrowed.
    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.at += 1;
        let plain = self.plain_characters();
        if self.take(b'"') {
            return Ok(plain.into());
        }
        let mut decoded = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.sanitized.text(decoded));
                }
                Some(b'\\') => {
                    self.at += 1;
                    decoded.push(self.escaped()?);
                }
                _ => return Err(self.unexpected()),
            }
            decoded.push_str(self.plain_characters());
        }
    }

    /// What comes before the next quote, backslash or control character.
    fn plain_characters(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn escaped(&mut self) -> Result<char, NotJson> {
        let escape = self.peek().ok_or_else(|| self.unexpected())?;
        let character = match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(character)
    }

    /// Reads what follows `\u`. A surrogate without its other half becomes U+FFFD.
    fn code_point(&mut self) -> Result<char, NotJson> {
        let first = self.four_digits()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if first < 0xdc00 && self.text[self.at..].starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let scalar = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(scalar).expect("two surrogates make a character"));
            }
            self.at = before;
        }
        self.sanitized.surrogate = true;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Result<u32, NotJson> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.unexpected())?;
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Json<'a>, NotJson> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        Ok(self.sanitized.number(text))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.unexpected()) }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, NotJson> {
        word.bytes().try_for_each(|byte| self.expect(byte))?;
        Ok(value)
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self) -> NotJson {
        if self.at == self.text.len() {
            NotJson::CutOff(self.at)
        } else {
            NotJson::Unexpected(self.at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::into_text;

    fn rewritten(text: &str) -> Result<(String, Vec<&'static str>), NotJson> {
        let (json, sanitized) = document(text)?;
        let mut out = Vec::new();
        json.write(&mut out);
        Ok((into_text(out), sanitized.words().collect()))
    }

    #[track_caller]
    fn check(text: &str, expected: &str, changed: &[&str]) {
        assert_eq!(rewritten(text), Ok((expected.to_owned(), changed.to_vec())), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, error: &NotJson) {
        assert_eq!(rewritten(text).as_ref(), Err(error), "{text}");
    }

    #[test]
    fn numbers_keep_their_digits_and_keys_their_order_and_number() {
        check(
            " { \"b\" : 1.50 , \"a\":[ -0 , 1E+2,12345678901234567890123], \"b\":null,\"\":{}}",
            r#"{"b":1.50,"a":[-0,1E+2,12345678901234567890123],"b":null,"":{}}"#,
            &[],
        );
        check("[ ]\n", "[]", &[]);
        check("true", "true", &[]);
        check("1e999", r#""1e999""#, &["number"]);
    }

    #[test]
    fn strings_are_repaired_where_a_database_could_not_hold_them() {
        check(r#""\u00e9\ud83c\udf21\/\n\\u0000""#, r#""é🌡/\n\\u0000""#, &[]);
        check(r#"{"a\u0000":"b\u0000"}"#, "{\"a\u{fffd}\":\"b\u{fffd}\"}", &["nul"]);
        check(r#""\ud83d""#, "\"\u{fffd}\"", &["surrogate"]);
        check(r#""\udf21x\ud83c\u0041""#, "\"\u{fffd}x\u{fffd}A\"", &["surrogate"]);
        check(r#""\ud83c\ud83c\udf21""#, "\"\u{fffd}🌡\"", &["surrogate"]);
    }

    #[test]
    fn what_is_not_json_is_refused_at_its_first_wrong_byte() {
        refused("", &NotJson::CutOff(0));
        refused("{\"a\":", &NotJson::CutOff(5));
        refused("\"a", &NotJson::CutOff(2));
        refused(r#""\ud83c\u12"#, &NotJson::CutOff(11));
        refused("nul", &NotJson::CutOff(3));
        refused("NaN", &NotJson::Unexpected(0));
        refused("[1,]", &NotJson::Unexpected(3));
        refused("{,}", &NotJson::Unexpected(1));
        refused("01", &NotJson::Unexpected(1));
        refused("1 2", &NotJson::Unexpected(2));
        refused("-", &NotJson::CutOff(1));
        refused("1.e5", &NotJson::Unexpected(2));
        refused("\"\n\"", &NotJson::Unexpected(1));
        refused(r#""\x""#, &NotJson::Unexpected(2));
        refused("{}{}", &NotJson::Several(2));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(document(&nested(MAX_DEPTH)).is_ok());
        refused(&nested(MAX_DEPTH + 1), &NotJson::TooDeep(MAX_DEPTH));
        refused(&"[".repeat(1_000_000), &NotJson::TooDeep(MAX_DEPTH));
        refused(&"{\"a\":".repeat(1_000_000), &NotJson::TooDeep(MAX_DEPTH));
    }
}
