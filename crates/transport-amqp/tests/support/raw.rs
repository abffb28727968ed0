//! A message that no decent client can send: AMQP frames byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Place;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Publishes to the place's exchange with these bytes for the table of headers, and waits until the broker has it.
pub(crate) async fn publish_raw(place: &Place, topic: &str, table: &[u8], body: &[u8]) {
    let url = &place.url;
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await.unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    answer(&mut stream, 10, 10).await;
    let login = format!("\0{}\0{}", url.username, url.password);
    let start_ok = [long(b""), short("PLAIN"), long(login.as_bytes()), short("en_US")].concat();
    send(&mut stream, METHOD, 0, &method(10, 11, &start_ok)).await;
    answer(&mut stream, 10, 30).await;
    send(&mut stream, METHOD, 0, &method(10, 31, &[0, 1, 0, 2, 0, 0, 0, 0])).await;
    send(&mut stream, METHOD, 0, &method(10, 40, &[short(&url.virtual_host), vec![0, 0]].concat()))
        .await;
    answer(&mut stream, 10, 41).await;
    send(&mut stream, METHOD, 1, &method(20, 10, &[0])).await;
    answer(&mut stream, 20, 11).await;
    send(&mut stream, METHOD, 1, &method(85, 10, &[0])).await;
    answer(&mut stream, 85, 11).await;

    let publish = [vec![0, 0], short(&place.settings.exchange), short(topic), vec![0]].concat();
    send(&mut stream, METHOD, 1, &method(60, 40, &publish)).await;
    let size = (body.len() as u64).to_be_bytes();
    // Only the flag of the headers is set.
    let header = [&[0, 60, 0, 0], &size[..], &[0x20, 0], &long(table)[..]].concat();
    send(&mut stream, HEADER, 1, &header).await;
    send(&mut stream, BODY, 1, body).await;
    answer(&mut stream, 60, 80).await;
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn method(class: u8, method: u8, arguments: &[u8]) -> Vec<u8> {
    [&[0, class, 0, method], arguments].concat()
}

async fn send(stream: &mut TcpStream, kind: u8, channel: u8, payload: &[u8]) {
    let frame = [&[kind, 0, channel], &long(payload)[..], &[FRAME_END]].concat();
    stream.write_all(&frame).await.unwrap();
}

/// Reads one frame, which has to be this method.
async fn answer(stream: &mut TcpStream, class: u8, method: u8) {
    let mut header = [0; 7];
    stream.read_exact(&mut header).await.unwrap();
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = vec![0; size as usize + 1];
    stream.read_exact(&mut payload).await.unwrap();
    assert_eq!(payload[..4], [0, class, 0, method], "{}", String::from_utf8_lossy(&payload));
}
