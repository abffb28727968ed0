//! A PostgreSQL of a test's own. `fsync` stays on: what is tested is that nothing is lost.

use std::fs::{self, OpenOptions, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::account::Account;
use crate::ports::free_address;
use crate::process::{Environment, Process, owned};
use crate::wait::until_in;

const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// With a recovery in it.
const START: Duration = Duration::from_mins(1);

/// It is killed when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    account: Option<Account>,
    environment: Environment,
    process: Option<Process>,
    temporary: Option<TempDir>,
}

impl Postgres {
    /// In a temporary folder.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_in(folder.path(), &[]).await;
        server.temporary = Some(folder);
        server
    }

    /// In a folder that is there and empty, as on a small disk, with these variables in its environment.
    pub async fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let account = Account::to_become("postgres");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some(account) = account {
            account.own(folder);
            account.own(&password);
        }
        let mut server = Self {
            address: free_address(),
            folder: folder.to_owned(),
            account,
            environment: owned(environment),
            process: None,
            temporary: None,
        };
        let mut initdb = server.command("initdb");
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C", "--no-sync", "--pwfile"]).arg(password);
        initdb.arg("--pgdata").arg(server.data());
        assert!(initdb.status().unwrap().success(), "{}", server.log());
        server.run().await;
        server
    }

    /// Starts it, again where it was killed or stopped.
    pub async fn run(&mut self) {
        until_in(START, "PostgreSQL takes clients", async || {
            // What a killed one has left behind may still be ending, which the next one takes for another server.
            if self.process.as_mut().is_none_or(|process| !process.runs()) {
                self.process = Some(Process::spawn(self.server()));
            }
            let mut ready = self.command("pg_isready");
            let port = self.address.port().to_string();
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            ready.status().unwrap().success()
        })
        .await;
    }

    /// SIGKILL, and its sessions end with it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it in good order; its sessions are cut off.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").end("INT").await;
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
        self.folder.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn server(&self) -> Command {
        let mut server = self.command("postgres");
        server.envs(self.environment.iter().map(|(name, value)| (name, value)));
        server.arg("-D").arg(self.data()).args(["-p", &self.address.port().to_string()]);
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        {
            server.args(["-c", setting]);
        }
        server
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        let log =
            OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
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
