//! What a connection needs to know, checked once.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use postroad_tls::{Names, TlsError, TlsSettings, is_loopback};
use uuid::Uuid;

use crate::topic;

/// MQTT's limit for texts.
pub(crate) const MAX_TEXT: usize = 65_535;

/// Everything about an MQTT broker, what is subscribed to and where messages are kept until they are stored.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are settings")]
pub struct MqttSettings {
    /// Host names or addresses with their ports, tried in turn.
    pub hosts: Vec<(String, u16)>,
    /// Who connects, where the broker asks.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Password>,
    /// TLS, and whom to trust. Its files are read anew for each connection. `None` is plain text.
    pub tls: Option<TlsSettings>,
    /// Has to be set for plain text to hosts that are not this machine.
    pub allow_plaintext: bool,
    /// Names the session at the broker: nobody else may use it at the same time, and it must stay the same for messages
    /// to be kept while nobody is connected. Publishers connect as `<client_id>-out-<random>`, since any number of workers may publish.
    pub client_id: String,
    /// 4 for MQTT 3.1.1, 5 for MQTT 5. Only MQTT 5 tells of a publish that was refused.
    pub protocol_version: u8,
    /// A dead peer is noticed within twice as long.
    pub keep_alive_seconds: u16,
    /// Whether the broker forgets the subscriptions, and what waits for them, when the connection ends.
    pub clean_session: bool,
    /// Has to be set for a `clean_session`, which loses what comes while nobody is connected.
    pub allow_clean_session: bool,
    /// Quality of service of what is published and subscribed to: 0, 1 or 2.
    pub qos: u8,
    /// Has to be set for a `qos` of 0, which nothing confirms: a message counts as published when it was written to
    /// the socket.
    pub allow_unacknowledged: bool,
    /// What is subscribed to.
    pub inbound_topics: Vec<String>,
    /// Shares the subscriptions: each message goes to one of those with the same group. Each has a `client_id` and a
    /// `spool_dir` of its own.
    pub shared_group: Option<String>,
    /// The most messages that can be unacknowledged on the wire, either way.
    pub max_inflight: u16,
    /// No further message is published while this many bytes are unacknowledged.
    pub window_bytes: usize,
    /// The most deliveries that can be unacknowledged. They are in the spool already; this bounds memory.
    pub prefetch: usize,
    /// For connecting and subscribing, over all hosts.
    pub connect_timeout: Duration,
    /// A connection on which a message is not acknowledged for so long is given up.
    pub confirm_timeout: Duration,
    /// A folder for the spool. One process at a time uses it.
    pub spool_dir: PathBuf,
    /// What the spool survives.
    pub spool_sync: SpoolSync,
    /// The broker is held back while the spool holds so many bytes of messages. On disk it takes somewhat more.
    pub spool_max_bytes: u64,
}

/// What a message in the spool survives from when the broker gets its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpoolSync {
    /// The end of the process, however it ends. A power failure may cost the last messages.
    #[default]
    Os,
    /// A power failure too, at the price of an fsync a message.
    Always,
}

/// A password that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why settings cannot work with any broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is nothing to connect to.
    #[error("no host is given")]
    NoHost,
    /// A text that has to be there is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// MQTT has two bytes to say how long a text is, and none of them has a NUL.
    #[error("{0} has a NUL or more than 65535 bytes")]
    Text(&'static str),
    /// Zero would mean no limit or no end.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// There are two versions.
    #[error("protocol version {0} is neither 4 (MQTT 3.1.1) nor 5")]
    ProtocolVersion(u8),
    /// There are three qualities.
    #[error("a QoS of {0} is not 0, 1 or 2")]
    Qos(u8),
    /// Nothing confirms a message of QoS 0.
    #[error(
        "with a QoS of 0 nothing is ever confirmed; set `allow_unacknowledged` if that is wanted"
    )]
    Unacknowledged,
    /// What comes between two connections is lost then.
    #[error(
        "with `clean_session` whatever comes while the worker is away is lost; \
         set `allow_clean_session` if that is wanted"
    )]
    CleanSession,
    /// See [`MqttSettings::allow_plaintext`].
    #[error(
        "plain text to `{0}`, which is not this machine, shows everybody on the way password and messages: \
         set `tls_enabled`, or `allow_plaintext` if that is wanted"
    )]
    Plaintext(String),
    /// TLS cannot be spoken so.
    #[error("{0}")]
    Tls(String),
    /// MQTT 3.1.1 has no password without a user name.
    #[error("a password is given without a user name")]
    PasswordAlone,
    /// See [`MqttSettings::inbound_topics`].
    #[error("`{filter}` cannot be subscribed to: {why}")]
    Filter {
        /// The topic filter.
        filter: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// See [`MqttSettings::shared_group`].
    #[error("`{0}` cannot be a shared group: it is empty or has one of `/`, `+`, `#`, NUL")]
    SharedGroup(String),
}

