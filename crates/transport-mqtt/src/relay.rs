//! Everything between paho and the broker passes through here.
//!
//! When writing a message fails, paho frees it twice and the process ends (Eclipse Paho C 1.3.16, its issues 1621 and
//! 1622). So it talks to a socket on this machine whose other end reads whatever it writes for as long as paho keeps it
//! open; that the broker is gone, paho learns by reading. Names are looked up, and timeouts kept, on our side.
//!
//! It is also where the broker is held back: a callback of paho that waited would hold up every client in the process.
//! And it is where TLS is spoken: paho knows nothing of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Gone;
use crate::door::Admitted;
use crate::spool::Spool;
use crate::wire::{Wire, WireReader, WireWriter};

/// For a broker to end its side after paho has ended ours.
const LINGER: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 64 << 10;

/// Two threads that end when paho closes its socket.
pub(crate) struct Relay {
    local: TcpStream,
    gate: Arc<Gate>,
    closed: Gone,
}

/// Whether what the broker says is passed on.
#[derive(Default)]
pub(crate) struct Gate {
    /// Where there is one, nothing is passed on while it is full.
    spool: Option<Arc<Spool>>,
    /// Nothing is passed on any more.
    ended: AtomicBool,
    /// Neither way.
    cut: AtomicBool,
    broker: OnceLock<TcpStream>,
    /// What TLS had to say when the connection ended.
    problem: OnceLock<String>,
}

impl Gate {
    pub(crate) fn before(spool: &Arc<Spool>) -> Self {
        Self { spool: Some(Arc::clone(spool)), ..Self::default() }
    }

    /// Ends the connection to the broker at once. Nothing that paho has not written yet reaches it, so a message that
    /// a callback has in hand when it calls this is not acknowledged.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.end();
        if let Some(broker) = self.broker.get() {
            // An error means that the broker has ended it already.
            broker.shutdown(Shutdown::Both).ok();
        }
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Why the broker ended the connection, where it said so by TLS.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.get().cloned()
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(spool) = &self.spool {
            spool.wake();
        }
    }

    /// Waits for room; whether to pass on what there is.
    fn pass(&self) -> bool {
        if let Some(spool) = &self.spool {
            spool.wait_for_room(&self.ended);
        }
        !self.ended.load(Ordering::SeqCst)
    }
}

impl Relay {
    pub(crate) fn start(paho: Admitted, broker: Wire, gate: Arc<Gate>) -> io::Result<Self> {
        let Admitted { local, connect } = paho;
        local.set_nonblocking(false)?;
        local.set_nodelay(true)?;
        let socket = broker.socket()?;
        let clone = socket.try_clone()?;
        gate.broker.get_or_init(|| clone);
        let (closing, closed) = watch::channel(());
        let (ending, ended) = mpsc::channel::<()>();
        let (from, to) = broker.split()?;
        let (paho, open) = (local.try_clone()?, Arc::clone(&gate));
        spawn("mqtt-relay-in", move || {
            // Dropped at the end, which is what the other thread waits for.
            let _ending = ending;
            inward(from, &paho, &open);
        })?;
        let (paho, open) = (local.try_clone()?, Arc::clone(&gate));
        spawn("mqtt-relay-out", move || {
            // Dropped at the end, which is what `closed` waits for.
            let _closing = closing;
            outward(&paho, &connect, to, &socket);
            open.end();
            ended.recv_timeout(LINGER).ok();
            socket.shutdown(Shutdown::Both).ok();
        })?;
        Ok(Self { local, gate, closed })
    }

    /// Lets paho finish with what it has, as if the broker had ended the connection. Whatever the broker sends from now
    /// on is not acknowledged, and everything that was is told to the broker before the connection is closed.
    pub(crate) fn stop(&self) {
        self.gate.end();
        // An error means that paho has closed it already.
        self.local.shutdown(Shutdown::Write).ok();
    }

