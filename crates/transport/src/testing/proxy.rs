//! A network that breaks on demand, between a client and a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of a ping, in MariaDB's protocol and in PostgreSQL's.
const PING: usize = 5;

/// Forwards TCP connections to one server until told otherwise. Ends them all when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    requests: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mode {
    hold_requests: bool,
    hold_replies: bool,
    refuse: bool,
    /// How often every connection was cut.
    cuts: u64,
}

impl Proxy {
    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::default());
        let requests = Arc::<AtomicU64>::default();
        let accepting =
            tokio::spawn(accept(listener, upstream, mode.subscribe(), Arc::clone(&requests)));
        Ok(Self { address, mode, requests, accepting })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// How often clients said something up to now: once for each request, more often for a long one, and never for one that
    /// is as short as the pings by which a pool of connections to a database tries them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Resets every connection there is, on both sides. New ones are taken.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }

    /// Whether to forward nothing and to end nothing, as a network does that loses every packet. New connections are
    /// taken and not forwarded either. What was held back is forwarded when this ends.
    pub fn blackhole(&self, on: bool) {
        self.mode.send_modify(|mode| (mode.hold_requests, mode.hold_replies) = (on, on));
    }

    /// Whether to hold back what the client says only: it gets every answer, and none of its requests arrive.
    pub fn hold_requests(&self, on: bool) {
        self.mode.send_modify(|mode| mode.hold_requests = on);
    }

    /// Whether to hold back what the server says only: it gets every request, and no answer arrives.
    pub fn hold_replies(&self, on: bool) {
        self.mode.send_modify(|mode| mode.hold_replies = on);
    }

    /// Whether to reset new connections at once. Does nothing to those there are.
    pub fn refuse(&self, on: bool) {
        self.mode.send_modify(|mode| mode.refuse = on);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
    requests: Arc<AtomicU64>,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let cuts = mode.borrow().cuts;
        tokio::spawn(serve(client, upstream, mode.clone(), cuts, Arc::clone(&requests)));
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    cuts: u64,
    requests: Arc<AtomicU64>,
) {
    if mode.borrow().refuse {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
    // Without it small packets wait for each other; that costs speed only.
    client.set_nodelay(true).and(server.set_nodelay(true)).ok();
    let (asking, answering) = (mode.clone(), mode.clone());
    // Nobody wants to know.
    let answers = AtomicU64::new(0);
    let severed = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let cut = async {
            // An error means that the proxy is gone.
            mode.wait_for(|mode| mode.cuts != cuts).await.ok();
        };
        tokio::select! {
            () = cut => true,
            // An error of either ends both; where one side has only ended what it says, the other may still speak.
            _ = async {
                tokio::try_join!(
                    forward(from_client, to_server, asking, |mode| mode.hold_requests, &requests),
                    forward(from_server, to_client, answering, |mode| mode.hold_replies, &answers),
                )
            } => false,
        }
    };
    if severed {
        reset(&client);
        reset(&server);
    }
}

/// Copies until what comes has ended, and passes the end on.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    held: fn(&Mode) -> bool,
    times: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if mode.wait_for(|mode| !held(mode)).await.is_err() || count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        if count > PING {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The socket then ends with RST instead of FIN when it is dropped.
fn reset(stream: &TcpStream) {
    // It fails on a socket that has ended, which is what is wanted.
    stream.set_zero_linger().ok();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        let proxy = Proxy::start(upstream).await.unwrap();
        let stream = TcpStream::connect(proxy.addr()).await.unwrap();
        (proxy, stream)
    }

    async fn says_back(stream: &mut TcpStream, text: &[u8]) -> bool {
        stream.write_all(text).await.unwrap();
        let mut answer = vec![0; text.len()];
        let read =
            tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut answer)).await;
        read.is_ok_and(|count| count.is_ok()) && answer == text
    }

    #[tokio::test]
    async fn it_forwards_both_ways() {
        let (proxy, mut stream) = echo().await;
        assert!(says_back(&mut stream, b"hello server").await);
        assert!(says_back(&mut stream, b"ping!").await);
        assert!(says_back(&mut stream, b"once again").await);
        assert_eq!(proxy.requests(), 2);
    }

    #[tokio::test]
    async fn a_cut_resets_what_there_is_and_takes_what_comes() {
        let (proxy, mut stream) = echo().await;
        assert!(says_back(&mut stream, b"1").await);
        proxy.cut();
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says_back(&mut stream, b"2").await);
    }

    #[tokio::test]
    async fn a_black_hole_holds_everything_back_until_it_ends() {
        let (proxy, mut stream) = echo().await;
        for hold in [Proxy::blackhole, Proxy::hold_replies] {
            assert!(says_back(&mut stream, b"1").await);
            hold(&proxy, true);
            assert!(!says_back(&mut stream, b"2").await);
            hold(&proxy, false);
            let mut held = [0];
            stream.read_exact(&mut held).await.unwrap();
            assert_eq!(&held, b"2");
        }
    }

    #[tokio::test]
    async fn refusing_spares_the_connections_there_are() {
        let (proxy, mut stream) = echo().await;
        assert!(says_back(&mut stream, b"1").await);
        proxy.refuse(true);
        let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(refused.read(&mut [0]).await.is_err());
        assert!(says_back(&mut stream, b"2").await);
    }
}
