//! From settings to a connected client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, ConnectReturnCode, Error, MqttVersion,
    Properties, PropertyCode, ReasonCode, ServerResponse,
};
use postroad_tls::{Names, TlsSettings, bare_host, explain, server_name};
use postroad_transport::ConnectError;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tracing::debug;

use crate::client::{Client, Make};
use crate::door::Door;
use crate::inlet::Inlet;
use crate::relay::{Gate, Relay};
use crate::settings::{MqttSettings, Password};
use crate::spool::Spool;
use crate::wire::Wire;

/// A session that never expires.
const FOR_EVER: u32 = u32::MAX;

/// As whom to connect.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) client_id: String,
    /// Whether the broker is to forget the session when the connection ends.
    pub(crate) clean: bool,
}

/// A connection, and what the broker said of it.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) relay: Relay,
    /// Whether the broker had kept the session.
    pub(crate) session_present: bool,
    /// The largest packet that the broker takes, where it says so.
    pub(crate) max_packet_bytes: Option<u32>,
    /// The highest quality of service that the broker knows.
    pub(crate) max_qos: u8,
    /// Whether the broker shares subscriptions; in MQTT 3.1.1 it does not say.
    pub(crate) shares: Option<bool>,
}

/// One attempt to connect: by what settings, as whom, and what takes the messages.
struct Attempt<'a> {
    settings: &'a MqttSettings,
    role: &'a Role,
    tls: Option<TlsConnector>,
    spool: Option<&'a Arc<Spool>>,
}

/// Connects to the first host that takes us. What arrives goes into the spool, from the first message on.
pub(crate) async fn connect(
    settings: &MqttSettings,
    role: &Role,
    deadline: Instant,
    spool: Option<&Arc<Spool>>,
) -> Result<Connected, ConnectError> {
    let tls = match &settings.tls {
        Some(tls) => Some(load(tls.clone()).await.map_err(ConnectError::Untrusted)?),
        None => None,
    };
    let attempt = Attempt { settings, role, tls, spool };
    let mut failures = Vec::new();
    let mut answered = None;
    for (tried, (host, port)) in settings.hosts.iter().enumerate() {
        let share = share(deadline, settings.hosts.len() - tried);
        match attempt.open_host(host, *port, share).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                debug!(host, port, %error, "cannot connect to this host");
                let named = |text: &str| format!("{host}:{port}: {text}");
                match error {
                    ConnectError::Rejected(text) => {
                        answered = Some(ConnectError::Rejected(named(&text)));
                    }
                    ConnectError::Untrusted(text) => {
                        answered = Some(ConnectError::Untrusted(named(&text)));
                    }
                    ConnectError::Unreachable(text) => failures.push(named(&text)),
                    other => failures.push(named(&other.to_string())),
                }
            }
        }
    }
    Err(answered.unwrap_or_else(|| ConnectError::Unreachable(failures.join("; "))))
}

/// The end of the time that one of so many tries has.
fn share(deadline: Instant, left: usize) -> Instant {
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    Instant::now() + deadline.saturating_duration_since(Instant::now()) / left
}

/// Reads the files, so that each attempt goes by what is in them then.
async fn load(settings: TlsSettings) -> Result<TlsConnector, String> {
    let config = spawn_blocking(move || settings.load(Names::CONFIG)).await;
    let config = config.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(TlsConnector::from(config))
}

