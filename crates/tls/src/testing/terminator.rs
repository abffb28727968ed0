//! TLS before a server that speaks none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Identity, Pki};

/// Takes TLS at its address and passes on what is in it. Gone, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Terminator {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Terminator {
    /// Appears by the certificate, and demands one of the authority from whoever comes where `mutual` says so.
    pub async fn start(
        upstream: SocketAddr,
        pki: &Pki,
        identity: &Identity,
        mutual: bool,
    ) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(config(pki, identity, mutual)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                // It ends with the test's runtime, if not before. An error is an end, too.
                tokio::spawn(pass(acceptor.clone(), outer, upstream));
            }
        });
        Ok(Self { address, serving })
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(acceptor: TlsAcceptor, outer: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    outer.set_nodelay(true)?;
    let mut outer = acceptor.accept(outer).await?;
    let mut inner = TcpStream::connect(upstream).await?;
    inner.set_nodelay(true)?;
    copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}

fn config(pki: &Pki, identity: &Identity, mutual: bool) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks all of them");
    let config = if mutual {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(pki.ca()).expect("we wrote it");
        roots.add(ca).expect("it is an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        config.with_client_cert_verifier(verifier.build().expect("it has an authority"))
    } else {
        config.with_no_client_auth()
    };
    let cert = CertificateDer::from_pem_file(&identity.cert).expect("we wrote it");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("we wrote it");
    config.with_single_cert(vec![cert], key).expect("they belong together")
}
