//! Binding patterns, with RabbitMQ's meaning.

use std::fmt;
use std::str::FromStr;

use crate::topic::MAX_TOPIC_BYTES;

const ONE: &str = "*";
const ANY: &str = "#";

/// A binding key of a topic exchange: words between dots, where `*` stands for one word and `#` for none or more.
///
/// Any other word means itself, `a*` included. The empty pattern has no words and matches the empty routing key only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingPattern(String);

impl BindingPattern {
    /// Takes whatever RabbitMQ takes as a binding key: any text of at most 255 bytes.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_TOPIC_BYTES {
            return Err(PatternError::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message with this routing key, of any text, gets to the queue.
    ///
    /// On a mismatch only the last `#` has to be tried again with one word more, so the work is at most the product
    /// of both lengths.
    pub fn matches(&self, routing_key: &str) -> bool {
        let (mut pattern, mut key) = (Words::of(&self.0), Words::of(routing_key));
        let mut last_any: Option<(Words<'_>, Words<'_>)> = None;
        loop {
            let unread = key.clone();
            match (pattern.next(), key.next()) {
                (None, None) => return true,
                (Some(ANY), _) => {
                    key = unread;
                    last_any = Some((pattern.clone(), key.clone()));
                }
                // Words are left in the pattern, none in the key, and a longer `#` would not make more.
                (Some(_), None) => return false,
                (Some(word), Some(found)) if word == ONE || word == found => {}
                (_, Some(_)) => {
                    let Some((after, rest)) = &mut last_any else { return false };
                    rest.next();
                    (pattern, key) = (after.clone(), rest.clone());
                }
            }
        }
    }
}

impl fmt::Display for BindingPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for BindingPattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for BindingPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

/// Why a text cannot be a binding pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Longer than AMQP carries.
    #[error("it has {0} bytes, at most {MAX_TOPIC_BYTES} are allowed")]
    TooLong(usize),
}

/// The words of a key as RabbitMQ splits it: none of an empty key, else one more than it has dots.
#[derive(Clone)]
struct Words<'a>(Option<&'a str>);

impl<'a> Words<'a> {
    fn of(key: &'a str) -> Self {
        Self((!key.is_empty()).then_some(key))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        match rest.split_once('.') {
            Some((word, rest)) => {
                self.0 = Some(rest);
                Some(word)
            }
            None => {
                self.0 = None;
                Some(rest)
            }
        }
    }
}
