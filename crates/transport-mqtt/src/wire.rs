//! The connection to the broker, plain or TLS, for a thread that reads and one that writes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_tls::{Names, explain};
use rustls::ClientConnection;

/// For a broker that takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 16 << 10;

/// Before it is split.
pub(crate) struct Wire {
    socket: TcpStream,
    tls: Option<Session>,
}

/// Neither side holds it while it waits for the socket.
#[derive(Clone)]
struct Session {
    state: Arc<Mutex<ClientConnection>>,
    host: Arc<str>,
}

/// What comes from the broker.
pub(crate) struct WireReader {
    socket: TcpStream,
    tls: Option<Session>,
    /// Decrypted and not taken yet.
    ready: VecDeque<u8>,
    /// As it came.
    raw: Vec<u8>,
}

/// What goes to the broker. There is only one, so that what is encrypted first goes out first.
pub(crate) struct WireWriter {
    socket: TcpStream,
    tls: Option<Session>,
}

impl Wire {
    pub(crate) fn plain(socket: TcpStream) -> io::Result<Self> {
        Self::new(socket, None)
    }

    /// After a handshake, whatever of the broker's data that has taken in.
    pub(crate) fn tls(
        socket: TcpStream,
        mut state: ClientConnection,
        host: &str,
    ) -> io::Result<Self> {
        // What one write encrypts is sent before it returns.
        state.set_buffer_limit(None);
        Self::new(socket, Some(Session { state: Arc::new(Mutex::new(state)), host: host.into() }))
    }

    fn new(socket: TcpStream, tls: Option<Session>) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self { socket, tls })
    }

    /// The socket, to end it by.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.socket.try_clone()
    }

    pub(crate) fn split(self) -> io::Result<(WireReader, WireWriter)> {
        let Self { socket, tls } = self;
        let reader = WireReader {
            socket: socket.try_clone()?,
            raw: if tls.is_some() { vec![0; BUFFER_BYTES] } else { Vec::new() },
            tls: tls.clone(),
            ready: VecDeque::new(),
        };
        Ok((reader, WireWriter { socket, tls }))
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        // A panic of the other side leaves a session that fails, at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decrypts what came; whether the broker has said that nothing more will.
    fn decrypt(&self, mut raw: &[u8], ready: &mut VecDeque<u8>) -> io::Result<bool> {
        let mut state = self.lock();
        loop {
            // First what the handshake, or the round before, has left.
            let mut plain = [0; BUFFER_BYTES];
            match state.reader().read(&mut plain) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    ready.extend(&plain[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if raw.is_empty() {
                return Ok(false);
            }
            state.read_tls(&mut raw)?;
            state
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl WireReader {
    /// What the error means, where TLS is at fault.
    pub(crate) fn problem(&self, error: &io::Error) -> Option<String> {
        self.tls.as_ref().and_then(|tls| explain(error, &format!("`{}`", tls.host), Names::CONFIG))
    }
}

impl Read for WireReader {
    /// Waits for data; none at all is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.read(buffer) };
        let mut count = 0;
        loop {
            let ended = tls.decrypt(&self.raw[..count], &mut self.ready)?;
            if !self.ready.is_empty() {
                return self.ready.read(buffer);
            }
            if ended {
                return Ok(0);
            }
            count = self.socket.read(&mut self.raw)?;
            if count == 0 {
                return Ok(0);
            }
        }
    }
}

impl WireWriter {
    /// `Ok`: the system has all of it.
    pub(crate) fn write_all(&mut self, plain: &[u8]) -> io::Result<()> {
        match self.encrypt(|state| state.writer().write_all(plain)) {
            Some(encrypted) => self.socket.write_all(&encrypted?),
            None => self.socket.write_all(plain),
        }
    }

    /// Tells the broker that nothing more comes. An error means that it has ended the connection already.
    pub(crate) fn finish(&mut self) {
        let goodbye = self.encrypt(|state| {
            state.send_close_notify();
            Ok(())
        });
        if let Some(Ok(goodbye)) = goodbye {
            self.socket.write_all(&goodbye).ok();
        }
        self.socket.shutdown(Shutdown::Write).ok();
    }

    /// What has to be sent after this change of the session; `None` where there is none. Whoever reads is held up no
    /// longer than this takes.
    fn encrypt(
        &self,
        change: impl FnOnce(&mut ClientConnection) -> io::Result<()>,
    ) -> Option<io::Result<Vec<u8>>> {
        let mut state = self.tls.as_ref()?.lock();
        let mut encrypted = Vec::new();
        let mut done = change(&mut state);
        while done.is_ok() && state.wants_write() {
            done = state.write_tls(&mut encrypted).map(drop);
        }
        Some(done.map(|()| encrypted))
    }
}
