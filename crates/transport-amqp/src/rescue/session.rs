//! Just enough of AMQP 0-9-1 to take one message at a time from a queue, and to send one on as it is.

use std::time::Duration;

use bytes::Bytes;
use postroad_tls::bare_host;
use postroad_transport::ConnectError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{
    BODY, Frame, HEADER, HEARTBEAT, METHOD, Reader, frame, long, method, read, room, short,
};
use crate::settings::AmqpSettings;
use crate::tls::Tls;

/// What is asked for when it comes to the size of frames.
const FRAME_MAX: u32 = 131_072;
/// Frames that were read and that nobody has looked at. The next one waits in the socket.
const FRAMES_WAITING: usize = 16;
/// For one question and its answer.
const ANSWER: Duration = Duration::from_secs(10);
/// For the good-bye.
const GOODBYE: Duration = Duration::from_secs(2);

const CONNECTION: u16 = 0;
/// Messages are taken and acknowledged on it.
const TAKING: u16 = 1;
/// A message is sent on by it. It is another one because a refusal ends it.
const SENDING: u16 = 2;

const START: (u16, u16) = (10, 10);
const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);
const TUNE_OK: (u16, u16) = (10, 31);
const OPEN: (u16, u16) = (10, 40);
const OPEN_OK: (u16, u16) = (10, 41);
const CLOSE: (u16, u16) = (10, 50);
const CLOSE_OK: (u16, u16) = (10, 51);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
const PUBLISH: (u16, u16) = (60, 40);
const RETURN: (u16, u16) = (60, 50);
const GET: (u16, u16) = (60, 70);
const GET_OK: (u16, u16) = (60, 71);
const GET_EMPTY: (u16, u16) = (60, 72);
const ACK: (u16, u16) = (60, 80);
const NACK: (u16, u16) = (60, 120);
const CONFIRM: (u16, u16) = (85, 10);
const CONFIRM_OK: (u16, u16) = (85, 11);
/// Of the class of what a header frame belongs to.
const BASIC: u16 = 60;
/// The flag of a publish that has to be routed.
const MANDATORY: u8 = 1;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A message as it came, nothing of it decoded.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(super) tag: u64,
    pub(super) redelivered: bool,
    pub(super) exchange: Vec<u8>,
    pub(super) topic: Vec<u8>,
    /// Flags and values as in the header frame.
    pub(super) properties: Vec<u8>,
    pub(super) body: Bytes,
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker said no to this; the connection goes on.
    Refused(String),
    /// There is no connection any more.
    Lost(String),
}

/// Something to do about the connection itself.
pub(crate) struct Sign(What);

enum What {
    Heard(Frame),
    Silence,
    Gone,
}

/// A connection with a channel for taking messages.
pub(crate) struct Session {
    write: WriteHalf<Box<dyn Stream>>,
    frames: mpsc::Receiver<Frame>,
    frame_max: u32,
    heartbeat: Duration,
    /// Whether messages can be sent on.
    sending: bool,
}