impl From<TlsError> for SettingsError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl MqttSettings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.hosts.is_empty() {
            return Err(SettingsError::NoHost);
        }
        if self.client_id.is_empty() {
            return Err(SettingsError::Empty("client id"));
        }
        if !matches!(self.protocol_version, 4 | 5) {
            return Err(SettingsError::ProtocolVersion(self.protocol_version));
        }
        match self.qos {
            0 if !self.allow_unacknowledged => return Err(SettingsError::Unacknowledged),
            0..=2 => {}
            other => return Err(SettingsError::Qos(other)),
        }
        if self.clean_session && !self.allow_clean_session {
            return Err(SettingsError::CleanSession);
        }
        self.check_tls()?;
        self.check_texts()?;
        self.check_limits()?;
        self.inbound_topics.iter().try_for_each(|filter| {
            topic::check_filter(filter)
                .map_err(|why| SettingsError::Filter { filter: filter.clone(), why })
        })
    }

    fn check_tls(&self) -> Result<(), SettingsError> {
        match &self.tls {
            Some(tls) => Ok(tls.check(Names::CONFIG)?),
            None if self.allow_plaintext => Ok(()),
            None => match self.hosts.iter().find(|(host, _)| !is_loopback(host)) {
                Some((host, _)) => Err(SettingsError::Plaintext(host.clone())),
                None => Ok(()),
            },
        }
    }

    fn check_texts(&self) -> Result<(), SettingsError> {
        if self.password.is_some() && self.username.is_none() {
            return Err(SettingsError::PasswordAlone);
        }
        // The client id of a publisher is longer.
        text("client id", &self.publisher_id())?;
        text("user name", self.username.as_deref().unwrap_or_default())?;
        text("password", self.password.as_ref().map_or("", Password::reveal))?;
        match &self.shared_group {
            Some(group) if group.is_empty() || group.contains(['/', '+', '#', '\0']) => {
                Err(SettingsError::SharedGroup(group.clone()))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), SettingsError> {
        let limits = [
            ("keep alive", u64::from(self.keep_alive_seconds)),
            ("max inflight", u64::from(self.max_inflight)),
            ("window bytes", self.window_bytes as u64),
            ("prefetch", self.prefetch as u64),
            ("spool max bytes", self.spool_max_bytes),
        ];
        limits
            .iter()
            .find(|(_, limit)| *limit == 0)
            .map_or(Ok(()), |(name, _)| Err(SettingsError::Zero(name)))
    }

    /// Another one each time: the broker remembers nothing of a publisher, and two with one id would end each other.
    pub(crate) fn publisher_id(&self) -> String {
        self.passing_id("out")
    }

    /// A client id that is used once.
    pub(crate) fn passing_id(&self, role: &str) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!("{}-{role}-{}", self.client_id, &random[..8])
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.protocol_version == 5
    }

    /// What to subscribe to at the broker.
    pub(crate) fn filters(&self) -> Vec<String> {
        let filters = self.inbound_topics.iter();
        match &self.shared_group {
            Some(group) => filters.map(|filter| format!("$share/{group}/{filter}")).collect(),
            None => filters.cloned().collect(),
        }
    }
}

fn text(name: &'static str, text: &str) -> Result<(), SettingsError> {
    let fits = text.len() <= MAX_TEXT && !text.contains('\0');
    if fits { Ok(()) } else { Err(SettingsError::Text(name)) }
}

