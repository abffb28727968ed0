//! The command line of `cargo xtask`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::servers::Kind;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                        see it work, with nothing but cargo
  cargo xtask test                        every test there is, on a fresh machine too
  cargo xtask itest --filter redelivered  the tests with servers, those of that name
  cargo xtask itest --brokers docker      against the images of docker-compose.yml
  cargo xtask servers rabbitmq postgres   servers to play with, until Ctrl-C
  cargo xtask bench --out bench-results   figures and a picture of them, half an hour
  cargo xtask faults --only F4            a broker that is killed, with every database and broker";

const SERVERS_EXAMPLES: &str = "\
The servers listen on 127.0.0.1 and keep their data in a temporary folder, which goes
with them. The `export` lines are all that is written to standard output.

Examples:
  cargo xtask servers                     those that the integration tests need
  cargo xtask servers mosquitto mariadb >urls &
  . ./urls && mosquitto_sub -L \"$POSTROAD_TEST_MQTT_URL/#\"";

const FAULTS_EXAMPLES: &str = "\
Examples:
  cargo xtask faults                                every cell, with a report in fault-results/
  cargo xtask faults --subset ci                    what continuous integration runs
  cargo xtask faults --only F4,F8 --db postgres --broker rabbitmq --seed 17
  cargo xtask faults --release --soak 60            an hour of random faults on both brokers
  cargo xtask faults -- --help                      all arguments";

const ITEST_EXAMPLES: &str = "\
Each test marked `#[ignore = \"needs ...\"]` runs, with the servers' addresses in
POSTROAD_TEST_AMQP_URL, POSTROAD_TEST_RABBITMQ_MQTT_URL, POSTROAD_TEST_POSTGRES_URL, POSTROAD_TEST_MQTT_URL and
POSTROAD_TEST_MARIADB_URL; `--brokers given` reads the same variables.

Examples:
  cargo xtask itest --filter redelivered
  cargo xtask itest --brokers docker
  export POSTROAD_TEST_AMQP_URL=amqp://user:password@127.0.0.1:5672/%2f
  export POSTROAD_TEST_POSTGRES_URL=postgres://user:password@127.0.0.1:5432/postgres
  cargo xtask itest --brokers given";

const FUZZ_EXAMPLES: &str = "\
It builds the folder `fuzz` with coverage, by the stable toolchain and a C++ compiler, which
takes a while the first time. What is learnt stays in target/fuzz/corpus. An input that breaks
something is left in target/fuzz/findings; once that is mended, move it to
crates/fuzz/cases/TARGET/, where `cargo test` tries it.

Examples:
  cargo xtask fuzz                              every target for ten minutes
  cargo xtask fuzz --minutes 60 --target edgex  one of them for an hour";

/// Setup, tests, demo and benchmarks for those who change the code.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Find what the build and the tests need, and install what is missing
    Setup {
        /// Install without asking (also with CI=true, and where there is no terminal to ask on)
        #[arg(long, short)]
        yes: bool,
    },
    /// Set up what the build needs, then run `postroad demo`
    Demo {
        /// Arguments for `postroad demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Set up, then run all unit and doc tests, then the integration tests
    Test {
        /// Install without asking
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        itest: ItestOptions,
    },
    /// Run the integration tests against real servers, and stop what was started for them
    #[command(after_help = ITEST_EXAMPLES)]
    Itest(ItestOptions),
    /// Start servers, print their URLs as `export` lines, and stop them on Ctrl-C
    #[command(after_help = SERVERS_EXAMPLES)]
    Servers {
        /// Which servers; those that the integration tests need where none is named
        kinds: Vec<Kind>,
    },
    /// Run the benchmarks against servers started for them
    Bench {
        /// Also write the figures to this file
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Arguments for the benchmark program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Feed what reads other people's bytes with what breaks such readers, by libFuzzer
    #[command(after_help = FUZZ_EXAMPLES)]
    Fuzz(FuzzOptions),
    /// Run the fault matrix: the built program against servers that are killed, paused and cut off
    #[command(after_help = FAULTS_EXAMPLES)]
    Faults {
        /// With the program as it is released, but for the crash points
        #[arg(long)]
        release: bool,
        /// Arguments for the fault matrix; `-- --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run what continuous integration runs: format, lints, docs, licences and every test
    Ci,
}

/// Where the integration tests run, and which of them.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct ItestOptions {
    /// Where the servers come from; `docker` where an engine answers, else `local`, if not given
    #[arg(long)]
    pub(crate) brokers: Option<Brokers>,
    /// Only tests with this in their name; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
}

/// What to fuzz, and for how long.
#[derive(clap::Args, Debug)]
pub(crate) struct FuzzOptions {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) minutes: u64,
    /// Which targets; may be given more than once, all if not given
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(crate::fuzz::TARGETS))]
    pub(crate) target: Vec<String>,
    /// How many targets run at once; as many as there are processors, if not given
    #[arg(long, value_name = "N")]
    pub(crate) at_once: Option<usize>,
}

/// Where the servers of a test come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Brokers {
    /// The images of docker-compose.yml, under a project name of their own
    Docker,
    /// The servers installed on this machine, on free ports, in a temporary folder
    Local,
    /// Servers that run already, by the `POSTROAD_TEST_..._URL` variables
    Given,
}
