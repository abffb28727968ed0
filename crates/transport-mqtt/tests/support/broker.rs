//! A Mosquitto of a test's own, to be stopped and started.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use postroad_testbed::free_address;
use postroad_tls::testing::{Identity, Pki};
use tempfile::TempDir;

const SOON: Duration = Duration::from_mins(1);

/// Killed when this is dropped.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Open to everybody, with what it has accepted on disk.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let place = folder.path().display();
        let lines = format!(
            "allow_anonymous true\npersistence true\npersistence_location {place}/\n\
             autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n\
             max_inflight_messages 100"
        );
        Self::in_folder(folder, &lines)
    }

    /// With these lines in its configuration, and nothing on disk.
    pub(crate) fn with(lines: &str) -> Self {
        Self::in_folder(TempDir::new().unwrap(), lines)
    }

    /// By TLS, with its certificate and key in these files; `more` goes into its configuration, too.
    pub(crate) fn by_tls(pki: &Pki, identity: &Identity, more: &str) -> Self {
        let (ca, cert, key) = (pki.ca(), &identity.cert, &identity.key);
        Self::with(&format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nallow_anonymous true\n{more}",
            ca.display(),
            cert.display(),
            key.display()
        ))
    }

    fn in_folder(folder: TempDir, lines: &str) -> Self {
        let address = free_address();
        // Otherwise it becomes a user who may not write here.
        let root = fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.contains("Uid:\t0\t"));
        let user = if root { "user root\n" } else { "" };
        let config = format!("listener {} 127.0.0.1\n{user}{lines}\n", address.port());
        fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { address, folder, child: None };
        broker.run();
        broker
    }

    /// When it last wrote what it has accepted.
    pub(crate) fn written(&self) -> Option<SystemTime> {
        fs::metadata(self.folder.path().join("mosquitto.db")).ok()?.modified().ok()
    }

    /// Starts it again on the same port with what it had written.
    pub(crate) fn run(&mut self) {
        let mut child = Command::new(program())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(self.address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "Mosquitto ended by itself");
            assert!(Instant::now() < deadline, "Mosquitto does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes it forget every session and message. It must not run.
    pub(crate) fn wipe(&self) {
        fs::remove_file(self.folder.path().join("mosquitto.db")).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
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
