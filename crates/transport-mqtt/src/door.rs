//! Where paho comes to the relay.
//!
//! Anybody on this machine can connect to a port of the loopback interface, and who came through here would speak to the
//! broker by our certificate. So paho is given a password to connect by, in the place of its client id, and the client
//! id is put there when it has come in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdTcpStream};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

/// For whoever has connected to say who they are.
const PATIENCE: Duration = Duration::from_secs(2);
/// More do not come in at a time. Paho is alone, as a rule.
const MOST_WAITING: usize = 32;
/// A request to connect with the longest user name and password.
const MOST_BYTES: usize = 256 << 10;
const CONNECT: u8 = 0x10;
const LENGTH_BYTES: usize = 4;

/// Open for one connection.
pub(crate) struct Door {
    listener: TcpListener,
    address: SocketAddr,
    password: Uuid,
}

/// Paho has come.
pub(crate) struct Admitted {
    /// Our end of its connection.
    pub(crate) local: StdTcpStream,
    /// What it has said to the broker so far.
    pub(crate) connect: Vec<u8>,
}

impl Door {
    pub(crate) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, password: Uuid::new_v4() })
    }

    pub(crate) fn uri(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// The client id to connect by.
    pub(crate) fn password(&self) -> String {
        self.password.simple().to_string()
    }

    /// Waits for whoever knows the password, and lets nobody else in.
    pub(crate) async fn admit(self, client_id: &str) -> io::Result<Admitted> {
        let password = self.password();
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                came = self.listener.accept(), if waiting.len() < MOST_WAITING => {
                    waiting.push(timeout(PATIENCE, ask(came?.0, &password, client_id)));
                }
                Some(asked) = waiting.next() => {
                    if let Ok(Some((stream, connect))) = asked {
                        return Ok(Admitted { local: stream.into_std()?, connect });
                    }
                }
            }
        }
    }
}

/// `None` where it is somebody else.
async fn ask(
    mut stream: TcpStream,
    password: &str,
    client_id: &str,
) -> Option<(TcpStream, Vec<u8>)> {
    if stream.read_u8().await.ok()? != CONNECT {
        return None;
    }
    let mut length = 0;
    for place in 0..LENGTH_BYTES {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length > MOST_BYTES {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((stream, with_client_id(&body, password, client_id)?))
}

/// The whole packet with the client id in the place of the password, which has to be there.
fn with_client_id(body: &[u8], password: &str, client_id: &str) -> Option<Vec<u8>> {
    let start = before_client_id(body)?;
    let (found, rest) = text(body.get(start..)?)?;
    // A difference shows in how long this takes; of 122 random bits, used once, that tells nobody enough.
    if found != password.as_bytes() {
        return None;
    }
    let length = start + 2 + client_id.len() + rest.len();
    let mut packet = vec![CONNECT];
    put_length(&mut packet, length);
    packet.extend(&body[..start]);
    packet.extend(u16::try_from(client_id.len()).ok()?.to_be_bytes());
    packet.extend(client_id.as_bytes());
    packet.extend(rest);
    Some(packet)
}

/// How many bytes come before the client id: protocol, version, flags, keep alive and, in MQTT 5, properties.
fn before_client_id(body: &[u8]) -> Option<usize> {
    let (_, rest) = text(body)?;
    let (version, rest) = (*rest.first()?, rest.get(4..)?);
    let rest = if version == 5 {
        let mut length = 0;
        let mut bytes = 0;
        for (place, byte) in rest.iter().take(LENGTH_BYTES).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            bytes = place + 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest.get(bytes + length..)?
    } else {
        rest
    };
    Some(body.len() - rest.len())
}

/// A text of MQTT, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn put_length(packet: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).expect("it has seven bits");
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// As paho says it, by MQTT 3.1.1 or 5, with a user name after it.
    fn connect(version: u8, client_id: &str) -> Vec<u8> {
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([version, 0x82, 0, 30]);
        if version == 5 {
            // Receive maximum.
            body.extend([3, 0x21, 0, 100]);
        }
        for text in [client_id, "user"] {
            body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            body.extend(text.as_bytes());
        }
        let mut packet = vec![CONNECT];
        put_length(&mut packet, body.len());
        packet.extend(body);
        packet
    }

    #[tokio::test]
    async fn paho_comes_in_and_leaves_its_password_behind() {
        for version in [4, 5] {
            for client_id in ["billing".to_owned(), "b".repeat(40_000)] {
                let door = Door::open().await.unwrap();
                let mut paho = TcpStream::connect(door.address).await.unwrap();
                paho.write_all(&connect(version, &door.password())).await.unwrap();
                let admitted = door.admit(&client_id).await.unwrap();
                assert_eq!(admitted.connect, connect(version, &client_id));
                assert_eq!(admitted.local.peer_addr().unwrap(), paho.local_addr().unwrap());
            }
        }
    }

    #[tokio::test]
    async fn who_is_sent_away_does_not_hold_up_who_has_come_before() {
        let door = Door::open().await.unwrap();
        let connect = connect(5, &door.password());
        let mut paho = TcpStream::connect(door.address).await.unwrap();
        let mut other = TcpStream::connect(door.address).await.unwrap();
        other.write_all(b"?").await.unwrap();
        let speak = async {
            assert_eq!(other.read(&mut [0]).await.unwrap(), 0, "it is sent away");
            paho.write_all(&connect).await.unwrap();
        };
        let (admitted, ()) = tokio::join!(door.admit("billing"), speak);
        assert_eq!(admitted.unwrap().local.peer_addr().unwrap(), paho.local_addr().unwrap());
    }

    #[tokio::test]
    async fn nobody_else_does_whatever_they_say_and_however_long_they_wait() {
        let door = Door::open().await.unwrap();
        let address = door.address;
        let mut others = Vec::new();
        let huge = [CONNECT, 0xff, 0xff, 0xff, 0x7f];
        let guess = connect(5, &Uuid::new_v4().simple().to_string());
        let cut = &connect(5, &door.password())[..20];
        for said in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &huge, &guess, cut, b"\x10\x02\xff\xff"] {
            let mut other = TcpStream::connect(address).await.unwrap();
            other.write_all(said).await.unwrap();
            others.push(other);
        }
        let mut paho = TcpStream::connect(address).await.unwrap();
        paho.write_all(&connect(5, &door.password())).await.unwrap();
        let admitted = door.admit("billing").await.unwrap();
        assert_eq!(admitted.local.peer_addr().unwrap(), paho.local_addr().unwrap());
        assert!(TcpStream::connect(address).await.is_err(), "the door is closed");
    }
}
