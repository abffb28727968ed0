//! MQTT packets byte by byte, for what no decent client sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
const RETAIN: u8 = 1;

/// Publishes one message in a connection of its own, at QoS 0 or 1, and returns whether the broker let it pass.
pub(crate) async fn publish_raw(
    address: SocketAddr,
    topic: &[u8],
    qos: u8,
    retain: bool,
    payload: &[u8],
) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let id = Uuid::new_v4().simple().to_string();
    // MQTT 3.1.1, a clean session, no keep alive.
    let connect = [text(b"MQTT"), vec![4, 2, 0, 0], text(id.as_bytes())].concat();
    stream.write_all(&packet(CONNECT, &connect)).await.unwrap();
    assert_eq!(answer(&mut stream).await, Some(CONNACK));
    let retain = if retain { RETAIN } else { 0 };
    let packet_id = if qos == 0 { vec![] } else { vec![0, 1] };
    let publish = [text(topic), packet_id, payload.to_vec()].concat();
    stream.write_all(&packet(PUBLISH | qos << 1 | retain, &publish)).await.unwrap();
    // Of QoS 0 nothing comes back; but what is asked after it is answered after it.
    stream.write_all(&[PINGREQ, 0]).await.unwrap();
    loop {
        match answer(&mut stream).await {
            Some(PINGRESP) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut left = payload.len();
    loop {
        let digit = u8::try_from(left % 128).unwrap();
        left /= 128;
        packet.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    [packet, payload.to_vec()].concat()
}

/// The kind of the next packet, all of them short here; `None` where the broker closed.
async fn answer(stream: &mut TcpStream) -> Option<u8> {
    let kind = stream.read_u8().await.ok()?;
    let size = stream.read_u8().await.ok()?;
    let mut rest = vec![0; usize::from(size)];
    stream.read_exact(&mut rest).await.ok()?;
    Some(kind & 0xf0)
}
