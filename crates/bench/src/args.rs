//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the whole way beside the ceilings of the same run. `cargo xtask bench` starts the servers for it.
#[derive(Debug, Clone, Parser)]
#[command(after_help = "\
Examples:
  cargo xtask bench                                          everything; about half an hour
  cargo xtask bench -- --only throughput --rounds 5          one part, more rounds
  cargo xtask bench -- --databases postgres --brokers quorum --only workers,backlog
  cargo xtask bench -- --quick                               small numbers, to see that it runs")]
pub(crate) struct Args {
    /// Parts to run; all where none is named
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Databases to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [DatabaseKind::Postgres, DatabaseKind::Mariadb, DatabaseKind::Sqlite])]
    pub(crate) databases: Vec<DatabaseKind>,
    /// Brokers to measure; latency, workers and backlog are measured with the first
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [BrokerKind::Quorum, BrokerKind::Classic, BrokerKind::Mqtt])]
    pub(crate) brokers: Vec<BrokerKind>,
    /// Messages of one measurement of throughput
    #[arg(long, default_value_t = 20_000)]
    pub(crate) messages: usize,
    /// Bytes of a payload
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
    /// Measurements of throughput of each kind, taken in turn; the median counts
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Rates of the measurement of latency, in rows a second
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1000])]
    pub(crate) rates: Vec<u32>,
    /// How long each rate is kept up
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pub(crate) workers: Vec<usize>,
    /// Rows that wait
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    pub(crate) backlogs: Vec<usize>,
    /// One round and a twentieth of everything
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write results.json, results.md and results.svg into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Be the other process that writes rows: `URL,CONFIG_KEY`
    #[arg(long, hide = true)]
    pub(crate) feed: Option<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Messages a second out, in, and both at once, beside the ceilings
    Throughput,
    /// From commit to the broker's confirm, at fixed rates
    Latency,
    /// What an append to the MQTT spool takes
    Spool,
    /// Messages a second by the number of workers
    Workers,
    /// Messages a second beside a cleaner at work
    Cleaning,
    /// Messages a second, CPU time and memory by the number of rows that wait
    Backlog,
}

/// A database to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatabaseKind {
    Postgres,
    Mariadb,
    Sqlite,
}

/// A broker to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BrokerKind {
    /// RabbitMQ with a quorum queue
    Quorum,
    /// RabbitMQ with a classic queue
    Classic,
    /// Mosquitto at QoS 1
    Mqtt,
}

impl Args {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// With what `--quick` asks for.
    pub(crate) fn sized(mut self) -> Self {
        const LESS: usize = 20;
        if self.quick {
            self.rounds = 1;
            self.messages /= LESS;
            self.seconds = 2;
            self.backlogs.iter_mut().for_each(|rows| *rows = (*rows / LESS).max(1_000));
        }
        self
    }
}

impl DatabaseKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
            Self::Sqlite => "SQLite",
        }
    }
}

impl BrokerKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "RabbitMQ quorum",
            Self::Classic => "RabbitMQ classic",
            Self::Mqtt => "MQTT QoS 1",
        }
    }
}

impl std::fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().expect("no variant is skipped").get_name())
    }
}

impl std::fmt::Display for BrokerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().expect("no variant is skipped").get_name())
    }
}
