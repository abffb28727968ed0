//! A message that no decent client can send: AMQP frames byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Url;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// A connection that sends what it is told to.
pub(crate) struct RawClient {
    stream: TcpStream,
    exchange: String,
}

/// Properties that are headers and nothing else.
pub(crate) fn headers(table: &[u8]) -> Vec<u8> {
    [&[0x20, 0], &long(table)[..]].concat()
}

/// Properties that are a content type and nothing else.
pub(crate) fn content_type(text: &[u8]) -> Vec<u8> {
    [&[0x80, 0], &short(text)[..]].concat()
}

impl RawClient {
    pub(crate) async fn connect(url: &Url, exchange: &str) -> Self {
        let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await.unwrap();
        stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        answer(&mut stream, 10, 10).await;
        let login = format!("\0{}\0{}", url.username, url.password);
        let start_ok =
            [long(b""), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")].concat();
        send(&mut stream, METHOD, 0, &method(10, 11, &start_ok)).await;
        answer(&mut stream, 10, 30).await;
        send(&mut stream, METHOD, 0, &method(10, 31, &[0, 1, 0, 2, 0, 0, 0, 0])).await;
        let open = [short(url.virtual_host.as_bytes()), vec![0, 0]].concat();
        send(&mut stream, METHOD, 0, &method(10, 40, &open)).await;
        answer(&mut stream, 10, 41).await;
        send(&mut stream, METHOD, 1, &method(20, 10, &[0])).await;
        answer(&mut stream, 20, 11).await;
        send(&mut stream, METHOD, 1, &method(85, 10, &[0])).await;
        answer(&mut stream, 85, 11).await;
        Self { stream, exchange: exchange.to_owned() }
    }

    /// Publishes with these flags and values for properties, and waits until the broker has it.
    pub(crate) async fn publish(&mut self, topic: &[u8], properties: &[u8], body: &[u8]) {
        let stream = &mut self.stream;
        let exchange = short(self.exchange.as_bytes());
        let publish = [vec![0, 0], exchange, short(topic), vec![0]].concat();
        send(stream, METHOD, 1, &method(60, 40, &publish)).await;
        let size = (body.len() as u64).to_be_bytes();
        send(stream, HEADER, 1, &[&[0, 60, 0, 0], &size[..], properties].concat()).await;
        // As many bytes as every broker takes.
        for part in body.chunks(4_000) {
            send(stream, BODY, 1, part).await;
        }
        answer(stream, 60, 80).await;
    }
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
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
