//! What a connection needs to know, checked once.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use postroad_tls::{Names, TlsError, TlsSettings, is_loopback};

/// AMQP's limit for names. amqprs panics beyond it.
pub(crate) const MAX_SHORT_TEXT: usize = 255;

/// Below, amqprs sends heartbeats without a pause; above, a dead peer is noticed too late.
const HEARTBEAT_SECONDS: RangeInclusive<u16> = 4..=60;

/// Everything about a RabbitMQ broker and what is to be set up on it.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// Host names or addresses with their ports, tried in turn.
    pub hosts: Vec<(String, u16)>,
    /// Who connects.
    pub username: String,
    /// Their password.
    pub password: Password,
    /// Instead of both: whom the client certificate of `tls` names (SASL EXTERNAL).
    pub login_by_certificate: bool,
    /// TLS, and whom to trust. Its files are read anew for each connection. `None` is plain text.
    pub tls: Option<TlsSettings>,
    /// Has to be set for plain text to hosts that are not this machine.
    pub allow_plaintext: bool,
    /// The virtual host.
    pub virtual_host: String,
    /// The durable exchange that messages are published to.
    pub exchange: String,
    /// Its type; `topic` unless there is a reason.
    pub exchange_type: String,
    /// The durable queue that is consumed.
    pub queue: String,
    /// Its type.
    pub queue_type: QueueType,
    /// Patterns the queue is bound to the exchange with.
    pub bindings: Vec<String>,
    /// Whether to make and bind what is missing. Otherwise exchange and queue only have to be there.
    pub declare_topology: bool,
    /// The most deliveries that can be unacknowledged.
    pub prefetch: u16,
    /// 4 to 60. A dead peer is noticed within twice as long.
    pub heartbeat_seconds: u16,
    /// For connecting and setting up, over all hosts.
    pub connect_timeout: Duration,
    /// Where the queue puts what it drops.
    pub dead_letter_exchange: Option<String>,
    /// The most messages that can be unconfirmed.
    pub window: usize,
    /// No further message is sent while this many bytes are unconfirmed.
    pub window_bytes: usize,
    /// A connection on which a confirm takes longer is given up.
    pub confirm_timeout: Duration,
    /// A connection that does not take a message for so long is given up.
    pub write_timeout: Duration,
    /// What the broker's management shows.
    pub connection_name: String,
}

/// How the queue is kept by the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// Replicated by consensus; the default.
    #[default]
    Quorum,
    /// On one node.
    Classic,
}

/// A password that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

/// Why settings cannot work with any broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is nothing to connect to.
    #[error("no host is given")]
    NoHost,
    /// A name that has to be there is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// AMQP's names have a byte to say their length.
    #[error("{name} has {bytes} bytes, AMQP takes at most 255")]
    TooLong {
        /// Which one.
        name: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// See [`AmqpSettings::heartbeat_seconds`].
    #[error("a heartbeat of {0} s is not between 4 and 60 s")]
    Heartbeat(u16),
    /// Zero would mean no limit, and unbounded memory.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// See [`AmqpSettings::allow_plaintext`].
    #[error(
        "plain text to `{0}`, which is not this machine, shows everybody on the way password and messages: \
         set `tls_enabled`, or `allow_plaintext` if that is wanted"
    )]
    Plaintext(String),
    /// See [`AmqpSettings::login_by_certificate`].
    #[error("a login by certificate needs TLS with `tls_cert_file` and `tls_key_file`")]
    NoCertificate,
    /// TLS cannot be spoken so.
    #[error("{0}")]
    Tls(String),
}

impl From<TlsError> for SettingsError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl AmqpSettings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.hosts.is_empty() {
            return Err(SettingsError::NoHost);
        }
        if !HEARTBEAT_SECONDS.contains(&self.heartbeat_seconds) {
            return Err(SettingsError::Heartbeat(self.heartbeat_seconds));
        }
        self.check_tls()?;
        required("exchange", &self.exchange)?;
        required("exchange type", &self.exchange_type)?;
        required("queue", &self.queue)?;
        short("virtual host", &self.virtual_host)?;
        short("dead letter exchange", self.dead_letter_exchange.as_deref().unwrap_or_default())?;
        self.bindings.iter().try_for_each(|binding| short("binding", binding))?;
        let limits = [
            ("prefetch", usize::from(self.prefetch)),
            ("window", self.window),
            ("window bytes", self.window_bytes),
        ];
        limits
            .iter()
            .find(|(_, limit)| *limit == 0)
            .map_or(Ok(()), |(name, _)| Err(SettingsError::Zero(name)))
    }

    fn check_tls(&self) -> Result<(), SettingsError> {
        match &self.tls {
            Some(tls) => tls.check(Names::CONFIG)?,
            None if self.allow_plaintext => {}
            None => {
                let far = self.hosts.iter().find(|(host, _)| !is_loopback(host));
                if let Some((host, _)) = far {
                    return Err(SettingsError::Plaintext(host.clone()));
                }
            }
        }
        let certificate = self.tls.as_ref().and_then(|tls| tls.cert_file.as_ref());
        if self.login_by_certificate && certificate.is_none() {
            return Err(SettingsError::NoCertificate);
        }
        Ok(())
    }
}

