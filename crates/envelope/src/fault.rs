//! What can be wrong with a message, said so that a person can mend it.

use std::fmt;

/// Values in texts are cut after this many characters.
const SHOWN_CHARACTERS: usize = 80;

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the envelope's field; `envelope` where it is about the whole, `message_status` for the column that
    /// becomes `status`.
    pub field: String,
    /// What was found and what was expected.
    pub problem: String,
}

impl Fault {
    /// Names the field and what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// Everything that is wrong with one message; at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `None` where there is no fault.
    pub fn of(faults: Vec<Fault>) -> Option<Self> {
        (!faults.is_empty()).then_some(Self(faults))
    }

    pub(crate) fn found(faults: Vec<Fault>) -> Self {
        debug_assert!(!faults.is_empty(), "refused without a fault");
        Self(faults)
    }

    /// The faults in the order of the envelope's fields.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Why a body is not taken as an envelope. None of this gets better by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Not looked into any further.
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooLarge {
        /// Size of the body.
        bytes: usize,
        /// The configured `max_message_bytes`.
        limit: usize,
    },
    /// Not UTF-8, cut off, a duplicate key, NaN, a number beyond any double, a lone surrogate, nested too deeply.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but a field is missing, of a wrong type, or contradicts another.
    #[error("not an envelope: {0}")]
    NotEnvelope(Faults),
}

/// A text in quotes, escaped, on one line, and cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}
