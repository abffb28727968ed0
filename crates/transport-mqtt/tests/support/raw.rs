//! An MQTT 3.1.1 publisher byte by byte. Paho is held up as a whole while one of its callbacks waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use uuid::Uuid;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

/// Publishes one message after the other; each is acknowledged when this returns.
pub(crate) fn publish(broker: SocketAddr, topic: &str, bodies: &[String], qos: u8, retain: bool) {
    let mut stream = TcpStream::connect(broker).unwrap();
    let id = Uuid::new_v4().to_string();
    // Protocol level 4, clean session, a minute's keep-alive.
    let connect = [text("MQTT"), vec![4, 2, 0, 60], text(&id)].concat();
    send(&mut stream, CONNECT, &connect);
    answer(&mut stream, CONNACK);
    for body in bodies {
        let id: &[u8] = if qos == 0 { &[] } else { &[0, 1] };
        let publish = [text(topic), id.to_vec(), body.clone().into_bytes()].concat();
        send(&mut stream, PUBLISH | qos << 1 | u8::from(retain), &publish);
        match qos {
            0 => {}
            1 => answer(&mut stream, PUBACK),
            _ => {
                answer(&mut stream, PUBREC);
                send(&mut stream, PUBREL, &[0, 1]);
                answer(&mut stream, PUBCOMP);
            }
        }
    }
    // A broker may drop what it has not read when a connection is reset.
    send(&mut stream, 0xe0, &[]);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn send(stream: &mut TcpStream, kind: u8, payload: &[u8]) {
    let mut packet = vec![kind];
    let mut left = payload.len();
    loop {
        let more = if left < 128 { 0 } else { 128 };
        packet.push(u8::try_from(left % 128).unwrap() | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(payload);
    stream.write_all(&packet).unwrap();
}

/// Every answer has two bytes after its head.
fn answer(stream: &mut TcpStream, kind: u8) {
    let mut packet = [0; 4];
    stream.read_exact(&mut packet).unwrap();
    assert_eq!(packet[0], kind, "{packet:?}");
    assert!(kind != CONNACK || packet[3] == 0, "{packet:?}");
}
