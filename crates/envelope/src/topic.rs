//! The topic grammar: who a message is for and what it says.

use std::fmt;
use std::str::FromStr;

use crate::MessageType;

/// The most bytes a topic or binding pattern may have: AMQP carries both as a short string.
pub const MAX_TOPIC_BYTES: usize = 255;

const MIN_SEGMENTS: usize = 4;
const EVENT: &str = "event";

/// A topic of one of the three forms, at most [`MAX_TOPIC_BYTES`] long:
/// `<service>.request.<entity>.<action>`, `<service>.response.<entity>.<action>` or
/// `event.<domain>.<entity>.<action>`, each with any number of further segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    text: String,
    kind: MessageType,
}

impl Topic {
    /// Checks a topic; `Err` says which rule it breaks first.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let kind = kind_of(text)?;
        Ok(Self { text: text.to_owned(), kind })
    }

    /// The topic as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a message on this topic is.
    pub fn message_type(&self) -> MessageType {
        self.kind
    }

    /// The parts between the dots, four or more.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }

    /// The service that a request is for or that a response goes back to; an event has none.
    pub fn service(&self) -> Option<&str> {
        match self.kind {
            MessageType::Request | MessageType::Response => self.segments().next(),
            MessageType::Event => None,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.text
    }
}

/// Which rule a text breaks that is not a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// No text at all.
    #[error("it is empty")]
    Empty,
    /// Longer than AMQP carries.
    #[error("it has {0} bytes, at most {MAX_TOPIC_BYTES} are allowed")]
    TooLong(usize),
    /// Two dots in a row, or one at an end. Counted from 1.
    #[error("segment {0} is empty")]
    EmptySegment(usize),
    /// `*` and `#` belong in binding patterns.
    #[error("`{0}` is a wildcard, which only a binding pattern may have")]
    Wildcard(char),
    /// Neither letter, digit, `_` nor `-`.
    #[error("{0:?} is not allowed, a segment is made of A-Z a-z 0-9 _ -")]
    Character(char),
    /// Too short to say who, what and which action.
    #[error("it has {0} segments, at least {MIN_SEGMENTS} are needed")]
    TooFewSegments(usize),
    /// None of the three forms.
    #[error("the first segment has to be `event`, or the second `request` or `response`")]
    NoKind,
}

/// Checks the name of a service: one topic segment of at most [`MAX_TOPIC_BYTES`], not `event`.
pub fn check_service_name(name: &str) -> Result<(), ServiceNameError> {
    if name.is_empty() {
        return Err(ServiceNameError::Empty);
    }
    if let Some(stranger) = first_stranger(name) {
        return Err(ServiceNameError::Character(stranger));
    }
    if name.len() > MAX_TOPIC_BYTES {
        return Err(ServiceNameError::TooLong(name.len()));
    }
    if name == EVENT {
        return Err(ServiceNameError::Reserved);
    }
    Ok(())
}

/// Which rule a text breaks that cannot name a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceNameError {
    /// No text at all.
    #[error("it is empty")]
    Empty,
    /// Longer than a topic may be.
    #[error("it has {0} bytes, at most {MAX_TOPIC_BYTES} are allowed")]
    TooLong(usize),
    /// A name is a single segment, so a dot is a stranger too.
    #[error("{0:?} is not allowed, it is made of A-Z a-z 0-9 _ -")]
    Character(char),
    /// The word that starts the topics of events.
    #[error("a service is not named `{EVENT}`, which starts the topics of events")]
    Reserved,
}

fn kind_of(text: &str) -> Result<MessageType, TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    let mut count = 0;
    for segment in text.split('.') {
        count += 1;
        check_segment(segment, count)?;
    }
    if count < MIN_SEGMENTS {
        return Err(TopicError::TooFewSegments(count));
    }
    let mut segments = text.split('.');
    match (segments.next(), segments.next()) {
        (Some(EVENT), _) => Ok(MessageType::Event),
        (_, Some("request")) => Ok(MessageType::Request),
        (_, Some("response")) => Ok(MessageType::Response),
        _ => Err(TopicError::NoKind),
    }
}

fn check_segment(segment: &str, position: usize) -> Result<(), TopicError> {
    if segment.is_empty() {
        return Err(TopicError::EmptySegment(position));
    }
    match first_stranger(segment) {
        None => Ok(()),
        Some(wildcard @ ('*' | '#')) => Err(TopicError::Wildcard(wildcard)),
        Some(stranger) => Err(TopicError::Character(stranger)),
    }
}

/// The first character that no segment may have.
fn first_stranger(segment: &str) -> Option<char> {
    segment
        .chars()
        .find(|&letter| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'))
}
