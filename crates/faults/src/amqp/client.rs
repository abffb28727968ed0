//! One connection with one channel.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postroad_testbed::Url;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::{BODY, Fields, Frame, HEADER, METHOD, long_string, put_frame, short_string};

/// For an answer to a request.
const ANSWER: Duration = Duration::from_secs(20);
/// The largest frame that every broker takes.
const FRAME_MAX: u32 = 131_072;
/// What a frame has beside its payload.
const FRAME_OVERHEAD: usize = 8;

/// What a message says beside its body: which properties there are, and their bytes.
#[derive(Debug, Clone)]
pub(crate) struct Properties {
    /// A bit for each.
    pub(crate) flags: u16,
    /// In the order of the bits, from the highest.
    pub(crate) bytes: Vec<u8>,
}

impl Default for Properties {
    /// Persistent, and nothing else.
    fn default() -> Self {
        Self { flags: 0x1000, bytes: vec![2] }
    }
}

impl Properties {
    /// Persistent and with a table of headers, of which these are the bytes.
    pub(crate) fn with_headers(table: &[u8]) -> Self {
        let mut bytes = Vec::new();
        long_string(&mut bytes, table);
        bytes.push(2);
        Self { flags: 0x3000, bytes }
    }

    /// Persistent and with a message id.
    pub(crate) fn with_message_id(id: &[u8]) -> Self {
        let mut bytes = vec![2];
        short_string(&mut bytes, id);
        Self { flags: 0x1080, bytes }
    }
}

/// One message as it came.
#[derive(Debug)]
pub(crate) struct Message {
    /// To acknowledge it.
    pub(crate) tag: u64,
    /// Whether it was delivered before, maybe.
    pub(crate) redelivered: bool,
    /// Its bytes.
    pub(crate) body: Vec<u8>,
}

enum Event {
    Reply { class: u16, method: u16, fields: Vec<u8> },
    Message(Message),
    Confirm { tag: u64, multiple: bool, taken: bool },
    Closed(String),
}

/// Its connection ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    write: OwnedWriteHalf,
    events: UnboundedReceiver<Event>,
    reading: JoinHandle<()>,
    published: u64,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply { class, method, .. } => write!(f, "reply {class}.{method}"),
            Self::Message(message) => write!(f, "message {}", message.tag),
            Self::Confirm { tag, multiple, taken } => {
                write!(f, "confirm {tag} {multiple} {taken}")
            }
            Self::Closed(why) => write!(f, "closed: {why}"),
        }
    }
}

impl Client {
    /// Opens a connection without heartbeats, and a channel with confirms.
    pub(crate) async fn connect(url: &Url) -> Result<Self> {
        timeout(ANSWER, Self::open(url)).await.context("RabbitMQ does not answer")?
    }

    async fn open(url: &Url) -> Result<Self> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        write.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let (sender, events) = unbounded_channel();
        let reading = tokio::spawn(read_all(read, sender));
        let mut client = Self { write, events, reading, published: 0 };

