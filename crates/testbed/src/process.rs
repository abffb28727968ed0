//! A child process that is killed, paused or asked to end.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until_in;

/// How long a server may take to end in good order.
const END: Duration = Duration::from_mins(5);

/// Those that were started and not waited for.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Kills every process of this kind that runs, for a program that is about to end without dropping them.
pub fn kill_all() {
    for pid in std::mem::take(&mut *RUNNING.lock().unwrap()) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended just now.
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// Variables of a process.
pub(crate) type Environment = Vec<(String, String)>;

pub(crate) fn owned(environment: &[(&str, &str)]) -> Environment {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    environment.iter().map(own).collect()
}

/// Killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Self {
        let child = command.spawn();
        let program = command.get_program().display();
        let child = child.unwrap_or_else(|error| panic!("cannot start `{program}`: {error}"));
        RUNNING.lock().unwrap().insert(child.id());
        Self { child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL, also where it is paused.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal such as `TERM`; the process must not have ended.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Sends a signal and waits until it has ended.
    pub async fn end(&mut self, name: &str) {
        self.signal(name);
        let pid = self.pid();
        until_in(END, &format!("process {pid} ends"), async || !self.runs()).await;
    }

    /// Its exit code, where it has ended; as a shell has it where a signal ended it, 128 and the signal.
    pub fn code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Ok(mut running) = RUNNING.lock() {
            running.remove(&self.pid());
        }
    }
}

/// Sends `TERM`, `STOP`, `CONT`, `INT`, `QUIT` or `KILL` to a process.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    let signal = match name {
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        other => panic!("no signal of these tests: {other}"),
    };
    let pid = Pid::from_raw(pid.try_into().expect("it is a process id")).expect("it is not 0");
    kill_process(pid, signal).unwrap();
}
