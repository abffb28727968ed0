//! A server in a folder of its own, with an account that may not be root.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::account::Account;
use crate::process::{Environment, Process, owned};

/// It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    folder: PathBuf,
    account: Option<Account>,
    environment: Environment,
    process: Option<Process>,
    temporary: Option<TempDir>,
}

impl Daemon {
    /// In a folder that is there and empty, with these variables in the server's environment. Nothing runs yet.
    pub(crate) fn new(folder: &Path, account: &str, environment: &[(&str, &str)]) -> Self {
        let account = Account::to_become(account);
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        if let Some(account) = account {
            account.own(folder);
        }
        Self {
            folder: folder.to_owned(),
            account,
            environment: owned(environment),
            process: None,
            temporary: None,
        }
    }

    /// The folder goes with it.
    pub(crate) fn keep(&mut self, folder: TempDir) {
        self.temporary = Some(folder);
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file that the server may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path(name);
        fs::write(&file, text).unwrap();
        if let Some(account) = self.account {
            account.own(&file);
        }
        file
    }

    /// What it and its tools have said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs a program as the server's account.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let log = OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            // Ours may be closed to the server's account.
            .env("TMPDIR", &self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
    }

    /// Starts the server, unless it runs.
    pub(crate) fn run(&mut self, mut server: Command) {
        if !self.runs() {
            server.envs(self.environment.iter().map(|(name, value)| (name, value)));
            self.process = Some(Process::spawn(server));
        }
    }

    /// Whether it was started and has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::runs)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it by a signal, and waits for that.
    pub(crate) async fn end(&mut self, signal: &str) {
        self.process.take().expect("it runs").end(signal).await;
    }
}