    /// Resolves when the connection to the broker is closed.
    pub(crate) fn closed(&self) -> Gone {
        self.closed.clone()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Until the broker ends the connection. What cannot be passed on is dropped.
fn inward(mut broker: WireReader, mut local: &TcpStream, gate: &Gate) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match broker.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if gate.pass() {
                    local.write_all(&buffer[..count]).ok();
                }
            }
            Err(error) => {
                if let Some(problem) = broker.problem(&error) {
                    gate.problem.get_or_init(|| problem);
                }
                break;
            }
        }
    }
    local.shutdown(Shutdown::Write).ok();
}

/// Until paho ends the connection; then the broker is told, so that what paho wrote last arrives: only if the broker reads
/// it before we close. When the broker has ended it, this goes on reading.
fn outward(mut local: &TcpStream, connect: &[u8], mut broker: WireWriter, socket: &TcpStream) {
    let mut pass = |bytes: &[u8]| {
        if broker.write_all(bytes).is_err() {
            // Paho learns of it by what `inward` does then.
            socket.shutdown(Shutdown::Both).ok();
        }
    };
    pass(connect);
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = local.read(&mut buffer) {
        pass(&buffer[..count]);
    }
    broker.finish();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (near, far)
    }

    /// What paho holds, what the broker holds, and what is between them.
    fn relayed() -> (TcpStream, TcpStream, Relay) {
        let (paho, local) = pair();
        let (ours, broker) = pair();
        let admitted = Admitted { local, connect: b"hello".to_vec() };
        let relay = Relay::start(admitted, Wire::plain(ours).unwrap(), Arc::default()).unwrap();
        assert_eq!(read(&broker, 5), b"hello");
        (paho, broker, relay)
    }

    fn read(mut stream: impl Read, count: usize) -> Vec<u8> {
        let mut buffer = vec![0; count];
        stream.read_exact(&mut buffer).unwrap();
        buffer
    }

    #[test]
    fn it_passes_on_both_ways() {
        let (mut paho, mut broker, _relay) = relayed();
        paho.write_all(b"to the broker").unwrap();
        assert_eq!(read(&broker, 13), b"to the broker");
        broker.write_all(b"to paho").unwrap();
        assert_eq!(read(&paho, 7), b"to paho");
    }

    #[test]
    fn writing_goes_on_after_the_broker_has_gone_and_reading_ends() {
        let (mut paho, broker, _relay) = relayed();
        drop(broker);
        assert_eq!(paho.read(&mut [0]).unwrap(), 0);
        for _ in 0..100 {
            paho.write_all(&vec![0; 100_000]).unwrap();
        }
    }

    #[test]
    fn what_was_written_before_the_end_arrives() {
        let (mut paho, broker, _relay) = relayed();
        paho.write_all(&vec![7; 1_000_000]).unwrap();
        drop(paho);
        assert_eq!(read(&broker, 1_000_000), vec![7; 1_000_000]);
        assert_eq!((&broker).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn after_a_cut_nothing_reaches_the_broker() {
        let (mut paho, mut broker, relay) = relayed();
        relay.gate.cut();
        paho.write_all(b"an acknowledgement").unwrap();
        assert_eq!(broker.read(&mut [0]).unwrap(), 0);
        assert_eq!(paho.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn when_stopped_nothing_more_comes_in_and_everything_goes_out_before_it_is_closed() {
        let (mut paho, mut broker, relay) = relayed();
        relay.stop();
        assert_eq!(paho.read(&mut [0]).unwrap(), 0);
        broker.write_all(b"too late").unwrap();
        paho.write_all(b"acknowledged").unwrap();
        assert_eq!(read(&broker, 12), b"acknowledged");
        drop(paho);
        assert_eq!(broker.read(&mut [0]).unwrap(), 0);
        assert!(relay.closed().has_changed().is_ok(), "the broker has not closed its side");
        drop(broker);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while relay.closed().has_changed().is_ok() {
            assert!(std::time::Instant::now() < deadline);
        }
    }
}
