//! A MariaDB of a test's own.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::ports::{find, free_address};
use crate::wait::until_in;

const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// In its folder.
const USERS: &str = "users.sql";
const DATA: &str = "data";
/// With a recovery in it.
const START: Duration = Duration::from_mins(5);

/// It is killed when this is dropped.
#[derive(Debug)]
pub struct Mariadb {
    /// Where it listens.
    pub address: SocketAddr,
    daemon: Daemon,
}

impl Mariadb {
    /// In a temporary folder.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_in(folder.path(), &[]).await;
        server.daemon.keep(folder);
        server
    }

    /// In a folder that is there and empty, as on a small disk, with these variables in its environment.
    pub async fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let daemon = Daemon::new(folder, "mysql", environment);
        daemon.write(
            USERS,
            &format!(
                "CREATE DATABASE IF NOT EXISTS postroad;\n\
                 CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
            ),
        );
        let mut server = Self { address: free_address(), daemon };
        let mut install = server.daemon.command(&find("mariadb-install-db"));
        install.args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]);
        install.arg(server.setting("datadir", DATA));
        assert!(install.status().unwrap().success(), "{}", server.daemon.log());
        server.run().await;
        server
    }

    /// Starts it, again where it was killed or stopped or ended by itself.
    pub async fn run(&mut self) {
        self.daemon.run(self.server());
        until_in(START, "MariaDB takes clients", async || {
            assert!(self.daemon.runs(), "MariaDB ended by itself: {}", self.daemon.log());
            greets(self.address)
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.daemon.end("TERM").await;
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@{}/{database}", self.address)
    }

    /// Its database for administration.
    pub fn admin(&self) -> String {
        self.url("postroad")
    }

    fn server(&self) -> Command {
        let mut server = self.daemon.command(&find("mariadbd"));
        let port = self.address.port();
        server.args(["--no-defaults", "--bind-address=127.0.0.1", &format!("--port={port}")]);
        server.arg(self.setting("datadir", DATA)).arg(self.setting("init-file", USERS));
        server.arg(self.setting("socket", "socket")).arg(self.setting("pid-file", "pid"));
        server
    }

    /// An option whose value is a path in its folder.
    fn setting(&self, option: &str, name: &str) -> String {
        format!("--{option}={}", self.daemon.path(name).display())
    }
}

/// It speaks first.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut greeting = [0; 5];
    // A length, the packet's number, and 10 for the protocol; 255 instead is an error.
    stream.read_exact(&mut greeting).is_ok() && greeting[4] == 10
}
