//! A Mosquitto of a test's own, with the settings that lose nothing.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use postroad_tls::testing::{Identity, Pki};
use tempfile::TempDir;

use super::ports::free_address;
use super::wait::until;
use super::worker::signal;

/// Killed when this is dropped.
pub(crate) struct Mosquitto {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    pub(crate) async fn start() -> Self {
        Self::start_with("allow_anonymous true").await
    }

    /// By TLS, with its certificate and key in these files.
    pub(crate) async fn start_by_tls(pki: &Pki, identity: &Identity, more: &str) -> Self {
        let (ca, cert, key) = (pki.ca(), &identity.cert, &identity.key);
        Self::start_with(&format!(
            "cafile {}\ncertfile {}\nkeyfile {}\n{more}",
            ca.display(),
            cert.display(),
            key.display()
        ))
        .await
    }

    /// With these lines in its configuration.
    async fn start_with(lines: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_address();
        // Otherwise it becomes a user who may not write here.
        let user = if runs_as_root() { "user root\n" } else { "" };
        let config = format!(
            "listener {} 127.0.0.1\n{lines}\npersistence true\npersistence_location {}/\n\
             autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 100\n{user}",
            address.port(),
            folder.path().display(),
        );
        fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut mosquitto = Self { address, folder, child: None };
        mosquitto.run().await;
        mosquitto
    }

    /// Starts it again, at the same address and with what it had written.
    pub(crate) async fn run(&mut self) {
        let mut child = Command::new(program())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("Mosquitto answers", async || {
            assert!(child.try_wait().unwrap().is_none(), "Mosquitto ended by itself");
            TcpStream::connect(self.address).is_ok()
        })
        .await;
        self.child = Some(child);
    }

    /// SIGKILL: it writes nothing any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: it ends in good order.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal(child.id(), "TERM");
        until("Mosquitto ends", async || child.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn runs_as_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("Uid:\t0\t"))
}

/// Debian keeps it where users' paths do not lead.
fn program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file())
        .expect("Mosquitto is installed")
}
