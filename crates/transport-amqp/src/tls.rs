//! TLS to the broker. The helpers of amqprs panic where a file is not what it should be, so none of them is used.

use std::io;
use std::sync::Arc;

use amqprs::tls::TlsAdaptor;
use postroad_tls::{Names, TlsSettings, bare_host, explain, server_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

/// With it a client of AMQP begins. What is wrong with a client's certificate, a server says only after the handshake.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

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
    let greet = async {
        let mut stream = tls.0.connect(name, stream).await?;
        stream.write_all(PROTOCOL_HEADER).await?;
        stream.flush().await?;
        stream.read(&mut [0]).await
    };
    greet
        .await
        .err()
        .and_then(|error: io::Error| explain(&error, &format!("`{host}`"), Names::CONFIG))
}
