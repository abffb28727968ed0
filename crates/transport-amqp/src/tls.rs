//! TLS to the broker. The helpers of amqprs panic where a file is not what it should be, so none of them is used.

use std::sync::Arc;
use std::time::Duration;

use amqprs::tls::TlsAdaptor;
use postroad_tls::{Names, TlsSettings, bare_host, explain, server_name};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is wrong with a client's certificate, a server of TLS 1.3 says only after the handshake. One that has nothing to
/// say waits for the client, which must not speak: an answer could get lost in how the server closes then.
const HEARING: Duration = Duration::from_millis(500);

/// What one attempt to connect speaks TLS by.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Reads the files, so that each attempt goes by what is in them then.
    pub(crate) async fn load(settings: TlsSettings) -> Result<Self, String> {
        let config = spawn_blocking(move || settings.load(Names::CONFIG))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        Ok(Self(TlsConnector::from(Arc::clone(&config))))
    }

    /// For a reader of our own.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = server_name(host).map_err(|error| error.to_string())?;
        self.0.connect(name, stream).await.map_err(|error| {
            explain(&error, &format!("`{host}`"), Names::CONFIG).unwrap_or(error.to_string())
        })
    }

    pub(crate) fn adaptor(&self, host: &str) -> TlsAdaptor {
        TlsAdaptor::new(self.0.clone(), bare_host(host).to_owned())
    }
}

/// Does a handshake once more and says what is wrong with it; `None` where nothing is.
pub(crate) async fn examine(stream: TcpStream, host: &str, tls: &Tls) -> Option<String> {
    let name = match server_name(host) {
        Ok(name) => name,
        Err(error) => return Some(error.to_string()),
    };
    let error = match tls.0.connect(name, stream).await {
        Ok(mut stream) => timeout(HEARING, stream.read(&mut [0])).await.ok()?.err()?,
        Err(error) => error,
    };
    explain(&error, &format!("`{host}`"), Names::CONFIG)
}
