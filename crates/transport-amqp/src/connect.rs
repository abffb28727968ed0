//! From settings to an open channel.

use std::time::Duration;

use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::security::SecurityCredentials;
use postroad_transport::ConnectError;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::events::events;
use crate::link::Link;
use crate::rpc::{CallError, call};
use crate::settings::AmqpSettings;
use crate::tls::{self, Tls};

/// For finding out whether anybody listens, after a connection failed.
const POST_MORTEM: Duration = Duration::from_secs(1);

/// Opens a connection to the first host that takes one, and a channel on it.
pub(crate) async fn connect(
    settings: &AmqpSettings,
    role: &str,
    deadline: Instant,
) -> Result<Link, ConnectError> {
    let tls = match &settings.tls {
        Some(tls) => Some(Tls::load(tls.clone()).await.map_err(ConnectError::Untrusted)?),
        None => None,
    };
    let mut failures = Vec::new();
    let mut answered = None;
    for (tried, (host, port)) in settings.hosts.iter().enumerate() {
        let address = address(host, *port);
        let left = u32::try_from(settings.hosts.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match open(settings, role, (host, *port), tls.as_ref(), Instant::now() + share).await {
            Ok(link) => return Ok(link),
            Err(error) => {
                debug!(%address, %error, "cannot connect to this host");
                let named = |text: &str| format!("{address}: {text}");
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

async fn open(
    settings: &AmqpSettings,
    role: &str,
    (host, port): (&str, u16),
    tls: Option<&Tls>,
    deadline: Instant,
) -> Result<Link, ConnectError> {
    let address = address(host, port);
    let mut arguments = arguments(settings, role, host, port);
    if let Some(tls) = tls {
        arguments.tls_adaptor(tls.adaptor(host));
    }
    let connection = match call(deadline, async move { Connection::open(&arguments).await }).await {
        Ok(connection) => connection,
        Err(error) => return Err(why(error, host, &address, tls).await),
    };
    let (channel_events, connection_events, events) = events();
    let opened = connection.clone();
    let set_up = async move {
        opened.register_callback(connection_events).await?;
        let channel = opened.open_channel(None).await?;
        channel.register_callback(channel_events).await?;
        Ok(channel)
    };
    let channel = match call(deadline, set_up).await {
        Ok(channel) => channel,
        Err(error) => return Err(ConnectError::Unreachable(format!("no channel: {error}"))),
    };
    let link = Link { connection, channel, events };
    // amqprs sends heartbeats every half of the negotiated time in whole seconds, so without a pause at one second.
    if link.connection.heartbeat() < 2 {
        link.abandon();
        return Err(ConnectError::Rejected(
            "the broker wants a heartbeat every second; raise it there".to_owned(),
        ));
    }
    Ok(link)
}

fn arguments(
    settings: &AmqpSettings,
    role: &str,
    host: &str,
    port: u16,
) -> OpenConnectionArguments {
    let credentials = if settings.login_by_certificate {
        SecurityCredentials::new_external()
    } else {
        SecurityCredentials::new_plain(&settings.username, settings.password.reveal())
    };
    OpenConnectionArguments::new(&bracketed(host), port, "", "")
        .credentials(credentials)
        .virtual_host(&settings.virtual_host)
        .connection_name(&format!("{} {role}", settings.connection_name))
        .heartbeat(settings.heartbeat_seconds)
        .finish()
}

/// A wrong password looks to amqprs like a crash: the broker resets. What tells them apart is that somebody listens.
/// Of TLS it says too little, so whoever listens is asked again.
async fn why(error: CallError, host: &str, address: &str, tls: Option<&Tls>) -> ConnectError {
    const HINT: &str = "is the user name, password or virtual host right?";
    const PLAIN_HINT: &str =
        "is the user name, password or virtual host right? or is it a port for TLS?";
    match error {
        CallError::TimedOut | CallError::Broken => ConnectError::Unreachable(error.to_string()),
        CallError::Failed(Error::NetworkError(text)) => {
            let Ok(Ok(stream)) = timeout(POST_MORTEM, TcpStream::connect(address)).await else {
                return ConnectError::Unreachable(text);
            };
            let hint = match tls {
                None => PLAIN_HINT,
                Some(tls) => match timeout(POST_MORTEM, tls::examine(stream, host, tls)).await {
                    Ok(Some(problem)) => return ConnectError::Untrusted(problem),
                    Ok(None) => HINT,
                    Err(_) => return ConnectError::Unreachable(text),
                },
            };
            ConnectError::Rejected(format!("closed during the handshake ({text}); {hint}"))
        }
        CallError::Failed(error) => {
            ConnectError::Rejected(format!("{}; {HINT}", reply_text(&error.to_string())))
        }
    }
}

/// amqprs prints the whole frame of a refusal; what the broker said is in its only quotes.
fn reply_text(error: &str) -> &str {
    error.split('"').nth(1).unwrap_or(error)
}

fn address(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_bracketed() {
        assert_eq!(address("::1", 5672), "[::1]:5672");
        assert_eq!(address("[::1]", 5672), "[::1]:5672");
        assert_eq!(address("127.0.0.1", 1), "127.0.0.1:1");
        assert_eq!(address("rabbit", 5672), "rabbit:5672");
    }

    #[tokio::test]
    async fn every_host_that_does_not_answer_is_named() {
        let free =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let host = (free.ip().to_string(), free.port());
        let settings = AmqpSettings { hosts: vec![host.clone(), host], ..AmqpSettings::default() };
        let deadline = Instant::now() + Duration::from_secs(5);
        let Err(ConnectError::Unreachable(text)) = connect(&settings, "test", deadline).await
        else {
            panic!()
        };
        assert_eq!(text.matches(&free.to_string()).count(), 2, "{text}");
    }
}
