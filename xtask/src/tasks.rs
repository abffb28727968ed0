//! The tasks that only put others together.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, absolute};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;

use crate::args::{Brokers, ItestOptions};
use crate::brokers::Running;
use crate::cargo::cargo;
use crate::process::{self, Ask, Process};
use crate::say::say;
use crate::servers::{Kind, NEEDED, Servers};
use crate::{find, interrupt, itest, setup};

/// Becomes `postroad demo`, once it can be built.
pub(crate) fn demo(args: &[OsString]) -> anyhow::Result<ExitCode> {
    setup::build()?;
    become_program(
        cargo("run")
            .args(["--package", "postroad-cli", "--bin", "postroad", "--", "demo"])
            .args(args),
    )
}

/// Sets up, then runs every test there is.
pub(crate) fn test(yes: bool, options: &ItestOptions) -> anyhow::Result<ExitCode> {
    let brokers = Brokers::or_detected(options.brokers);
    setup::for_tests(yes, brokers)?;
    interrupt::catch()?;
    process::run(cargo("test").arg("--workspace"))?;
    itest::run(&ItestOptions { brokers: Some(brokers), filter: options.filter.clone() })
}

/// Runs servers until a signal comes.
pub(crate) fn servers(kinds: &[Kind]) -> anyhow::Result<ExitCode> {
    interrupt::catch()?;
    let mut servers = Servers::start(if kinds.is_empty() { &NEEDED } else { kinds })?;
    for (variable, url) in servers.urls() {
        writeln!(io::stdout(), "export {variable}='{url}'")?;
    }
    say("Ctrl-C stops them");
    while interrupt::check().is_ok() {
        servers.check()?;
        sleep(Duration::from_millis(200));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the benchmarks against servers started here: a benchmark has no use for Docker's network in between.
pub(crate) fn bench(json: Option<&Path>, args: &[OsString]) -> anyhow::Result<ExitCode> {
    interrupt::catch()?;
    // Both by one build, so that they share what they are built of; the benchmark runs the worker beside itself.
    let packages = ["--package", "postroad-bench", "--package", "postroad-cli"];
    process::run(cargo("build").arg("--release").args(packages))?;
    let running = Running::start(Brokers::Local, &NEEDED)?;
    let mut command = Command::new(find::target().join("release/postroad-bench"));
    if let Some(file) = json {
        // Relative to where the user is, not to the root of the workspace.
        command.arg("--json").arg(absolute(file)?);
    }
    process::run(running.tell(command.args(args)))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the program with its crash points, and runs the fault matrix on it. The servers are the matrix's own.
pub(crate) fn faults(release: bool, args: &[OsString]) -> anyhow::Result<ExitCode> {
    interrupt::catch()?;
    NEEDED.iter().try_for_each(|kind| kind.check_installed())?;
    let mut build = cargo("build");
    // The whole workspace, so that what the tests were built of is not built once more with other features.
    build.args(["--workspace", "--bin", "postroad", "--bin", "postroad-faults"]);
    build.args(["--features", "postroad-cli/fault-injection"]);
    if release {
        build.arg("--release");
    }
    process::run(&mut build)?;
    let folder = find::target().join(if release { "release" } else { "debug" });
    // Another build would put a program without crash points in its place.
    let program = folder.join("postroad-with-faults");
    fs::copy(folder.join("postroad"), &program).context("cannot copy the program")?;
    let mut command = Command::new(folder.join("postroad-faults"));
    command.arg("--postroad").arg(program).args(args);
    let mut process = Process::spawn(&mut command, Ask::Terminate)?;
    Ok(if process.wait()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Becomes the script of continuous integration, with the developer's own target folder.
pub(crate) fn ci() -> anyhow::Result<ExitCode> {
    let script = find::workspace().join(".ci/run");
    let mut command = Command::new("bash");
    command.arg(script).current_dir(find::workspace());
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", find::workspace().join("target"));
    }
    become_program(&mut command)
}

/// Replaces this process. Comes back only with an error.
fn become_program(command: &mut Command) -> anyhow::Result<ExitCode> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", command.get_program().display()))
}
