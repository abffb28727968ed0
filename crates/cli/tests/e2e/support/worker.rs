//! A running worker.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::wait::until;

/// `postroad worker` as a process. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts it with its log in this folder.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("worker-{}.log", Uuid::new_v4().simple()));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How many lines of its log hold this.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    pub(crate) async fn says(&self, text: &str) {
        until(&format!("the worker says `{text}`"), async || self.said(text) > 0).await;
    }

    /// SIGKILL: nothing of it runs any more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: it is asked to stop.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// SIGSTOP: it does nothing and knows nothing of that, until [`Self::go_on`].
    pub(crate) fn freeze(&mut self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn go_on(&mut self) {
        self.signal("CONT");
    }

    fn signal(&mut self, name: &str) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended by itself: {}", self.log());
        signal(self.pid(), name);
    }

    /// How much time of a core it took up to now.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").expect("its name stands in brackets");
        let fields: Vec<_> = fields.split(' ').collect();
        // In user mode and in the kernel, in hundredths of a second.
        let hundredths: u64 =
            fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * hundredths)
    }

    /// Waits until it ends by itself and returns its exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let child = &mut self.child;
        until("the worker ends", async || child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap().code().expect("it ended by itself")
    }

    /// Stops it in good order and returns its log.
    pub(crate) async fn stop(mut self) -> String {
        self.terminate();
        assert_eq!(self.ended().await, 0, "{}", self.log());
        self.log()
    }
}

/// By the shell's own `kill`: a minimal machine has no program of that name.
pub(super) fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]);
    assert!(kill.status().unwrap().success());
}

impl Drop for Worker {
    #[expect(clippy::print_stderr, reason = "shown where the test failed, else kept back")]
    fn drop(&mut self) {
        // It may have ended before.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("--- log of worker {}:\n{}", self.pid(), self.log());
        }
    }
}
