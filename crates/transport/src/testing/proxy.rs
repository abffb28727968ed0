//! A network that breaks on demand, between a client and a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of a ping, in MariaDB's protocol and in PostgreSQL's.
const PING: usize = 5;

/// Bytes of one write where only so many a second may pass.
const THROTTLED: usize = 256;

/// Forwards TCP connections to one server until told otherwise. Ends them all when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    requests: Arc<AtomicU64>,
    limited: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Mode {
    hold_requests: bool,
    hold_replies: bool,
    drop_replies: bool,
    refuse: bool,
    delay: Duration,
    /// Bytes a second; 0 for as many as there are.
    throttle: u64,
    /// Bytes of one write; 0 for as many as there are.
    chop: usize,
    /// How often every connection was cut.
    cuts: u64,
    /// How often every connection was ended in good order.
    ends: u64,
    /// After how many bytes each connection from now on is cut.
    cut_after: Option<(u64, Speaker)>,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl Proxy {
    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::default());
        let requests = Arc::<AtomicU64>::default();
        let limited = Arc::<AtomicU64>::default();
        let counts = (Arc::clone(&requests), Arc::clone(&limited));
        let accepting = tokio::spawn(accept(listener, upstream, mode.subscribe(), counts));
        Ok(Self { address, mode, requests, limited, accepting })
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

    /// How many connections were reset up to now because one side had said as much as [`Self::cut_after`] lets it.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
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

    /// Whether to throw away what the server says: it gets every request, and no answer ever arrives. What was thrown away
    /// is missing afterwards, so the connections are to be cut before this ends.
    pub fn drop_replies(&self, on: bool) {
        self.mode.send_modify(|mode| mode.drop_replies = on);
    }

    /// Ends every connection there is by FIN, on both sides, as a server does that ends in good order.
    pub fn finish(&self) {
        self.mode.send_modify(|mode| mode.ends += 1);
    }

    /// Makes everything that is said take so much longer.
    pub fn delay(&self, by: Duration) {
        self.mode.send_modify(|mode| mode.delay = by);
    }

    /// Lets so many bytes a second through in each direction; 0 ends it.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.mode.send_modify(|mode| mode.throttle = bytes_per_second);
    }

    /// Forwards in pieces of so many bytes; 0 ends it.
    pub fn chop(&self, bytes: usize) {
        self.mode.send_modify(|mode| mode.chop = bytes);
    }

    /// Resets each connection that is made from now on when one side has said so much, of which all is forwarded; `None`
    /// ends it.
    pub fn cut_after(&self, limit: Option<(u64, Speaker)>) {
        self.mode.send_modify(|mode| mode.cut_after = limit);
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
    counts: (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let cuts = mode.borrow().cuts;
        tokio::spawn(serve(client, upstream, mode.clone(), cuts, counts.clone()));
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    cuts: u64,
    (requests, limited): (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    let Mode { refuse, ends, cut_after, .. } = *mode.borrow();
    if refuse {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
    // Without it small packets wait for each other; that costs speed only.
    client.set_nodelay(true).and(server.set_nodelay(true)).ok();
    let limit = |who| cut_after.filter(|(_, of)| *of == who).map_or(u64::MAX, |(bytes, _)| bytes);
    let asking = Line { mode: mode.clone(), who: Speaker::Client, left: limit(Speaker::Client) };
    let answering = Line { mode: mode.clone(), who: Speaker::Server, left: limit(Speaker::Server) };
    // Nobody wants to know.
    let answers = AtomicU64::new(0);
    let severed = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let ended = async {
            // An error means that the proxy is gone.
            let ended = mode.wait_for(|mode| mode.cuts != cuts || mode.ends != ends).await;
            ended.map_or(true, |mode| mode.cuts != cuts)
        };
        tokio::select! {
            severed = ended => severed,
            // An error of either ends both; where one side has only ended what it says, the other may still speak.
            result = async {
                tokio::try_join!(
                    forward(from_client, to_server, asking, &requests),
                    forward(from_server, to_client, answering, &answers),
                )
            } => {
                let is_limit = matches!(result, Err(Stop::Limit));
                limited.fetch_add(u64::from(is_limit), Ordering::Relaxed);
                is_limit
            }
        }
    };
    if severed {
        reset(&client);
        reset(&server);
    }
}

/// One direction of a connection.
struct Line {
    mode: watch::Receiver<Mode>,
    who: Speaker,
    /// Bytes until it is cut.
    left: u64,
}

enum Stop {
    /// It has ended, or cannot be written to.
    Ended,
    /// It has said as much as it may.
    Limit,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

/// Copies until what comes has ended, and passes the end on.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: Line,
    times: &AtomicU64,
) -> Result<(), Stop> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        let who = line.who;
        let Ok(mode) = line.mode.wait_for(|mode| !mode.holds(who)).await.map(|mode| *mode) else {
            return Ok(to.shutdown().await?);
        };
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        if mode.drop_replies && who == Speaker::Server {
            continue;
        }
        if !mode.delay.is_zero() {
            tokio::time::sleep(mode.delay).await;
        }
        let passed = usize::try_from(line.left).map_or(count, |left| left.min(count));
        write(&mut to, &buffer[..passed], mode).await?;
        line.left -= passed as u64;
        if line.left == 0 {
            return Err(Stop::Limit);
        }
        if count > PING {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// In pieces and as fast as it may be.
async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let piece = match (mode.chop, mode.throttle) {
        (0, 0) => return to.write_all(bytes).await,
        (0, _) => bytes.len().min(THROTTLED),
        (chop, _) => chop,
    };
    for piece in bytes.chunks(piece) {
        to.write_all(piece).await?;
        let pause = match mode.throttle {
            // Long enough for the piece to leave alone.
            0 => Duration::from_micros(100),
            throttle => {
                Duration::from_secs(piece.len() as u64)
                    / u32::try_from(throttle).unwrap_or(u32::MAX)
            }
        };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

impl Mode {
    fn holds(&self, who: Speaker) -> bool {
        match who {
            Speaker::Client => self.hold_requests,
            Speaker::Server => self.hold_replies,
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
    use super::*;

    /// Much longer than a slow line takes.
    const SLOW: Duration = Duration::from_secs(10);
    /// Much longer than any answer takes that is not held back.
    const SOON: Duration = Duration::from_secs(1);

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
        says_back_within(SLOW, stream, text).await
    }

    async fn says_back_within(time: Duration, stream: &mut TcpStream, text: &[u8]) -> bool {
        stream.write_all(text).await.unwrap();
        let mut answer = vec![0; text.len()];
        let read = tokio::time::timeout(time, stream.read_exact(&mut answer)).await;
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
            assert!(!says_back_within(SOON, &mut stream, b"2").await);
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

    #[tokio::test]
    async fn what_is_thrown_away_reached_the_server_and_never_comes_back() {
        let (proxy, mut stream) = echo().await;
        proxy.drop_replies(true);
        assert!(!says_back_within(SOON, &mut stream, b"1").await);
        proxy.drop_replies(false);
        assert!(says_back(&mut stream, b"2").await);
    }

    #[tokio::test]
    async fn a_connection_ends_in_good_order_or_after_so_many_bytes() {
        let (proxy, mut stream) = echo().await;
        // It is served.
        assert!(says_back(&mut stream, b"1").await);
        proxy.finish();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        proxy.cut_after(Some((3, Speaker::Server)));
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        stream.write_all(b"12345").await.unwrap();
        let mut answer = Vec::new();
        assert!(stream.read_to_end(&mut answer).await.is_err() || answer == b"123");
        assert!(b"123".starts_with(&answer), "{answer:?}");
        proxy.cut_after(None);
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says_back(&mut stream, b"12345").await);
    }

    #[tokio::test]
    async fn a_slow_line_delivers_everything() {
        let (proxy, mut stream) = echo().await;
        proxy.chop(1);
        assert!(says_back(&mut stream, b"in pieces").await);
        proxy.chop(0);
        proxy.throttle(10_000);
        let began = std::time::Instant::now();
        assert!(says_back(&mut stream, &[7; 1_000]).await);
        // All but the last piece, each way at the same time.
        assert!(began.elapsed() >= Duration::from_millis(70));
        proxy.throttle(0);
        proxy.delay(Duration::from_millis(50));
        let began = std::time::Instant::now();
        assert!(says_back(&mut stream, b"later").await);
        assert!(began.elapsed() >= Duration::from_millis(100));
    }
}
