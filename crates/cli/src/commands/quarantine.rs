//! `postroad quarantine`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::Cell;
use postroad_envelope::Limits;
use postroad_store::query::quarantine::{self, Purge, QuarantineRecord};
use postroad_store::{Database, SqlStore, config};
use postroad_transport::Incoming;
use postroad_worker_core::{Codec, EnvelopeCodec, InboxEntry, Settings};
use serde_json::Value;

use crate::args::{List, Quarantine, Replay, ShowRow};
use crate::commands::{database, input};
use crate::mqtt::MqttCodec;
use crate::output::{Output, short};

const DAY: Duration = Duration::from_hours(24);

pub(crate) async fn run(command: Quarantine, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    match command {
        Quarantine::List(args) => list(&database, &args, output).await?,
        Quarantine::Show(args) => show(&database, &args, output).await?,
        Quarantine::Replay(args) => replay(&database, &args, output).await?,
        Quarantine::Purge { id, older_than_days, all: _, config_key } => {
            let which = match (&id, older_than_days) {
                (Some(id), _) => Purge::Id(id),
                (None, Some(days)) => Purge::OlderThan(DAY * days),
                (None, None) => Purge::All,
            };
            let gone = quarantine::purge(&database, which, config_key.as_deref()).await;
            let gone = gone.context("cannot delete from quarantine")?;
            if let (Some(id), 0) = (&id, gone) {
                return Err(no_such(id));
            }
            output.line(format_args!("{gone} deleted"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn no_such(id: &str) -> anyhow::Error {
    anyhow::anyhow!("no quarantined message `{id}`: `postroad quarantine list` shows the newest")
}

async fn list(database: &Database, args: &List, output: &Output) -> Result<()> {
    let records = quarantine::list(database, args.config_key.as_deref(), args.limit).await;
    let records = records.context("cannot read the quarantine")?;
    if args.json {
        return output.json(&records);
    }
    let header = ["id", "config", "topic", "reason", "detail", "bytes", "received"];
    output.table(&header, records.iter().map(cells).collect(), "nothing in quarantine")
}

fn cells(record: &QuarantineRecord) -> Vec<Cell> {
    vec![
        Cell::new(&record.id),
        Cell::new(&record.config_key),
        Cell::new(short(&record.topic, 60)),
        Cell::new(&record.reason),
        Cell::new(short(&record.detail, 80)),
        Cell::new(record.body.len()),
        Cell::new(&record.received_at),
    ]
}

async fn show(database: &Database, args: &ShowRow, output: &Output) -> Result<()> {
    let record = get(database, &args.id).await?;
    if args.json {
        return output.json(&record);
    }
    output.record(&record)
}

async fn get(database: &Database, id: &str) -> Result<QuarantineRecord> {
    let found = quarantine::get(database, id).await.context("cannot read the quarantine")?;
    found.ok_or_else(|| no_such(id))
}

/// The way of every delivery once more. The message leaves quarantine only when it is an inbox row, and no second one is
/// made where it cannot be.
async fn replay(database: &Database, args: &Replay, output: &Output) -> Result<()> {
    let record = get(database, &args.id).await?;
    let key = record.config_key.clone();
    let incoming = incoming(&record, args)?;
    let entry = match decode(database, &key, &incoming).await? {
        entry @ InboxEntry::Message(_) => entry,
        InboxEntry::Quarantine(still) => return Err(stays(still.reason, &still.detail)),
    };
    let store = SqlStore::new(database.clone(), key);
    let stored = match store.store_from_quarantine(&entry, &record.id).await {
        Ok(Ok(stored)) => stored,
        Ok(Err(kept)) => return Err(stays(kept.reason, &kept.detail)),
        Err(error) => return Err(error).context("cannot write the inbox"),
    };
    output.line(if stored.inserted > 0 {
        "stored in the inbox"
    } else {
        "was in the inbox already"
    })
}

fn stays(reason: &str, detail: &str) -> anyhow::Error {
    anyhow::anyhow!("stays in quarantine, {reason}: {detail}")
}

fn incoming(record: &QuarantineRecord, args: &Replay) -> Result<Incoming> {
    let kept: Value = match &record.headers {
        Some(text) => serde_json::from_str(text).context("the kept headers are not JSON")?,
        None => Value::Null,
    };
    let property = |name: &str| kept["properties"][name].as_str().map(str::to_owned);
    let headers = match &args.headers {
        Some(argument) => {
            let text = input::value(argument)?;
            serde_json::from_str(&text).context("--headers is not a JSON object")?
        }
        None => kept["headers"].as_object().cloned().unwrap_or_default(),
    };
    Ok(Incoming {
        topic: args.topic.as_ref().unwrap_or(&record.topic).clone(),
        body: match &args.body {
            Some(file) => input::read(file)?.into(),
            None => record.body.clone().into(),
        },
        message_id: property("message_id"),
        correlation_id: property("correlation_id"),
        reply_to: property("reply_to"),
        app_id: property("app_id"),
        message_type: property("type"),
        headers,
        ..Incoming::default()
    })
}

/// By the rules of the config that it came by; by those of RabbitMQ where that config is gone.
async fn decode(database: &Database, key: &str, incoming: &Incoming) -> Result<InboxEntry> {
    let config = config::load(database, key).await.context("cannot read the config")?;
    let mut settings = Settings::new(key, key);
    let Some(config) = config else { return Ok(EnvelopeCodec.decode(incoming, &settings)) };
    settings.limits = Limits {
        max_message_bytes: config.runtime.max_message_bytes as usize,
        max_chain_depth: config.runtime.max_chain_depth,
    };
    Ok(match config.runtime.broker_type.as_str() {
        "mqtt" => {
            MqttCodec { base_prefix: config.mqtt.edgex_base_prefix }.decode(incoming, &settings)
        }
        _ => EnvelopeCodec.decode(incoming, &settings),
    })
}