impl Attempt<'_> {
    /// Paho would look the name up without a timeout and under its lock.
    async fn open_host(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Connected, ConnectError> {
        let addresses: Vec<_> =
            match timeout_at(deadline, lookup_host((bare_host(host), port))).await {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) => {
                    let text = "its name is not found in time".to_owned();
                    return Err(ConnectError::Unreachable(text));
                }
            };
        let mut last = ConnectError::Unreachable("its name has no address".to_owned());
        for (tried, address) in addresses.iter().enumerate() {
            let share = share(deadline, addresses.len() - tried);
            match self.open(host, *address, share).await {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(
        &self,
        host: &str,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Connected, ConnectError> {
        let Self { settings, role, spool, .. } = *self;
        let broker = match timeout_at(deadline, self.wire(host, address)).await {
            Ok(broker) => broker?,
            Err(_) => return Err(ConnectError::Unreachable("no answer in time".to_owned())),
        };
        let door = Door::open().await.map_err(unreachable)?;
        let make = Make {
            uri: door.uri(),
            client_id: door.password(),
            version: if settings.is_v5() { MqttVersion::V5 } else { MqttVersion::V3_1_1 },
            // Ours is the window; paho's is only never to be the smaller one.
            max_buffered: 4 * usize::from(settings.max_inflight) + 64,
        };
        let gate = Arc::new(spool.map_or_else(Gate::default, Gate::before));
        let inlet = spool.map(|spool| Inlet::new(Arc::clone(spool), Arc::clone(&gate)));
        let prepare = |client: &AsyncClient| {
            if let Some(inlet) = inlet {
                inlet.install(client);
            }
        };
        let client = match timeout_at(deadline, Client::start(make, prepare)).await {
            Ok(client) => client.map_err(ConnectError::Unreachable)?,
            Err(_) => {
                return Err(ConnectError::Unreachable(
                    "the MQTT client library is busy".to_owned(),
                ));
            }
        };
        let options = connect_options(settings, role, deadline);
        let open = Arc::clone(&gate);
        let relay = async {
            let paho = door.admit(&role.client_id).await?;
            Relay::start(paho, broker, open)
        };
        let answer = client.connect(deadline, options);
        let (relay, answer) = tokio::join!(timeout_at(deadline, relay), answer);
        match (relay, answer) {
            (Ok(Ok(relay)), Ok(answer)) => Ok(connected(client, relay, &answer, settings.is_v5())),
            (Ok(Err(error)), _) => Err(unreachable(error)),
            (_, Err(error)) => Err(match gate.problem() {
                Some(problem) => ConnectError::Untrusted(problem),
                None => self.why(&error),
            }),
            (Err(_), Ok(_)) => Err(ConnectError::Unreachable("no answer in time".to_owned())),
        }
    }

    /// A broker that misses a certificate says so, but what it says can get lost when it closes.
    fn why(&self, error: &Error) -> ConnectError {
        let anonymous = self.settings.tls.as_ref().is_some_and(|tls| tls.cert_file.is_none());
        match why(error, self.settings.is_v5()) {
            ConnectError::Unreachable(text) if anonymous => ConnectError::Unreachable(format!(
                "{text}; or does it demand a client certificate (`tls_cert_file`, `tls_key_file`)?"
            )),
            other => other,
        }
    }

    /// The connection to the broker, after the handshake of TLS where it is spoken.
    async fn wire(&self, host: &str, address: SocketAddr) -> Result<Wire, ConnectError> {
        let socket = TcpStream::connect(address).await.map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return socket.into_std().and_then(Wire::plain).map_err(unreachable);
        };
        let name = server_name(host).map_err(|error| ConnectError::Untrusted(error.to_string()))?;
        let stream = tls.connect(name, socket).await.map_err(|error| {
            match explain(&error, &format!("`{host}`"), Names::CONFIG) {
                Some(problem) => ConnectError::Untrusted(problem),
                None => ConnectError::Unreachable(format!("the TLS handshake failed: {error}")),
            }
        })?;
        let (socket, state) = stream.into_inner();
        socket.into_std().and_then(|socket| Wire::tls(socket, state, host)).map_err(unreachable)
    }
}

fn unreachable(error: impl Into<io::Error>) -> ConnectError {
    ConnectError::Unreachable(error.into().to_string())
}

fn connected(client: Client, relay: Relay, answer: &ServerResponse, is_v5: bool) -> Connected {
    let session_present = answer.connect_response().is_some_and(|answer| answer.session_present);
    let properties = answer.properties();
    let max_packet_bytes =
        properties.get(PropertyCode::MaximumPacketSize).and_then(|property| property.get_u32());
    // Absent means two, and yes.
    let byte = |code| properties.get(code).and_then(|property| property.get_byte());
    let max_qos = byte(PropertyCode::MaximumQos).unwrap_or(2);
    let shares = is_v5.then(|| byte(PropertyCode::SharedSubscriptionAvailable) != Some(0));
    Connected { client, relay, session_present, max_packet_bytes, max_qos, shares }
}

fn connect_options(settings: &MqttSettings, role: &Role, deadline: Instant) -> ConnectOptions {
    let mut options = if settings.is_v5() {
        let mut options = ConnectOptionsBuilder::new_v5();
        options.clean_start(role.clean).properties(session_properties(settings, role.clean));
        options
    } else {
        let mut options = ConnectOptionsBuilder::with_mqtt_version(MqttVersion::V3_1_1);
        options.clean_session(role.clean);
        options
    };
    let left = deadline.saturating_duration_since(Instant::now());
    options
        .keep_alive_interval(Duration::from_secs(settings.keep_alive_seconds.into()))
        // Paho knows whole seconds; the deadline is kept by whoever asks.
        .connect_timeout(left + Duration::from_secs(1))
        .max_inflight(settings.max_inflight.into());
    if let Some(username) = &settings.username {
        options.user_name(username);
    }
    if let Some(password) = &settings.password {
        options.password(Password::reveal(password));
    }
    options.finalize()
}

fn session_properties(settings: &MqttSettings, clean: bool) -> Properties {
    let expiry = if clean { 0 } else { FOR_EVER };
    let mut properties = Properties::new();
    properties
        .push_u32(PropertyCode::SessionExpiryInterval, expiry)
        .and_then(|()| properties.push_u16(PropertyCode::ReceiveMaximum, settings.max_inflight))
        .expect("both are properties of a connect request, of these types");
    properties
}

fn why(error: &Error, is_v5: bool) -> ConnectError {
    const LOGIN: &str = "is the user name or password right?";
    const VERSION: &str = "the broker does not speak this `protocol_version`";
    let rejected = |text: &dyn std::fmt::Display, hint: &str| {
        ConnectError::Rejected(if hint.is_empty() {
            text.to_string()
        } else {
            format!("{text}; {hint}")
        })
    };
    match error {
        Error::ConnectReturn(code) => match code {
            ConnectReturnCode::BadUserNameOrPassword | ConnectReturnCode::NotAuthorized => {
                rejected(code, LOGIN)
            }
            ConnectReturnCode::UnacceptableProtocolVersion => rejected(code, VERSION),
            ConnectReturnCode::ServerUnavailable => ConnectError::Unreachable(code.to_string()),
            ConnectReturnCode::IdentifierRejected | ConnectReturnCode::Accepted => {
                rejected(code, "")
            }
        },
        Error::ReasonCode(code, _) => match code {
            ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => rejected(code, LOGIN),
            ReasonCode::UnsupportedProtocolVersion => rejected(code, VERSION),
            ReasonCode::ServerUnavailable | ReasonCode::ServerBusy => {
                ConnectError::Unreachable(code.to_string())
            }
            _ => rejected(code, ""),
        },
        Error::Timeout => ConnectError::Unreachable("no answer in time".to_owned()),
        // What a broker of MQTT 3.1.1 answers to MQTT 5 is no answer to Paho; one that is just being stopped does the same.
        other if is_v5 => ConnectError::Unreachable(format!(
            "the connection ended before the broker took it ({other}); a broker that speaks only MQTT 3.1.1 needs \
             `protocol_version = 4`"
        )),
        other => ConnectError::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_host_that_does_not_answer_is_named() {
        let free =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let host = (free.ip().to_string(), free.port());
        let settings = MqttSettings { hosts: vec![host.clone(), host], ..MqttSettings::default() };
        let role = Role { client_id: "nobody".to_owned(), clean: true };
        let deadline = Instant::now() + Duration::from_secs(5);
        let outcome = connect(&settings, &role, deadline, None).await;
        let Err(ConnectError::Unreachable(text)) = outcome else { panic!("connected") };
        assert_eq!(text.matches(&free.to_string()).count(), 2, "{text}");
    }
}
