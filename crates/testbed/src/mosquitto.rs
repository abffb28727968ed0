//! A Mosquitto of a test's own, with the settings that lose nothing.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::account::is_root;
use crate::ports::{find, free_address};
use crate::process::Process;
use crate::wait::until;

/// Killed when this is dropped.
#[derive(Debug)]
pub struct Mosquitto {
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
    temporary: Option<TempDir>,
}

impl Mosquitto {
    /// The settings that lose nothing, which it has unless a test says otherwise.
    pub const DURABLE: &str = "autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 100\n";

    /// Lets everybody in.
    pub async fn start() -> Self {
        Self::start_with("allow_anonymous true").await
    }

    /// With these lines in its configuration.
    pub async fn start_with(lines: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_in(folder.path(), lines, Self::DURABLE).await;
        server.temporary = Some(folder);
        server
    }

    /// In a folder that is there, as on a small disk, and with these lines in place of those that lose nothing.
    pub async fn start_in(folder: &Path, lines: &str, keeping: &str) -> Self {
        let address = free_address();
        // Otherwise it becomes a user who may not write here.
        let user = if is_root() { "user root\n" } else { "" };
        let config = format!(
            "listener {} 127.0.0.1\n{lines}\npersistence true\npersistence_location {}/\n{keeping}{user}",
            address.port(),
            folder.display(),
        );
        fs::write(folder.join("mosquitto.conf"), config).unwrap();
        let mut server =
            Self { address, folder: folder.to_owned(), process: None, temporary: None };
        server.run().await;
        server
    }

    /// Starts it again, at the same address and with what it had written.
    pub async fn run(&mut self) {
        let mut command = Command::new(find("mosquitto"));
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::spawn(command);
        until("Mosquitto answers", async || {
            assert!(process.runs(), "Mosquitto ended by itself");
            TcpStream::connect(self.address).is_ok()
        })
        .await;
        self.process = Some(process);
    }

    /// Whether it was started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::runs)
    }

    /// SIGKILL: it writes nothing any more.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM: it ends in good order.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").end("TERM").await;
    }

    /// Makes it forget everything; it must not run.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "it runs");
        // It may have written nothing yet.
        fs::remove_file(self.folder.join("mosquitto.db")).ok();
    }

    /// SIGSTOP: its sockets stay open and nobody reads them.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal("STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal("CONT");
    }
}
