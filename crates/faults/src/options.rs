//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::servers::{Db, Kind};

const EXAMPLES: &str = "\
Examples:
  cargo xtask faults                                   every cell there is
  cargo xtask faults --only F4,F8 --db postgres        some of them
  cargo xtask faults --subset ci                       what continuous integration runs
  cargo xtask faults --only F1 --seed 17 --messages 3000
  cargo xtask faults --soak 60 --db postgres,sqlite    an hour of random faults, both brokers at once";

/// The fault matrix: the built program against servers that are killed, paused and cut off.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "cargo xtask faults", bin_name = "cargo xtask faults", after_help = EXAMPLES)]
pub struct Options {
    /// Only these faults
    #[arg(long, value_delimiter = ',', value_name = "F1,F2")]
    pub(crate) only: Vec<String>,
    /// Only with these databases
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) db: Vec<Db>,
    /// Only with these brokers
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) broker: Vec<Kind>,
    /// At least so many messages each way in each cell
    #[arg(long, default_value_t = 300)]
    pub(crate) messages: u64,
    /// What all chance follows from
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Random faults for so many minutes instead of the matrix
    #[arg(long, value_name = "MINUTES")]
    pub(crate) soak: Option<u64>,
    /// Messages a second in all that a soak puts in
    #[arg(long, default_value_t = 300.0, value_name = "NUMBER")]
    pub(crate) rate: f64,
    /// A part of the matrix that has a name
    #[arg(long, value_enum)]
    pub(crate) subset: Option<Subset>,
    /// Cells at a time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,
    /// Where the report is written, and the logs of cells that failed
    #[arg(long, value_name = "FOLDER", default_value = "fault-results")]
    pub(crate) out: PathBuf,
    /// The program under test, built with the feature `fault-injection`
    #[arg(long, value_name = "FILE", default_value_os_t = beside())]
    pub(crate) postroad: PathBuf,
    /// A bug that the program is to have, to see that it is found
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
    /// How many times longer than usual everything may take, on a machine that does other things too
    #[arg(long, default_value_t = 1, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) patience: u32,
    /// How long the rest may take to arrive when all is well again
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) drain_seconds: u64,
    /// What the program logs
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// A part of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subset {
    /// What continuous integration runs.
    Ci,
}

impl Subset {
    /// Its faults.
    pub(crate) fn faults(self) -> &'static [&'static str] {
        match self {
            Self::Ci => &["F1", "F2", "F4", "F6", "F8", "F9", "F14", "F15", "F16", "F17", "F25"],
        }
    }
}

/// The program that was built beside this one.
fn beside() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("postroad")
}
