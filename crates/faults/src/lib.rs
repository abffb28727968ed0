//! The fault matrix: the built program as processes, against real servers that are killed, paused and cut off.
//!
//! A cell is a fault, a database and a broker. Rows are written by an independent writer, messages by an independent client
//! that notes what the broker confirmed, and an independent recorder notes what crosses the wire. The verdict says
//! what was lost, made up or doubled.

mod amqp;
mod cell;
mod cells;
mod clock;
mod config;
mod disk;
mod ids;
mod judge;
mod launch;
mod ledger;
mod matrix;
mod mqtt;
mod options;
mod recorder;
mod report;
mod servers;
mod soak;
mod sql;
mod traffic;
mod verdict;
mod world;

use anyhow::{Result, ensure};

pub use options::Options;

/// Runs what the command line asks for. Whether nothing failed.
pub async fn run(options: Options) -> Result<bool> {
    let program = options.postroad.display();
    ensure!(options.postroad.is_file(), "`{program}` is not there; `cargo xtask faults` builds it");
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    say(&format!("seed {seed}"));
    match options.soak {
        Some(minutes) => soak::run(options, minutes, seed).await,
        None => matrix::run(options, seed).await,
    }
}

/// A line for whoever watches.
#[expect(clippy::print_stdout, reason = "the program tells what it finds as it finds it")]
fn say(line: &str) {
    println!("{line}");
}
