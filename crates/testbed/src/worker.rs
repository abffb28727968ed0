//! A running worker.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use crate::process::Process;
use crate::wait::until;

const SIGTERM: u32 = 15;

/// `postroad worker` as a process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    log: PathBuf,
}

impl Worker {
    /// Starts it with its log in this folder.
    pub fn start(mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("worker-{}.log", Uuid::new_v4().simple()));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Self { process: Process::spawn(command), log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has said up to now.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How many lines of its log hold this.
    pub fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until its log holds this.
    pub async fn says(&self, text: &str) {
        until(&format!("the worker says `{text}`"), async || self.said(text) > 0).await;
    }

    /// SIGKILL: nothing of it runs any more.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM: it is asked to stop.
    pub fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// SIGSTOP: it does nothing and knows nothing of that, until [`Self::go_on`].
    pub fn freeze(&mut self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn go_on(&mut self) {
        self.signal("CONT");
    }

    fn signal(&mut self, name: &str) {
        assert!(self.runs(), "it ended by itself: {}", self.log());
        self.process.signal(name);
    }

    /// Whether it does something of its own when this signal comes.
    fn catches(&self, signal: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("the kernel says so").trim(), 16).unwrap();
        caught & (1 << (signal - 1)) != 0
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// Its exit code, where it has ended; 128 and the signal where one ended it.
    pub fn code(&mut self) -> Option<i32> {
        self.process.code()
    }

    /// How much time of a core it took up to now.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").expect("its name stands in brackets");
        let fields: Vec<_> = fields.split(' ').collect();
        // In user mode and in the kernel, in hundredths of a second.
        let hundredths: u64 =
            fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * hundredths)
    }

    /// Waits until it ends by itself and returns its exit code, 128 and the signal where one ended it.
    pub async fn ended(&mut self) -> i32 {
        until("the worker ends", async || !self.runs()).await;
        self.code().expect("it ended by itself")
    }

    /// Stops it in good order and returns its log. One that has only begun is given the moment it takes until a signal
    /// does more than end it.
    pub async fn stop(mut self) -> String {
        until("the worker takes signals", async || !self.runs() || self.catches(SIGTERM)).await;
        self.terminate();
        assert_eq!(self.ended().await, 0, "{}", self.log());
        self.log()
    }
}

impl Drop for Worker {
    #[expect(clippy::print_stderr, reason = "shown where the test failed, else kept back")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of worker {}:\n{}", self.pid(), self.log());
        }
    }
}