        client.reply(10, 10).await?;
        let mut start = Vec::new();
        long_string(&mut start, b"");
        short_string(&mut start, b"PLAIN");
        long_string(&mut start, format!("\0{}\0{}", url.username, url.password).as_bytes());
        short_string(&mut start, b"en_US");
        client.send(0, 10, 11, &start).await?;
        let tune = client.reply(10, 30).await?;
        let channels = Fields(&tune).u16()?;
        let mut tuned = channels.to_be_bytes().to_vec();
        tuned.extend(FRAME_MAX.to_be_bytes());
        tuned.extend(0_u16.to_be_bytes());
        client.send(0, 10, 31, &tuned).await?;
        let mut open = Vec::new();
        short_string(&mut open, url.virtual_host.as_bytes());
        open.extend([0, 0]);
        client.send(0, 10, 40, &open).await?;
        client.reply(10, 41).await?;
        client.ask(20, 10, &[0]).await?;
        client.ask(85, 10, &[0]).await?;
        Ok(client)
    }

    /// A durable topic exchange.
    pub(crate) async fn declare_exchange(&mut self, name: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        short_string(&mut fields, b"topic");
        fields.push(2);
        long_string(&mut fields, b"");
        self.ask(40, 10, &fields).await.map(drop)
    }

    /// Deletes it, whatever is bound to it.
    pub(crate) async fn delete_exchange(&mut self, name: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        fields.push(0);
        self.ask(40, 20, &fields).await.map(drop)
    }

    /// A quorum queue. After SIGKILL or a full disk RabbitMQ 3.10 may find the index of a classic one torn, and then waits for
    /// ever at its start.
    pub(crate) async fn declare_queue(&mut self, name: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        fields.push(2);
        let mut table = Vec::new();
        short_string(&mut table, b"x-queue-type");
        table.push(b'S');
        long_string(&mut table, b"quorum");
        long_string(&mut fields, &table);
        self.ask(50, 10, &fields).await.map(drop)
    }

    /// A queue that refuses everything once it holds one message, and with it what goes to other queues too.
    pub(crate) async fn declare_full_queue(&mut self, name: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        fields.push(0);
        let mut table = Vec::new();
        short_string(&mut table, b"x-max-length");
        table.push(b'I');
        table.extend(1_i32.to_be_bytes());
        short_string(&mut table, b"x-overflow");
        table.push(b'S');
        long_string(&mut table, b"reject-publish");
        long_string(&mut fields, &table);
        self.ask(50, 10, &fields).await.map(drop)
    }

    /// How many consumers a queue has, where it is there.
    pub(crate) async fn consumers(&mut self, name: &str) -> Result<u32> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        fields.push(1);
        long_string(&mut fields, b"");
        let reply = self.ask(50, 10, &fields).await?;
        let mut reply = Fields(&reply);
        reply.short()?;
        reply.u32()?;
        reply.u32()
    }

    /// What fits the pattern goes to the queue from now on.
    pub(crate) async fn bind(&mut self, queue: &str, exchange: &str, pattern: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        for text in [queue, exchange, pattern] {
            short_string(&mut fields, text.as_bytes());
        }
        fields.push(0);
        long_string(&mut fields, b"");
        self.ask(50, 20, &fields).await.map(drop)
    }

    /// Deletes it, whatever it holds and whoever consumes from it.
    pub(crate) async fn delete_queue(&mut self, name: &str) -> Result<()> {
        let mut fields = vec![0, 0];
        short_string(&mut fields, name.as_bytes());
        fields.push(0);
        self.ask(50, 40, &fields).await.map(drop)
    }

    /// Consumes from a queue; what is not acknowledged comes again.
    pub(crate) async fn consume(mut self, queue: &str, prefetch: u16) -> Result<Consumer> {
        let mut qos = vec![0; 4];
        qos.extend(prefetch.to_be_bytes());
        qos.push(0);
        self.ask(60, 10, &qos).await?;
        let mut fields = vec![0, 0];
        short_string(&mut fields, queue.as_bytes());
        short_string(&mut fields, b"recorder");
        fields.push(0);
        long_string(&mut fields, b"");
        self.ask(60, 20, &fields).await?;
        Ok(Consumer(self))
    }

    /// Sends a message and returns its number, by which it is confirmed.
    pub(crate) async fn publish(
        &mut self,
        exchange: &str,
        topic: &[u8],
        properties: &Properties,
        body: &[u8],
    ) -> Result<u64> {
        let mut method = [0, 60, 0, 40, 0, 0].to_vec();
        short_string(&mut method, exchange.as_bytes());
        short_string(&mut method, topic);
        method.push(0);
        let mut header = [0, 60, 0, 0].to_vec();
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(properties.flags.to_be_bytes());
        header.extend(&properties.bytes);
        let mut frames = Vec::with_capacity(body.len() + 256);
        put_frame(&mut frames, METHOD, 1, &method);
        put_frame(&mut frames, HEADER, 1, &header);
        for part in body.chunks(FRAME_MAX as usize - FRAME_OVERHEAD) {
            put_frame(&mut frames, BODY, 1, part);
        }
        timeout(ANSWER, self.write.write_all(&frames))
            .await
            .context("RabbitMQ does not read")??;
        self.published += 1;
        Ok(self.published)
    }

    /// The next confirm: a number, whether it is for all before it too, and whether they were taken.
    pub(crate) async fn confirm(&mut self) -> Result<(u64, bool, bool)> {
        loop {
            match self.event().await? {
                Event::Confirm { tag, multiple, taken } => return Ok((tag, multiple, taken)),
                Event::Closed(why) => bail!("RabbitMQ closed it: {why}"),
                Event::Reply { .. } | Event::Message(_) => {}
            }
        }
    }

    async fn event(&mut self) -> Result<Event> {
        let event = timeout(ANSWER, self.events.recv()).await.context("RabbitMQ is silent")?;
        event.context("the connection is gone")
    }

    async fn send(&mut self, channel: u16, class: u16, method: u16, fields: &[u8]) -> Result<()> {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend(method.to_be_bytes());
        payload.extend(fields);
        let mut frame = Vec::new();
        put_frame(&mut frame, METHOD, channel, &payload);
        self.write.write_all(&frame).await.context("the connection is gone")
    }

    /// Sends a request on the channel and waits for the answer, whose number is always the next one.
    async fn ask(&mut self, class: u16, method: u16, fields: &[u8]) -> Result<Vec<u8>> {
        self.send(1, class, method, fields).await?;
        self.reply(class, method + 1).await
    }

    async fn reply(&mut self, class: u16, method: u16) -> Result<Vec<u8>> {
        loop {
            match self.event().await? {
                Event::Reply { class: c, method: m, fields } => {
                    ensure!((c, m) == (class, method), "{c}.{m} came for {class}.{method}");
                    return Ok(fields);
                }
                Event::Closed(why) => bail!("RabbitMQ closed it: {why}"),
                // Of what was asked for before.
                Event::Message(_) | Event::Confirm { .. } => {}
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A client that consumes.
#[derive(Debug)]
pub(crate) struct Consumer(Client);

impl Consumer {
    /// The next message, however long it takes.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        loop {
            match self.0.events.recv().await.context("the connection is gone")? {
                Event::Message(message) => return Ok(message),
                Event::Closed(why) => bail!("RabbitMQ closed it: {why}"),
                Event::Reply { .. } | Event::Confirm { .. } => {}
            }
        }
    }

    /// Acknowledges this message and all before it.
    pub(crate) async fn acknowledge(&mut self, tag: u64) -> Result<()> {
        let mut fields = tag.to_be_bytes().to_vec();
        fields.push(1);
        self.0.send(1, 60, 80, &fields).await
    }
}

/// Reads until the connection ends. The events of a channel or connection that was closed end with that.
async fn read_all(read: OwnedReadHalf, events: UnboundedSender<Event>) {
    let mut read = BufReader::with_capacity(64 << 10, read);
    let error = loop {
        match event(&mut read).await {
            Ok(Some(event)) => {
                if events.send(event).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => break error,
        }
    };
    // Nobody may be left to hear it.
    events.send(Event::Closed(format!("{error:#}"))).ok();
}

async fn event(read: &mut BufReader<OwnedReadHalf>) -> Result<Option<Event>> {
    let frame = Frame::read(read).await?;
    if frame.kind != METHOD {
        return Ok(None);
    }
    let mut fields = Fields(&frame.payload);
    let (class, method) = (fields.u16()?, fields.u16()?);
    Ok(Some(match (class, method) {
        (60, 60) => {
            fields.short()?;
            let (tag, redelivered) = (fields.u64()?, fields.u8()? == 1);
            fields.short()?;
            fields.short()?;
            Event::Message(Message { tag, redelivered, body: body(read).await? })
        }
        (60, 50) => {
            body(read).await?;
            return Ok(None);
        }
        (60, 80 | 120) => {
            let (tag, bits) = (fields.u64()?, fields.u8()?);
            Event::Confirm { tag, multiple: bits & 1 == 1, taken: method == 80 }
        }
        (60, 30) => Event::Closed("the queue was deleted".to_owned()),
        (10, 50) | (20, 40) => {
            let (code, text) = (fields.u16()?, fields.short()?);
            Event::Closed(format!("{code} {text}"))
        }
        _ => Event::Reply { class, method, fields: fields.0.to_vec() },
    }))
}

async fn body(read: &mut BufReader<OwnedReadHalf>) -> Result<Vec<u8>> {
    let header = Frame::read(read).await?;
    ensure!(header.kind == HEADER, "a message has no header");
    let mut fields = Fields(&header.payload);
    fields.u32()?;
    let size = usize::try_from(fields.u64()?)?;
    let mut body = Vec::with_capacity(size);
    while body.len() < size {
        let frame = Frame::read(read).await?;
        ensure!(frame.kind == BODY, "a message is cut off");
        body.extend(frame.payload);
    }
    Ok(body)
}