impl Session {
    /// Opens it at the first host that takes it.
    pub(crate) async fn open(
        settings: &AmqpSettings,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let tls = match &settings.tls {
            Some(tls) => Some(Tls::load(tls.clone()).await.map_err(ConnectError::Untrusted)?),
            None => None,
        };
        let mut failures = Vec::new();
        for (tried, (host, port)) in settings.hosts.iter().enumerate() {
            let left = u32::try_from(settings.hosts.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let opening = Self::open_at(settings, host, *port, tls.as_ref());
            match timeout(share, opening).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(Trouble::Refused(why) | Trouble::Lost(why))) => {
                    failures.push(format!("{host}:{port}: {why}"));
                }
                Err(_) => failures.push(format!("{host}:{port}: no answer in time")),
            }
        }
        Err(ConnectError::Unreachable(failures.join("; ")))
    }

    async fn open_at(
        settings: &AmqpSettings,
        host: &str,
        port: u16,
        tls: Option<&Tls>,
    ) -> Result<Self, Trouble> {
        let stream = TcpStream::connect((bare_host(host), port)).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(host, stream).await.map_err(Trouble::Lost)?),
        };
        let (reading, write) = split(stream);
        let (sender, frames) = mpsc::channel(FRAMES_WAITING);
        tokio::spawn(read_all(reading, sender));
        let heartbeat = Duration::from_secs(settings.heartbeat_seconds.into());
        let mut session = Self { write, frames, frame_max: FRAME_MAX, heartbeat, sending: false };
        session.log_in(settings).await?;
        session.ask(TAKING, CHANNEL_OPEN, &[&[0]], CHANNEL_OPEN_OK).await?;
        Ok(session)
    }

    async fn log_in(&mut self, settings: &AmqpSettings) -> Result<(), Trouble> {
        self.write(b"AMQP\0\0\x09\x01").await?;
        self.expect(CONNECTION, START).await?;
        let name = format!("{} rescue", settings.connection_name);
        let client = [short(b"connection_name"), b"S".to_vec(), long(name.as_bytes())].concat();
        let (mechanism, login) = if settings.login_by_certificate {
            ("EXTERNAL", String::new())
        } else {
            ("PLAIN", format!("\0{}\0{}", settings.username, settings.password.reveal()))
        };
        let start_ok =
            [long(&client), short(mechanism.as_bytes()), long(login.as_bytes()), short(b"en_US")];
        let tune = self.ask(CONNECTION, START_OK, &[&start_ok.concat()], TUNE).await?;
        let mut tune = Reader(&tune);
        let (_, frame_max, _) = (tune.u16(), tune.u32(), tune.u16());
        // Zero: any size.
        let frame_max = frame_max.filter(|size| *size > 0);
        self.frame_max = frame_max.map_or(FRAME_MAX, |theirs| theirs.min(FRAME_MAX));
        let seconds = settings.heartbeat_seconds.to_be_bytes();
        let tune_ok = [&SENDING.to_be_bytes()[..], &self.frame_max.to_be_bytes(), &seconds];
        self.send(CONNECTION, TUNE_OK, &tune_ok).await?;
        let host = short(settings.virtual_host.as_bytes());
        self.ask(CONNECTION, OPEN, &[&host, &[0, 0]], OPEN_OK).await?;
        Ok(())
    }

    /// The message at the head of the queue, not acknowledged; `None` where there is none.
    pub(crate) async fn get(&mut self, queue: &str) -> Result<Option<Raw>, Trouble> {
        self.send(TAKING, GET, &[&[0, 0], &short(queue.as_bytes()), &[0]]).await?;
        let (answer, arguments) = self.method(TAKING).await?;
        match answer {
            GET_EMPTY => return Ok(None),
            GET_OK => {}
            other => return Err(unexpected(other)),
        }
        let mut reader = Reader(&arguments);
        let mut message = || {
            Some(Raw {
                tag: reader.u64()?,
                redelivered: reader.u8()? != 0,
                exchange: reader.short()?.to_vec(),
                topic: reader.short()?.to_vec(),
                properties: Vec::new(),
                body: Bytes::new(),
            })
        };
        let message = message().ok_or_else(|| Trouble::Lost("half a delivery".to_owned()))?;
        let (properties, body) = self.content(TAKING).await?;
        Ok(Some(Raw { properties, body: body.into(), ..message }))
    }

    /// Properties and body of the method that came before.
    async fn content(&mut self, channel: u16) -> Result<(Vec<u8>, Vec<u8>), Trouble> {
        let header = self.frame(channel, HEADER).await?;
        let mut reader = Reader(&header);
        let (_, size) = (reader.u32(), reader.u64());
        let size = size.ok_or_else(|| Trouble::Lost("half a header".to_owned()))?;
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.frame(channel, BODY).await?);
        }
        Ok((reader.0.to_vec(), body))
    }

    /// What was agreed on.
    pub(crate) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// The broker forgets the message.
    pub(crate) async fn acknowledge(&mut self, tag: u64) -> Result<(), Trouble> {
        self.send(TAKING, ACK, &[&tag.to_be_bytes(), &[0]]).await
    }

    /// Sends a message on, and waits until the broker has put it into a queue. `Refused`: it has not.
    pub(crate) async fn send_on(
        &mut self,
        exchange: &str,
        topic: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Result<(), Trouble> {
        if !self.sending {
            self.ask(SENDING, CHANNEL_OPEN, &[&[0]], CHANNEL_OPEN_OK).await?;
            self.ask(SENDING, CONFIRM, &[&[0]], CONFIRM_OK).await?;
            self.sending = true;
        }

        let exchange = short(exchange.as_bytes());
        self.send(SENDING, PUBLISH, &[&[0, 0], &exchange, &short(topic), &[MANDATORY]]).await?;
        let size = (body.len() as u64).to_be_bytes();
        let header = [&BASIC.to_be_bytes()[..], &[0, 0], &size, properties].concat();
        self.write(&frame(HEADER, SENDING, &header)).await?;
        for part in body.chunks(room(self.frame_max)) {
            self.write(&frame(BODY, SENDING, part)).await?;
        }
        let mut returned = None;
        loop {
            match self.method(SENDING).await? {
                (RETURN, arguments) => {
                    let mut reader = Reader(&arguments);
                    let (code, text) = (reader.u16(), reader.short().map(String::from_utf8_lossy));
                    let code = code.unwrap_or_default();
                    returned = Some(format!("{code} {}", text.unwrap_or_default()));
                    self.content(SENDING).await?;
                }
                (ACK, _) => return returned.map_or(Ok(()), |why| Err(Trouble::Refused(why))),
                (NACK, _) => return Err(Trouble::Refused("a negative confirm".to_owned())),
                (other, _) => return Err(unexpected(other)),
            }
        }
    }

    /// Waits for something to do about the connection itself. Nothing is lost where this is dropped before it is ready.
    pub(crate) async fn sign(&mut self) -> Sign {
        match timeout(self.heartbeat / 2, self.frames.recv()).await {
            Ok(Some(frame)) => Sign(What::Heard(frame)),
            Ok(None) => Sign(What::Gone),
            Err(_) => Sign(What::Silence),
        }
    }

    /// Does it: says that we are there, or hears that the broker is not.
    pub(crate) async fn follow(&mut self, sign: Sign) -> Result<(), Trouble> {
        match sign.0 {
            What::Heard(Frame { kind: METHOD, channel, payload }) => {
                self.heard(channel, &payload).await
            }
            What::Heard(_) => Ok(()),
            What::Gone => Err(gone()),
            What::Silence => self.write(&frame(HEARTBEAT, CONNECTION, &[])).await,
        }
    }

    /// What is not acknowledged goes back to the queue.
    pub(crate) async fn close(mut self) {
        let close = [&200_u16.to_be_bytes()[..], &short(b"done"), &[0; 4]];
        // It ends in any case.
        timeout(GOODBYE, self.ask(CONNECTION, CLOSE, &close, CLOSE_OK)).await.ok();
    }

    async fn ask(
        &mut self,
        channel: u16,
        question: (u16, u16),
        arguments: &[&[u8]],
        answer: (u16, u16),
    ) -> Result<Vec<u8>, Trouble> {
        self.send(channel, question, arguments).await?;
        self.expect(channel, answer).await
    }

    async fn expect(&mut self, channel: u16, answer: (u16, u16)) -> Result<Vec<u8>, Trouble> {
        match self.method(channel).await? {
            (found, arguments) if found == answer => Ok(arguments),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// The next method on this channel.
    async fn method(&mut self, channel: u16) -> Result<((u16, u16), Vec<u8>), Trouble> {
        let payload = self.frame(channel, METHOD).await?;
        let mut reader = Reader(&payload);
        match (reader.u16(), reader.u16()) {
            (Some(class), Some(method)) => Ok(((class, method), reader.0.to_vec())),
            _ => Err(Trouble::Lost("half a method".to_owned())),
        }
    }

    /// The next frame of this kind on this channel. Nothing else comes on it, but its end.
    async fn frame(&mut self, channel: u16, kind: u8) -> Result<Vec<u8>, Trouble> {
        let deadline = Instant::now() + ANSWER;
        loop {
            let frame = match timeout_at(deadline, self.frames.recv()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(gone()),
                Err(_) => return Err(Trouble::Lost("no answer in time".to_owned())),
            };
            if frame.kind == METHOD {
                self.heard(frame.channel, &frame.payload).await?;
            }
            if (frame.channel, frame.kind) == (channel, kind) {
                return Ok(frame.payload);
            }
        }
    }

    /// `Err` where it is the end of a channel or of the connection.
    async fn heard(&mut self, channel: u16, payload: &[u8]) -> Result<(), Trouble> {
        let mut reader = Reader(payload);
        let (class, number) = (reader.u16().unwrap_or_default(), reader.u16().unwrap_or_default());
        let answer = match (class, number) {
            CLOSE => CLOSE_OK,
            CHANNEL_CLOSE => CHANNEL_CLOSE_OK,
            _ => return Ok(()),
        };
        let code = reader.u16().unwrap_or_default();
        let text = reader.short().map(String::from_utf8_lossy).unwrap_or_default();
        let why = format!("closed by the broker: {code} {text}");
        self.send(channel, answer, &[]).await?;
        if channel == SENDING {
            self.sending = false;
            return Err(Trouble::Refused(why));
        }
        Err(Trouble::Lost(why))
    }

    async fn send(
        &mut self,
        channel: u16,
        what: (u16, u16),
        arguments: &[&[u8]],
    ) -> Result<(), Trouble> {
        self.write(&frame(METHOD, channel, &method(what, arguments))).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let written = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        match timeout(ANSWER, written).await {
            Ok(written) => written.map_err(lost),
            Err(_) => Err(Trouble::Lost("the broker does not read".to_owned())),
        }
    }
}

/// Reads until the end. That nobody listens any more is one.
async fn read_all(mut stream: ReadHalf<Box<dyn Stream>>, frames: mpsc::Sender<Frame>) {
    while let Ok(frame) = read(&mut stream, FRAME_MAX).await {
        if frame.kind != HEARTBEAT && frames.send(frame).await.is_err() {
            return;
        }
    }
}

fn lost(error: impl std::fmt::Display) -> Trouble {
    Trouble::Lost(error.to_string())
}

fn gone() -> Trouble {
    Trouble::Lost("the broker closed, as it does for a wrong password".to_owned())
}

fn unexpected((class, method): (u16, u16)) -> Trouble {
    Trouble::Lost(format!("the broker answered with method {method} of class {class}"))
}
