//! Starts the program.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use postroad_testbed::Worker;

use crate::options::Options;
use crate::world::LEASE;

/// How the program gets the broker's password.
pub(crate) const PASSWORD: &str = "POSTROAD_FAULTS_BROKER_PASSWORD";

/// The program on one database, in a folder of its own.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) options: Arc<Options>,
    /// As the program knows the database.
    pub(crate) url: String,
    pub(crate) password: String,
    pub(crate) folder: PathBuf,
}

impl Launch {
    /// The program with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.options.postroad);
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .env("RUST_LOG", &self.options.log)
            .env(PASSWORD, &self.password)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        if let Some(bug) = &self.options.bug {
            command.env("POSTROAD_BUG", bug);
        }
        command
    }

    /// What the program prints where it has to succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("cannot start the program")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`postroad {}`: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a worker with these variables more in its environment.
    pub(crate) fn worker(&self, environment: &[(&str, &str)]) -> Worker {
        self.worker_with(&[], environment)
    }

    /// Starts a worker with these arguments and variables more.
    pub(crate) fn worker_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Worker {
        let lease = LEASE.as_secs().to_string();
        let mut command =
            self.command(&[&["worker", "--lease-seconds", &lease], arguments].concat());
        command.envs(environment.iter().copied());
        Worker::start(command, &self.folder)
    }

    /// The same, and it may not have more than so many files open.
    pub(crate) fn worker_with_files(&self, files: u32) -> Worker {
        let worker = self.command(&["worker", "--lease-seconds", &LEASE.as_secs().to_string()]);
        let mut limited = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$@\"");
        limited.args(["-c", &script, "sh"]).arg(worker.get_program()).args(worker.get_args());
        for (name, value) in worker.get_envs() {
            limited.env(name, value.unwrap_or_default());
        }
        limited.current_dir(&self.folder).stdin(Stdio::null());
        Worker::start(limited, &self.folder)
    }
}