fn required(name: &'static str, text: &str) -> Result<(), SettingsError> {
    if text.is_empty() { Err(SettingsError::Empty(name)) } else { short(name, text) }
}

fn short(name: &'static str, text: &str) -> Result<(), SettingsError> {
    if text.len() > MAX_SHORT_TEXT {
        Err(SettingsError::TooLong { name, bytes: text.len() })
    } else {
        Ok(())
    }
}

impl Default for AmqpSettings {
    /// RabbitMQ as it comes, on this machine, with a queue `inbox` that no binding leads to.
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".to_owned(), 5672)],
            username: "guest".to_owned(),
            password: "guest".into(),
            login_by_certificate: false,
            tls: None,
            allow_plaintext: false,
            virtual_host: "/".to_owned(),
            exchange: "interservice".to_owned(),
            exchange_type: "topic".to_owned(),
            queue: "inbox".to_owned(),
            queue_type: QueueType::default(),
            bindings: Vec::new(),
            declare_topology: true,
            prefetch: 500,
            heartbeat_seconds: 10,
            connect_timeout: Duration::from_secs(10),
            dead_letter_exchange: None,
            window: 256,
            window_bytes: 8 << 20,
            confirm_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(5),
            connection_name: "postroad".to_owned(),
        }
    }
}

impl QueueType {
    /// The word of `x-queue-type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl Password {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut AmqpSettings), expected: &Result<(), SettingsError>) {
        let mut settings = AmqpSettings::default();
        change(&mut settings);
        assert_eq!(&settings.check(), expected);
    }

    #[test]
    fn settings_that_would_break_the_client_are_refused() {
        check(|_| {}, &Ok(()));
        check(|settings| settings.hosts.clear(), &Err(SettingsError::NoHost));
        check(|settings| settings.heartbeat_seconds = 3, &Err(SettingsError::Heartbeat(3)));
        check(|settings| settings.heartbeat_seconds = 61, &Err(SettingsError::Heartbeat(61)));
        check(|settings| settings.prefetch = 0, &Err(SettingsError::Zero("prefetch")));
        check(|settings| settings.queue.clear(), &Err(SettingsError::Empty("queue")));
        check(|settings| settings.queue = "q".repeat(255), &Ok(()));
        let too_long = |name| Err(SettingsError::TooLong { name, bytes: 256 });
        check(|settings| settings.queue = "q".repeat(256), &too_long("queue"));
        check(|settings| settings.exchange = "é".repeat(128), &too_long("exchange"));
        check(|settings| settings.bindings = vec!["b".repeat(256)], &too_long("binding"));
        check(
            |settings| settings.dead_letter_exchange = Some("d".repeat(256)),
            &too_long("dead letter exchange"),
        );
    }

    #[test]
    fn plain_text_to_another_machine_has_to_be_allowed() {
        let far = || vec![("localhost".to_owned(), 5672), ("rabbit.example".to_owned(), 5672)];
        let refused = Err(SettingsError::Plaintext("rabbit.example".to_owned()));
        check(|settings| settings.hosts = far(), &refused);
        check(|settings| (settings.hosts, settings.allow_plaintext) = (far(), true), &Ok(()));
        let tls = Some(TlsSettings::default());
        check(|settings| (settings.hosts, settings.tls) = (far(), tls), &Ok(()));
    }

    #[test]
    fn a_login_by_certificate_needs_one() {
        check(|settings| settings.login_by_certificate = true, &Err(SettingsError::NoCertificate));
        let tls = Some(TlsSettings::default());
        check(
            |settings| (settings.tls, settings.login_by_certificate) = (tls, true),
            &Err(SettingsError::NoCertificate),
        );
        let half = TlsSettings { cert_file: Some("c".into()), ..TlsSettings::default() };
        let together = Err(SettingsError::from(half.check(Names::CONFIG).unwrap_err()));
        check(|settings| settings.tls = Some(half), &together);
    }

    #[test]
    fn the_password_is_not_in_the_debug_text() {
        let settings = AmqpSettings { password: "hunter2".into(), ..AmqpSettings::default() };
        assert!(!format!("{settings:#?}").contains("hunter2"));
    }
}
