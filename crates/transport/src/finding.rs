//! What a check-up found, a line each.

use std::fmt;

/// One line of a check-up: what was looked at, how it is and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// What was found. Never holds a password or a message.
    pub found: String,
    /// What to do; may be empty where all is well.
    pub advice: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may cost something: messages in an accident, or time.
    Warning,
    /// It does not work, or what Postroad promises does not hold.
    Failure,
}

impl Finding {
    /// All is well.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Ok, found: found.into(), advice: String::new() }
    }

    /// It works, with something to think about.
    pub fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { advice: advice.into(), level: Level::Warning, ..Self::ok(check, found) }
    }

    /// It does not work.
    pub fn failure(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { advice: advice.into(), level: Level::Failure, ..Self::ok(check, found) }
    }
}

impl Level {
    /// `ok`, `warning` or `failure`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
