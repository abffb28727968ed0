//! A matrix that finds nothing in a broken program proves nothing: each of four seeded bugs makes it fail.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// What cargo sets for what it runs.
const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
/// Where a bug of chance is looked for, at most: the one of chance shows in three of five.
const SEEDS: std::ops::Range<u64> = 1..20;

#[test]
#[ignore = "needs RabbitMQ and Mosquitto: run `cargo xtask itest`"]
fn a_row_that_is_published_before_its_confirm_is_found_lost() {
    is_found("published_before_confirm", "F9", &["lost on the way to the wire"], 200);
}

#[test]
#[ignore = "needs RabbitMQ and Mosquitto: run `cargo xtask itest`"]
fn a_message_that_is_acknowledged_before_its_commit_is_found_lost() {
    is_found("acknowledged_before_commit", "F2", &["lost on the way to the inbox"], 200);
}

#[test]
#[ignore = "needs RabbitMQ and Mosquitto: run `cargo xtask itest`"]
fn a_confirm_that_is_taken_for_the_next_messages_is_found() {
    // It shows only where the broker confirms one by one what is in flight together, so there are more messages. What it does
    // first is to send one again that nobody had a reason to, or to end a connection.
    let failures = ["duplicated", "they cost a connection"];
    is_found("delivery_tag_off_by_one", "F15", &failures, 1_000);
}

#[test]
#[ignore = "needs RabbitMQ and Mosquitto: run `cargo xtask itest`"]
fn ids_that_are_compared_without_their_case_are_found() {
    is_found("case_insensitive_ids", "F9", &["lost on the way to the inbox"], 200);
}

/// Runs one fault on RabbitMQ and SQLite against a program with this bug, until a cell fails in one of these ways.
#[track_caller]
fn is_found(bug: &str, fault: &str, expected: &[&str], messages: u32) {
    let folder = TempDir::new().unwrap();
    let program = program();
    let mut found = Vec::new();
    for seed in SEEDS {
        let mut matrix = Command::new(env!("CARGO_BIN_EXE_postroad-faults"));
        matrix.args(["--bug", bug, "--only", fault, "--db", "sqlite", "--broker", "rabbitmq"]);
        matrix.args(["--seed", &seed.to_string(), "--messages", &messages.to_string()]);
        matrix.args(["--drain-seconds", "8", "--patience", "3"]);
        matrix.arg("--postroad").arg(program).arg("--out").arg(folder.path());
        let code = matrix.status().unwrap().code();
        let failures = failures(folder.path());
        if failures.iter().any(|found| expected.iter().any(|words| found.contains(words))) {
            assert_eq!(code, Some(1), "it failed, and says so");
            return;
        }
        found.extend(failures);
    }
    panic!("with `{bug}` nothing was {expected:?}; found was {found:?}");
}

fn failures(folder: &Path) -> Vec<String> {
    let report = fs::read_to_string(folder.join("faults.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let cells = report["cells"].as_array().unwrap();
    let failures = cells.iter().flat_map(|cell| cell["verdict"]["failures"].as_array().unwrap());
    failures.map(|failure| failure.as_str().unwrap().to_owned()).collect()
}

/// The program with crash points and bugs, built once as `cargo xtask faults` builds it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

fn build() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bin", "postroad"]);
    build.args(["--features", "postroad-cli/fault-injection"]);
    // Set for this test; build scripts that watch them would run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if OURS.iter().any(|prefix| name.starts_with(prefix)) {
            build.env_remove(name);
        }
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    let binary = Path::new(env!("CARGO_BIN_EXE_postroad-faults")).with_file_name("postroad");
    // Another build would put a program without bugs in its place.
    let program = binary.with_file_name("postroad-with-bugs");
    fs::copy(binary, &program).unwrap();
    program
}
