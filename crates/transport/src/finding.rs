//! What a check-up found, a line each.

use std::fmt;
use std::net::IpAddr;

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

/// What a transport will be used for, which is what its check-up looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// Messages are published.
    pub outbound: bool,
    /// Messages are consumed.
    pub inbound: bool,
    /// The largest body.
    pub max_message_bytes: u64,
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

    /// What anybody between here and these hosts can read, where nothing is encrypted.
    pub fn plain_text(hosts: &[(String, u16)]) -> Self {
        const CHECK: &str = "encryption";
        let far: Vec<_> =
            hosts.iter().map(|(host, _)| host.as_str()).filter(|host| !is_loopback(host)).collect();
        if far.is_empty() {
            return Self::ok(CHECK, "none, on this machine only");
        }
        Self::warning(
            CHECK,
            format!("password and messages go to {} as plain text", far.join(", ")),
            "use TLS, or a network that nobody else reads",
        )
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, level: Level) {
        let hosts = [("localhost".to_owned(), 1), (host.to_owned(), 1)];
        assert_eq!(Finding::plain_text(&hosts).level, level, "{host}");
    }

    #[test]
    fn plain_text_is_told_where_it_leaves_the_machine() {
        check("127.0.0.1", Level::Ok);
        check("127.1.2.3", Level::Ok);
        check("[::1]", Level::Ok);
        check("LOCALHOST", Level::Ok);
        check("10.0.0.1", Level::Warning);
        check("rabbit-1", Level::Warning);
        check("[fe80::1]", Level::Warning);
    }
}
