//! `postroad`: the reliable event bus between services, at the command line.

mod args;
mod commands;
mod demo;
mod logging;
mod mqtt;
mod output;
mod panics;
mod seat;
mod signals;
mod transports;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::output::Output;

/// RabbitMQ may deliver a header table nested as deep as one frame holds; decoding it recurses.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    // Databases, spools and locks hold what others sent in confidence: nobody but this user reads what we make.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    #[cfg(target_os = "linux")]
    private_memory();
    let cli = Cli::parse();
    logging::init(cli.global.log_format, matches!(cli.command, Command::Demo(_)));
    panics::install();
    let output = Output::new();
    #[cfg(feature = "fault-injection")]
    if let Err(error) = postroad_fault_points::arm() {
        return output.failure(&error.into());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return output
                .failure(&anyhow::Error::new(error).context("cannot start the async runtime"));
        }
    };
    let done = runtime.block_on(async { commands::run(cli, &output).await });
    // Whatever still runs was told to stop, or is a connection given up; it does not hold up the end.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| output.failure(&error))
}

/// Passwords and messages are in memory: no core dump is written of it, and no other process of this user may look into it.
#[cfg(target_os = "linux")]
fn private_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // A kernel that does not know this has no other way to ask for it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn memory_is_not_for_core_dumps() {
        super::private_memory();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
