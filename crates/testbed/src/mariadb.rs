//! A MariaDB of a test's own.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::account::Account;
use crate::ports::{find, free_address};
use crate::process::{Environment, Process, owned};
use crate::wait::until_in;

const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// With a recovery in it.
const START: Duration = Duration::from_mins(1);

/// It is killed when this is dropped.
#[derive(Debug)]
pub struct Mariadb {
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    account: Option<Account>,
    environment: Environment,
    process: Option<Process>,
    temporary: Option<TempDir>,
}

impl Mariadb {
    /// In a temporary folder.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_in(folder.path(), &[]).await;
        server.temporary = Some(folder);
        server
    }

    /// In a folder that is there and empty, as on a small disk, with these variables in its environment.
    pub async fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let account = Account::to_become("mysql");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let users = folder.join("users.sql");
        fs::write(
            &users,
            format!(
                "CREATE DATABASE IF NOT EXISTS postroad;\n\
                 CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
            ),
        )
        .unwrap();
        if let Some(account) = account {
            account.own(folder);
            account.own(&users);
        }
        let mut server = Self {
            address: free_address(),
            folder: folder.to_owned(),
            account,
            environment: owned(environment),
            process: None,
            temporary: None,
        };
        let mut install = server.command("mariadb-install-db");
        install.args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]);
        install.arg(setting("datadir", &server.data()));
        assert!(install.status().unwrap().success(), "{}", server.log());
        server.run().await;
        server
    }

    /// Starts it, again where it was killed or stopped or ended by itself.
    pub async fn run(&mut self) {
        if self.process.as_mut().is_none_or(|process| !process.runs()) {
            self.process = Some(Process::spawn(self.server()));
        }
        until_in(START, "MariaDB takes clients", async || {
            let runs = self.process.as_mut().is_some_and(Process::runs);
            assert!(runs, "MariaDB ended by itself: {}", self.log());
            greets(self.address)
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").end("TERM").await;
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@{}/{database}", self.address)
    }

    /// Its database for administration.
    pub fn admin(&self) -> String {
        self.url("postroad")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn server(&self) -> Command {
        let path = |name| self.folder.join(name);
        let mut server = self.command("mariadbd");
        server.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let port = self.address.port();
        server.args(["--no-defaults", "--bind-address=127.0.0.1", &format!("--port={port}")]);
        server.arg(setting("datadir", &self.data())).arg(setting("init-file", &path("users.sql")));
        server.arg(setting("socket", &path("socket"))).arg(setting("pid-file", &path("pid")));
        server
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(find(name));
        let log =
            OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            // Ours may be closed to the server's user.
            .env("TMPDIR", &self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
    }
}

fn setting(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// It speaks first.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut greeting = [0; 5];
    // A length, the packet's number, and 10 for the protocol; 255 instead is an error.
    stream.read_exact(&mut greeting).is_ok() && greeting[4] == 10
}
