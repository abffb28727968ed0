//! `cargo xtask fuzz`: libFuzzer, on the stable toolchain.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::args::FuzzOptions;
use crate::cargo::cargo;
use crate::process::{self, Ask, Process};
use crate::say::say;
use crate::{find, interrupt};

/// The targets of `postroad-fuzz`.
pub(crate) const TARGETS: [&str; 7] =
    ["envelope", "amqp_headers", "edgex", "topics", "config", "database_url", "spool"];

/// What `cargo fuzz` passes to the compiler, less the sanitizer, which only a nightly one has.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1";

/// Longer inputs are slower, and say little that is new.
const LIMITS: [&str; 4] =
    ["-max_len=4096", "-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1"];
const EXECUTIONS: &str = "stat::number_of_executed_units:";
const POLL: Duration = Duration::from_millis(200);

/// One target at work.
struct Run {
    target: String,
    process: Process,
    log: PathBuf,
    began: Instant,
}

pub(crate) fn run(options: &FuzzOptions) -> anyhow::Result<ExitCode> {
    interrupt::catch()?;
    let folder = find::target().join("fuzz");
    let program = build(&folder)?;
    let at_once = options.at_once.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let mut waiting = match options.target.as_slice() {
        [] => TARGETS.map(str::to_owned).to_vec(),
        chosen => chosen.to_vec(),
    };
    waiting.reverse();
    let mut running: Vec<Run> = Vec::new();
    let mut broken = Vec::new();
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < at_once.max(1)
            && let Some(target) = waiting.pop()
        {
            running.push(start(&program, &folder, target, options.minutes)?);
        }
        interrupt::check()?;
        sleep(POLL);
        let mut rest = Vec::new();
        for mut run in running {
            match run.process.ended()? {
                None => rest.push(run),
                Some(status) => {
                    tell(&run)?;
                    if !status.success() {
                        broken.push(run.log.display().to_string());
                    }
                }
            }
        }
        running = rest;
    }
    if !broken.is_empty() {
        bail!("something broke, see the end of {}", broken.join(" and "));
    }
    Ok(ExitCode::SUCCESS)
}

/// For this machine by name, so that build scripts and macros go without coverage.
fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output().context("cannot run `rustc`")?;
    let version = String::from_utf8_lossy(&version.stdout);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let mut command = cargo("build");
    command.args(["--manifest-path", "fuzz/Cargo.toml", "--locked", "--target", host]);
    process::run(command.arg("--target-dir").arg(folder).env("RUSTFLAGS", COVERAGE))?;
    Ok(folder.join(host).join("debug/postroad-fuzzer"))
}

fn start(program: &Path, folder: &Path, target: String, minutes: u64) -> anyhow::Result<Run> {
    let place = |name: &str| -> anyhow::Result<PathBuf> {
        let place = folder.join(name).join(&target);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        Ok(place)
    };
    let (corpus, seeds, findings) = (place("corpus")?, place("seeds")?, place("findings")?);
    let log = folder.join(format!("{target}.log"));
    let written = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command
        .env("POSTROAD_FUZZ_TARGET", &target)
        .env("POSTROAD_FUZZ_SEEDS", &seeds)
        .args([&corpus, &seeds])
        .args(LIMITS)
        .arg(format!("-max_total_time={}", 60 * minutes.max(1)))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .stdout(written.try_clone().context("cannot write the log")?)
        .stderr(written);
    let process = Process::spawn(&mut command, Ask::Terminate)?;
    Ok(Run { target, process, log, began: Instant::now() })
}

fn tell(run: &Run) -> anyhow::Result<()> {
    let log = fs::read(&run.log).context("cannot read the log")?;
    let log = String::from_utf8_lossy(&log);
    let executions = log.lines().find_map(|line| line.strip_prefix(EXECUTIONS));
    let executions = executions.map_or("unknown", str::trim);
    let seconds = run.began.elapsed().as_secs();
    say(format_args!("{}: {executions} executions in {seconds} s", run.target));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_of_the_crate() {
        let list = find::workspace().join("crates/fuzz/src/target.rs");
        let list = fs::read_to_string(list).expect("it is there");
        let names = list.lines().filter_map(|line| line.trim().strip_prefix("Target { name: \""));
        let names: Vec<_> = names.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(names, TARGETS);
    }
}
