//! The built program on one database.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use postroad_testbed::{Worker, until};
use serde_json::Value;

/// `postroad` with a `DATABASE_URL`, in a folder of its own.
pub(crate) struct Postroad {
    url: String,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Postroad {
    pub(crate) fn new(url: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self { url: url.into(), folder: folder.into(), environment: Vec::new() }
    }

    /// The same with one more variable in its environment.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postroad"));
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    }

    /// What it prints where it has to succeed.
    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        self.run(arguments).exits(0).out
    }

    /// The same with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).exits(0).json()
    }

    /// Writes a file into the program's folder and returns its name.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.folder.join(name), content).unwrap();
        name.to_owned()
    }

    #[track_caller]
    pub(crate) fn import(&self, toml: &str) -> String {
        let file = self.file("import.toml", toml);
        self.done(&["config", "import", &file])
    }

    /// What `postroad status --json` says of a config.
    pub(crate) fn status(&self, config_key: &str) -> Value {
        let ran = self.run(&["status", "--config-key", config_key, "--json"]);
        ran.json()["configs"][0].take()
    }

    pub(crate) async fn until_status(&self, config_key: &str, expected: &str) {
        let what = format!("the status of `{config_key}` is {expected}");
        until(&what, async || self.status(config_key)["worker_status"] == expected).await;
    }

    /// Starts `postroad worker` with these arguments more.
    pub(crate) fn worker(&self, arguments: &[&str]) -> Worker {
        Worker::start(self.command(&[&["worker"], arguments].concat()), &self.folder)
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Checks that it failed with one line, which holds all of these.
    #[track_caller]
    pub(crate) fn fails_saying(self, parts: &[&str]) {
        let ran = self.exits(1);
        assert!(ran.err.starts_with("error: "), "{ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
        for part in parts {
            assert!(ran.err.contains(part), "no `{part}` in {ran:?}");
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
