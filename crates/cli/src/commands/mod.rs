//! What each command does.

mod config;
pub(crate) mod database;
mod doctor;
mod edgex;
mod envelope;
mod inbox;
mod input;
mod migrate;
mod outbox;
mod prune;
mod quarantine;
mod status;
mod topic;
mod trace;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::demo;
use crate::output::Output;

/// Runs one command to its end; `Err` is for a person and means exit code 1.
pub(crate) async fn run(cli: Cli, output: &Output) -> Result<ExitCode> {
    let database = cli.global.database_url.as_str();
    match cli.command {
        Command::Demo(args) => demo::run(&args, output).await,
        Command::Migrate(args) => migrate::run(args, database, output).await,
        Command::Config(command) => config::run(command, database, output).await,
        Command::Worker(args) => worker::run(&args, database).await,
        Command::Doctor(args) => doctor::run(&args, database, output).await,
        Command::Status(args) => status::run(&args, database, output).await,
        Command::Prune(args) => prune::run(&args, database, output).await,
        Command::Outbox(command) => outbox::run(command, database, output).await,
        Command::Inbox(command) => inbox::run(command, database, output).await,
        Command::Quarantine(command) => quarantine::run(command, database, output).await,
        Command::Envelope(command) => envelope::run(&command, output),
        Command::Topic(command) => topic::run(&command, output),
        Command::Edgex(command) => edgex::run(&command, output),
        Command::Trace(args) => trace::run(&args, database, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "postroad", &mut script);
            output.line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
