//! A PostgreSQL of a test's own. `fsync` stays on: what is tested is that nothing is lost.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::ports::free_address;
use crate::wait::until_in;

const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// With a recovery in it.
const START: Duration = Duration::from_mins(5);

/// It is killed when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    daemon: Daemon,
}

impl Postgres {
    /// In a temporary folder.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_in(folder.path(), &[]).await;
        server.daemon.keep(folder);
        server
    }

    /// In a folder that is there and empty, as on a small disk, with these variables in its environment.
    pub async fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let daemon = Daemon::new(folder, "postgres", environment);
        let password = daemon.write("password", PASSWORD);
        let mut server = Self { address: free_address(), daemon };
        let mut initdb = server.daemon.command(&program("initdb"));
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C", "--no-sync", "--pwfile"]).arg(password);
        initdb.arg("--pgdata").arg(server.data());
        assert!(initdb.status().unwrap().success(), "{}", server.daemon.log());
        server.run().await;
        server
    }

    /// Starts it, again where it was killed or stopped.
    pub async fn run(&mut self) {
        until_in(START, "PostgreSQL takes clients", async || {
            // What a killed one has left behind may still be ending, which the next one takes for another server.
            self.daemon.run(self.server());
            let mut ready = self.daemon.command(&program("pg_isready"));
            let port = self.address.port().to_string();
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            ready.status().unwrap().success()
        })
        .await;
    }

    /// SIGKILL, and its sessions end with it.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Ends it in good order; its sessions are cut off.
    pub async fn stop(&mut self) {
        self.daemon.end("INT").await;
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/{database}", self.address)
    }

    /// Its database for administration.
    pub fn admin(&self) -> String {
        self.url("postgres")
    }

    fn data(&self) -> PathBuf {
        self.daemon.path("data")
    }

    fn server(&self) -> Command {
        let mut server = self.daemon.command(&program("postgres"));
        server.arg("-D").arg(self.data()).args(["-p", &self.address.port().to_string()]);
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        {
            server.args(["-c", setting]);
        }
        server
    }
}

/// A program of the newest installed version. Debian keeps the server's off the PATH.
fn program(name: &str) -> PathBuf {
    let mut packaged: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|version| {
            Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path()))
        })
        .map(|(version, folder)| (version, folder.join("bin").join(name)))
        .filter(|(_, file)| file.is_file())
        .collect();
    packaged.sort();
    packaged.pop().map_or_else(|| PathBuf::from(name), |(_, file)| file)
}
