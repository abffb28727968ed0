//! `cargo xtask faults`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use postroad_faults::Options;

/// Some of them wait for a process that is being started or asked.
const THREADS: usize = 8;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let good = runtime.block_on(postroad_faults::run(options))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
