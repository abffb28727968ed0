//! `postroad config`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use comfy_table::Cell;
use postroad_store::config::{self, RuntimeConfig};
use postroad_store::{Database, Secret};
use serde_json::Value;

use crate::args::{Cli, Config};
use crate::commands::{database, input};
use crate::output::{Output, optional, state};
use crate::transports;

pub(crate) async fn run(command: Config, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    match command {
        Config::Import { file } => import(&database, &file, output).await?,
        Config::List { json } => list(&database, json, output).await?,
        Config::Show { key, json } => show(&database, &key, json, output).await?,
        Config::Set { key, values } => set(&database, &key, &values, output).await?,
        Config::Activate { key } => {
            let news = config::activate(&database, &key).await?;
            output.line(format_args!(
                "{key}: {}",
                if news { "active" } else { "was active already" }
            ))?;
        }
        Config::Deactivate { key } => {
            let news = config::deactivate(&database, &key).await?;
            output.line(format_args!(
                "{key}: {}",
                if news { "not active" } else { "was not active" }
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(database: &Database, file: &Path, output: &Output) -> Result<()> {
    let name = file.display();
    let text =
        String::from_utf8(input::read(file)?).with_context(|| format!("`{name}` is not UTF-8"))?;
    let parsed: Value = match toml::from_str(&text) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Its own text shows the line, and a password may stand there.
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            bail!("`{name}` is not TOML: {} in line {line}", error.message());
        }
    };
    let changes = config::import(database, &parsed)
        .await
        .with_context(|| format!("nothing imported from `{name}`"))?;
    for (word, keys) in [
        ("created", &changes.created),
        ("updated", &changes.updated),
        ("unchanged", &changes.unchanged),
    ] {
        for key in keys {
            output.line(format_args!("{word} {key}"))?;
        }
    }
    if changes == config::Changes::default() {
        bail!("`{name}` has no [config.KEY] table");
    }
    for key in changes.created.iter().chain(&changes.updated) {
        warn(database, key, true, output).await?;
    }
    Ok(())
}

async fn list(database: &Database, json: bool, output: &Output) -> Result<()> {
    let configs = config::list(database).await.context("cannot read the configs")?;
    if json {
        return output.json(&configs);
    }
    let header = ["config", "state", "broker", "host", "service", "out", "in"];
    let rows = configs.iter().map(cells).collect();
    output.table(&header, rows, "no config yet: `postroad config import FILE.toml` makes one")
}

fn cells(config: &RuntimeConfig) -> Vec<Cell> {
    let yes = |on| Cell::new(if on { "yes" } else { "no" });
    vec![
        Cell::new(&config.config_key),
        state(if config.is_active { "active" } else { "not active" }),
        Cell::new(&config.broker_type),
        Cell::new(&config.host),
        optional(config.source_service.as_ref()),
        yes(config.outbound_enabled),
        yes(config.inbound_enabled),
    ]
}

async fn show(database: &Database, key: &str, json: bool, output: &Output) -> Result<()> {
    let Some(config) = config::load(database, key).await.context("cannot read the config")? else {
        bail!("there is no config `{key}`: `postroad config list` shows all");
    };
    let (name, settings) = match config.runtime.broker_type.as_str() {
        "mqtt" => ("mqtt", serde_json::to_value(&config.mqtt)?),
        _ => ("rabbitmq", serde_json::to_value(&config.rabbitmq)?),
    };
    let mut all = serde_json::to_value(&config.runtime)?;
    if json {
        all[name] = settings;
        return output.json(&all);
    }
    let named = |prefix: &str, value: &Value| {
        let columns = value.as_object().into_iter().flatten();
        columns
            .map(|(column, value)| (format!("{prefix}{column}"), text(value)))
            .collect::<Vec<_>>()
    };
    let lines = [named("", &all), named(&format!("{name}."), &settings)].concat();
    let lines: Vec<_> =
        lines.iter().map(|(column, value)| (column.as_str(), Some(value.clone()))).collect();
    output.fields(&lines)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn set(database: &Database, key: &str, values: &[String], output: &Output) -> Result<()> {
    let Some(pairs) = values.iter().map(|value| value.split_once('=')).collect::<Option<Vec<_>>>()
    else {
        // The text is not shown: it may be a password.
        let usage = "each change is NAME=VALUE, such as batch_size=200";
        Cli::command().error(ErrorKind::ValueValidation, usage).exit();
    };
    let pairs: Vec<_> =
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let changed = config::set(database, key, &pairs).await?;
    output
        .line(format_args!("{key}: {}", if changed { "changed" } else { "nothing to change" }))?;
    let of_password = pairs.iter().any(|(name, _)| name == "password");
    if changed || of_password {
        warn(database, key, of_password, output).await?;
    }
    Ok(())
}

/// Tells of a password that now stands in the database as it is, and of a config by which no worker can start.
async fn warn(database: &Database, key: &str, of_password: bool, output: &Output) -> Result<()> {
    let config = config::load(database, key).await.context("cannot read the config")?;
    let Some(mut config) = config else { return Ok(()) };
    let literal = |secret: &Secret| {
        !["env:", "file:"].iter().any(|prefix| secret.expose().starts_with(prefix))
    };
    if of_password && config.runtime.password.as_ref().is_some_and(literal) {
        output.note(format_args!(
            "warning: the password of `{key}` now stands in the database as it is; env:NAME or file:PATH keeps it out"
        ));
    }
    // Where the worker runs it may be another one.
    config.runtime.password = None;
    if config.runtime.is_active
        && let Err(error) = transports::check(&config, &config.runtime.broker_type)
    {
        output.note(format_args!("warning: no worker can start by it yet: {error:#}"));
    }
    Ok(())
}
