//! Setup, tests, demo and benchmarks for those who change the code.

mod args;
mod brokers;
mod cargo;
mod docker;
mod find;
mod fuzz;
mod handshake;
mod interrupt;
mod itest;
mod ports;
mod process;
mod say;
mod servers;
mod setup;
mod tasks;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Task};
use crate::interrupt::Interrupted;
use crate::say::say;

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(interrupted) => interrupted.exit_code(),
            None => {
                say(format_args!("error: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Setup { yes } => setup::everything(yes).map(|()| ExitCode::SUCCESS),
        Task::Demo { args } => tasks::demo(&args),
        Task::Test { yes, itest } => tasks::test(yes, &itest),
        Task::Itest(options) => itest::run(&options),
        Task::Servers { kinds } => tasks::servers(&kinds),
        Task::Bench { json, args } => tasks::bench(json.as_deref(), &args),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Faults { release, args } => tasks::faults(release, &args),
        Task::Ci => tasks::ci(),
    }
}
