//! The first words of each protocol: a server is ready when it answers them, not when its port is open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a peer may take for one read or write.
const PATIENCE: Duration = Duration::from_secs(2);

/// A protocol whose server we can ask whether it is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Amqp,
    Epmd,
    Mariadb,
    Mqtt,
    Postgres,
}

impl Protocol {
    /// `Ok` when the server at that address speaks this protocol and takes clients.
    pub(crate) fn greet(self, address: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(self.hello())?;
        let mut answer = vec![0; self.answer_bytes()];
        stream.read_exact(&mut answer)?;
        if self.is_welcome(&answer) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {answer:02x?}")))
    }

    /// What the client says first. In MariaDB's protocol that is nothing.
    fn hello(self) -> &'static [u8] {
        match self {
            Self::Amqp => b"AMQP\x00\x00\x09\x01",
            // NAMES_REQ
            Self::Epmd => b"\x00\x01n",
            Self::Mariadb => b"",
            // CONNECT of MQTT 3.1.1: clean session, keep-alive 10 s, client id `ready`
            Self::Mqtt => b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05ready",
            // StartupMessage 3.0: length 23, version, user `postgres`
            Self::Postgres => b"\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00",
        }
    }

    fn answer_bytes(self) -> usize {
        match self {
            Self::Amqp => 11,
            Self::Epmd | Self::Mqtt => 4,
            Self::Mariadb => 5,
            Self::Postgres => 1,
        }
    }

    fn is_welcome(self, answer: &[u8]) -> bool {
        match self {
            // A method frame on channel 0 that carries Connection.Start.
            Self::Amqp => answer.starts_with(&[1, 0, 0]) && answer[7..] == [0, 10, 0, 10],
            // Its own port, which the caller has just connected to.
            Self::Epmd => true,
            // Packet 0, protocol version 10; an error would be 255.
            Self::Mariadb => answer[3..] == [0, 10],
            Self::Mqtt => answer == [0x20, 2, 0, 0],
            // An authentication request; `E` says that it is still starting.
            Self::Postgres => answer == b"R",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Greets a server that waits for `hello` and says `answer`.
    fn greet(protocol: Protocol, answer: &'static [u8]) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = vec![0; protocol.hello().len()];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(answer).unwrap();
            hello
        });
        let result = protocol.greet(address);
        assert_eq!(server.join().unwrap(), protocol.hello());
        result
    }

    #[track_caller]
    fn check(protocol: Protocol, answer: &'static [u8], ready: bool) {
        assert_eq!(greet(protocol, answer).is_ok(), ready, "{protocol:?} answered {answer:02x?}");
    }

    #[test]
    fn rabbitmq_is_ready_when_it_starts_a_connection() {
        check(Protocol::Amqp, b"\x01\x00\x00\x00\x00\x01\xf0\x00\x0a\x00\x0a\x00\x09", true);
        check(Protocol::Amqp, b"AMQP\x00\x00\x09\x01....", false);
        check(Protocol::Amqp, b"", false);
    }

    #[test]
    fn postgres_is_ready_when_it_asks_who_we_are() {
        check(Protocol::Postgres, b"R\x00\x00\x00\x08", true);
        check(Protocol::Postgres, b"E\x00\x00\x00\x30SFATAL\x00C57P03\x00", false);
    }

    #[test]
    fn mosquitto_is_ready_when_it_accepts_a_session() {
        check(Protocol::Mqtt, b"\x20\x02\x00\x00", true);
        check(Protocol::Mqtt, b"\x20\x02\x00\x05", false);
    }

    #[test]
    fn mariadb_is_ready_when_it_greets() {
        check(Protocol::Mariadb, b"\x5a\x00\x00\x00\x0a10.11.19-MariaDB\x00", true);
        check(Protocol::Mariadb, b"\x10\x00\x00\x00\xff\x10\x04Too many connections", false);
    }

    #[test]
    fn a_closed_port_is_not_ready() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(Protocol::Amqp.greet(address).is_err());
    }
}
