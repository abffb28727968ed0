//! The integration tests: all that are marked `#[ignore = "needs ..."]`, with servers for them.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::args::{Brokers, ItestOptions};
use crate::brokers::Running;
use crate::cargo::cargo;
use crate::interrupt;
use crate::process::{self, Ask, Process};
use crate::servers::NEEDED;

/// Not the doc tests: code marked `ignore` there is not meant to compile.
const TARGETS: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];

/// Starts the servers, runs the tests and stops what it started. The exit code is that of the tests; no test at all is an error.
pub(crate) fn run(options: &ItestOptions) -> anyhow::Result<ExitCode> {
    interrupt::catch()?;
    let brokers = Brokers::or_detected(options.brokers);
    brokers.check(&NEEDED)?;
    // What does not compile needs no servers.
    process::run(cargo("test").args(TARGETS).arg("--no-run"))?;
    let running = Running::start(brokers, &NEEDED)?;
    let (status, tests) = run_tests(&running, &options.filter)?;
    drop(running);
    if status.success() && tests == 0 {
        bail!(
            "no integration test ran; the tests marked `#[ignore = \"needs ...\"]` are what should"
        );
    }
    Ok(exit_code(status))
}

/// How the tests ended, and how many there were.
fn run_tests(running: &Running, filter: &[String]) -> anyhow::Result<(ExitStatus, u64)> {
    let mut command = cargo("test");
    command
        .args(TARGETS)
        .args(["--no-fail-fast", "--", "--ignored"])
        .args(filter)
        .stdout(Stdio::piped());
    if io::stdout().is_terminal() {
        command.arg("--color=always");
    }
    let mut process = Process::spawn(running.tell(&mut command), Ask::Terminate)?;
    let output = process.child().stdout.take().expect("it is piped");
    let (counted, count) = mpsc::channel();
    thread::spawn(move || counted.send(pass_on(output, io::stdout())));
    let status = process.wait()?;
    // Not by joining the thread, which a process that a test left behind would hold up for ever.
    let tests = count
        .recv_timeout(Duration::from_secs(10))
        .context("the tests have ended, but a process they left behind still holds their output")?;
    Ok((status, tests?))
}

/// Copies the output of the tests, line by line, and returns how many tests it tells of.
fn pass_on(output: impl Read, mut to: impl Write) -> io::Result<u64> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    let mut tests = 0;
    while output.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        tests += tests_in(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(tests)
}

/// The tests of one binary, by its last line: `test result: ok. 3 passed; 1 failed; ..`.
fn tests_in(line: &str) -> u64 {
    if !line.starts_with("test result: ") {
        return 0;
    }
    let words: Vec<_> = line.split([' ', ';']).collect();
    words
        .windows(2)
        .filter(|pair| ["passed", "failed"].contains(&pair[1]))
        .filter_map(|pair| pair[0].parse::<u64>().ok())
        .sum()
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, tests: u64) {
        assert_eq!(tests_in(line), tests, "{line}");
    }

    #[test]
    fn passed_and_failed_tests_count_and_others_do_not() {
        check(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 40 filtered out; finished in 1.2s",
            12,
        );
        check(
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
            3,
        );
        check(
            "test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            4,
        );
        check(
            "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0s",
            0,
        );
        check("test the_result: 3 passed; 1 failed; ... ok", 0);
    }

    #[test]
    fn the_output_is_passed_on_whole_and_summed_over_its_binaries() {
        let output = b"test a ... ok\n\ntest result: ok. 1 passed; 0 failed;\n\xff\ntest result: ok. 2 passed; 0 failed;";
        let mut passed_on = Vec::new();
        assert_eq!(pass_on(output.as_slice(), &mut passed_on).unwrap(), 3);
        assert_eq!(passed_on, output);
    }
}