impl Default for MqttSettings {
    /// A broker on this machine that asks for no name, MQTT 5 at QoS 1, subscribed to nothing, with the spool in a
    /// folder `postroad-spool` where the process runs.
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".to_owned(), 1883)],
            username: None,
            password: None,
            tls: None,
            allow_plaintext: false,
            client_id: "postroad".to_owned(),
            protocol_version: 5,
            keep_alive_seconds: 30,
            clean_session: false,
            allow_clean_session: false,
            qos: 1,
            allow_unacknowledged: false,
            inbound_topics: Vec::new(),
            shared_group: None,
            max_inflight: 100,
            window_bytes: 8 << 20,
            prefetch: 1_000,
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(30),
            spool_dir: PathBuf::from("postroad-spool"),
            spool_sync: SpoolSync::default(),
            spool_max_bytes: 1 << 30,
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
    fn check(change: impl FnOnce(&mut MqttSettings), expected: &Result<(), SettingsError>) {
        let mut settings = MqttSettings::default();
        change(&mut settings);
        assert_eq!(&settings.check(), expected);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        check(|_| {}, &Ok(()));
        check(|settings| settings.hosts.clear(), &Err(SettingsError::NoHost));
        check(|settings| settings.client_id.clear(), &Err(SettingsError::Empty("client id")));
        check(|settings| settings.protocol_version = 3, &Err(SettingsError::ProtocolVersion(3)));
        check(|settings| settings.qos = 3, &Err(SettingsError::Qos(3)));
        check(|settings| settings.keep_alive_seconds = 0, &Err(SettingsError::Zero("keep alive")));
        check(|settings| settings.prefetch = 0, &Err(SettingsError::Zero("prefetch")));
        check(
            |settings| settings.client_id = "a\0b".into(),
            &Err(SettingsError::Text("client id")),
        );
        check(
            |settings| settings.username = Some("u".repeat(65_536)),
            &Err(SettingsError::Text("user name")),
        );
        check(|settings| settings.password = Some("p".into()), &Err(SettingsError::PasswordAlone));
        let group = "a/b".to_owned();
        check(
            |settings| settings.shared_group = Some(group.clone()),
            &Err(SettingsError::SharedGroup(group.clone())),
        );
        check(
            |settings| settings.inbound_topics = vec!["ok/#".into(), "a#".into()],
            &Err(SettingsError::Filter {
                filter: "a#".into(),
                why: "a wildcard stands alone in its level",
            }),
        );
    }

    #[test]
    fn qos_0_has_to_be_asked_for_twice() {
        check(|settings| settings.qos = 0, &Err(SettingsError::Unacknowledged));
        check(|settings| (settings.qos, settings.allow_unacknowledged) = (0, true), &Ok(()));
    }

    #[test]
    fn a_clean_session_has_to_be_asked_for_twice() {
        check(|settings| settings.clean_session = true, &Err(SettingsError::CleanSession));
        check(
            |settings| (settings.clean_session, settings.allow_clean_session) = (true, true),
            &Ok(()),
        );
    }

    #[test]
    fn plain_text_to_another_machine_has_to_be_allowed() {
        let far = || vec![("[::1]".to_owned(), 1883), ("mqtt.example".to_owned(), 1883)];
        let refused = Err(SettingsError::Plaintext("mqtt.example".to_owned()));
        check(|settings| settings.hosts = far(), &refused);
        check(|settings| (settings.hosts, settings.allow_plaintext) = (far(), true), &Ok(()));
        let tls = Some(TlsSettings::default());
        check(|settings| (settings.hosts, settings.tls) = (far(), tls), &Ok(()));
    }

    #[test]
    fn a_shared_group_is_put_before_every_filter() {
        let settings = MqttSettings {
            inbound_topics: vec!["a/#".into(), "+".into()],
            shared_group: Some("g".into()),
            ..MqttSettings::default()
        };
        assert_eq!(settings.filters(), ["$share/g/a/#", "$share/g/+"]);
    }

    #[test]
    fn the_password_is_not_in_the_debug_text() {
        let password = Some("hunter2".into());
        let settings = MqttSettings { password, ..MqttSettings::default() };
        assert!(!format!("{settings:#?}").contains("hunter2"));
    }
}
