//! Child processes, each the leader of a process group, so that a signal from the terminal reaches them only through us.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::interrupt;
use crate::say::say;

const POLL: Duration = Duration::from_millis(50);
/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

/// How a process is asked to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Terminate,
    /// PostgreSQL's immediate shutdown: it waits for no client and releases its shared memory.
    Quit,
}

/// A running child. It is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    ask: Ask,
    asked: bool,
}

impl Process {
    /// Starts the command without standard input.
    pub(crate) fn spawn(command: &mut Command, ask: Ask) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { child, name, ask, asked: false })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for `{}`", self.name))
    }

    /// Waits until it ends by itself, or `Err` on a signal.
    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            interrupt::check()?;
            sleep(POLL);
        }
    }

    /// Asks it to end and does not wait for that.
    pub(crate) fn ask_to_end(&mut self) {
        if self.asked {
            return;
        }
        self.asked = true;
        self.signal(match self.ask {
            Ask::Terminate => "TERM",
            Ask::Quit => "QUIT",
        });
    }

    /// Asks it to end, and ends it by force after a while.
    pub(crate) fn stop(&mut self) {
        self.ask_to_end();
        if !self.ends_within(GRACE) {
            self.signal("KILL");
            self.ends_within(GRACE);
        }
    }

    /// Whether it ends by itself in that time. A signal does not cut the wait short.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if began.elapsed() > limit {
                return false;
            }
            sleep(POLL);
        }
        true
    }

    /// Signals the whole group. Only a child that was not waited for is signalled, so that the id is still ours.
    fn signal(&mut self, signal: &str) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // By the shell's own `kill`: a minimal machine has no program of that name.
            let kill = Command::new("sh")
                .args(["-c", r#"kill -s "$0" -- "-$1""#, signal, &self.child.id().to_string()])
                .stdin(Stdio::null())
                .status();
            if !kill.is_ok_and(|status| status.success()) {
                say(format_args!(
                    "cannot send SIG{signal} to process {} (`{}`)",
                    self.child.id(),
                    self.name
                ));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the command to its end; `Err` where it fails or a signal comes.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let mut process = Process::spawn(command, Ask::Terminate)?;
    let status = process.wait()?;
    if !status.success() {
        bail!("`{}` ended with {status}", process.name);
    }
    Ok(())
}
