//! Everything between paho and the broker passes through here.
//!
//! When writing a message fails, paho frees it twice and the process ends (Eclipse Paho C 1.3.16, its issues 1621 and
//! 1622). So it talks to a socket on this machine whose other end reads whatever it writes for as long as paho keeps it
//! open; that the broker is gone, paho learns by reading. Names are looked up, and timeouts kept, on our side.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::{Gone, wait_for_end};

/// For a broker that takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a broker to end its side after paho has ended ours.
const LINGER: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 64 << 10;

/// Two threads that end when paho closes its socket.
pub(crate) struct Relay {
    local: TcpStream,
    stopping: Arc<AtomicBool>,
    closed: Gone,
}

impl Relay {
    /// `local` is the accepted end of paho's connection.
    pub(crate) fn start(local: TcpStream, broker: TcpStream) -> io::Result<Self> {
        for stream in [&local, &broker] {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
        }
        broker.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (closing, closed) = watch::channel(());
        let (ending, ended) = mpsc::channel::<()>();
        let (from, to, flag) = (broker.try_clone()?, local.try_clone()?, Arc::clone(&stopping));
        spawn("mqtt-relay-in", move || {
            // Dropped at the end, which is what the other thread waits for.
            let _ending = ending;
            inward(&from, &to, &flag);
        })?;
        let from = local.try_clone()?;
        spawn("mqtt-relay-out", move || {
            outward(&from, &broker);
            drop(closing);
            // What paho wrote last arrives only if the broker reads it before we close.
            broker.shutdown(Shutdown::Write).ok();
            ended.recv_timeout(LINGER).ok();
            broker.shutdown(Shutdown::Both).ok();
        })?;
        Ok(Self { local, stopping, closed })
    }

    /// Lets paho finish with what it has, as if the broker had ended the connection, and waits for that. Whatever the
    /// broker sends from now on is not acknowledged, and everything that was is told to the broker.
    pub(crate) async fn stop(&self, at_most: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        // An error means that paho has closed it already.
        self.local.shutdown(Shutdown::Write).ok();
        wait_for_end(self.closed.clone(), at_most).await;
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Until the broker ends the connection. What cannot be passed on is dropped.
fn inward(mut broker: &TcpStream, mut local: &TcpStream, stopping: &AtomicBool) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = broker.read(&mut buffer) {
        if !stopping.load(Ordering::Relaxed) {
            local.write_all(&buffer[..count]).ok();
        }
    }
    local.shutdown(Shutdown::Write).ok();
}

/// Until paho ends the connection. When the broker has ended it, this goes on reading.
fn outward(mut local: &TcpStream, mut broker: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = local.read(&mut buffer) {
        if broker.write_all(&buffer[..count]).is_err() {
            // Paho learns of it by what `inward` does then.
            broker.shutdown(Shutdown::Both).ok();
        }
    }
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
        (paho, broker, Relay::start(local, ours).unwrap())
    }

    fn read(mut stream: &TcpStream, count: usize) -> Vec<u8> {
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

    #[tokio::test]
    async fn when_stopped_nothing_more_comes_in_and_everything_goes_out() {
        let (mut paho, mut broker, relay) = relayed();
        let stopping = tokio::spawn(async move { relay.stop(Duration::from_secs(10)).await });
        let (paho, broker) = tokio::task::spawn_blocking(move || {
            assert_eq!(paho.read(&mut [0]).unwrap(), 0);
            broker.write_all(b"too late").unwrap();
            paho.write_all(b"acknowledged").unwrap();
            assert_eq!(read(&broker, 12), b"acknowledged");
            (paho, broker)
        })
        .await
        .unwrap();
        assert!(!stopping.is_finished());
        drop(paho);
        stopping.await.unwrap();
        drop(broker);
    }
}
