//! `postroad outbox`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use postroad_envelope::{Limits, MessageType, OutboxColumns, ResponseStatus, normalise_outbound};
use postroad_store::query::outbox::{self, Filter, OutboxRecord, Retry, Skipped};
use postroad_store::{Database, NewMessage, config, enqueue};
use postroad_worker_core::StoreError;
use serde_json::{Map, Value};

use crate::args::{ListOutbox, Outbox, Send, ShowRow};
use crate::commands::{database, input};
use crate::output::{Output, optional, short, state};

pub(crate) async fn run(command: Outbox, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    match command {
        Outbox::Send(args) => send(&database, *args, output).await?,
        Outbox::List(args) => list(&database, args, output).await?,
        Outbox::Show(args) => show(&database, &args, output).await?,
        Outbox::Retry { id, status, config_key } => {
            let which = match (&id, &status) {
                (Some(id), _) => Retry::Id(id),
                (None, Some(status)) => Retry::Status { status, config_key: config_key.as_deref() },
                (None, None) => bail!("name a row or give --status"),
            };
            let rows = outbox::retry(&database, which).await.context("cannot change the rows")?;
            if let (Some(id), 0) = (&id, rows) {
                bail!(
                    "no outbox row `{id}` that is not published: `postroad outbox list` shows the newest"
                );
            }
            output.line(format_args!("{rows} to be sent again"))?;
        }
        Outbox::Skip { id } => skip(&database, &id, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(database: &Database, args: Send, output: &Output) -> Result<()> {
    let payload = input::value(&args.payload)?;
    check(database, &args, &payload, output).await?;
    let json = args.json;
    let id = enqueue(database.connection(), message(args, payload)?).await?;
    if json {
        return output.json(&serde_json::json!({ "id": id }));
    }
    output.line(id)
}

/// What the worker would find wrong is told now, and nothing is written.
async fn check(database: &Database, args: &Send, payload: &str, output: &Output) -> Result<()> {
    let key = &args.config_key;
    let (limits, service) = match config::load(database, key).await {
        Ok(Some(config)) => {
            let limits = Limits {
                max_message_bytes: config.runtime.max_message_bytes as usize,
                max_chain_depth: config.runtime.max_chain_depth,
            };
            (limits, config.runtime.source_service.unwrap_or_default())
        }
        Ok(None) => bail!("there is no config `{key}`: `postroad config list` shows all"),
        // A service that may write the outbox and nothing else; the worker looks once more.
        Err(StoreError::Refused(why)) => {
            output.note(format_args!(
                "the config cannot be read, so the message was checked by the defaults: {why}"
            ));
            (Limits::default(), key.clone())
        }
        Err(error) => return Err(error).context("cannot read the config"),
    };
    let row = OutboxColumns {
        id: uuid::Uuid::nil().to_string(),
        topic: args.topic.clone(),
        message_id: args.message_id.clone(),
        message_type: args.message_type.clone(),
        message_status: args.message_status.clone(),
        request_id: args.request_id.clone(),
        event_type: args.event_type.clone(),
        source_service: args.source_service.clone(),
        parent_request_id: args.parent_request_id.clone(),
        chain_depth: args.chain_depth.map(i64::from),
        reply_to: args.reply_to.clone(),
        payload: payload.to_owned(),
    };
    normalise_outbound(&row, &service, &limits).context("not sent, the message is not valid")?;
    Ok(())
}

fn message(args: Send, payload: String) -> Result<NewMessage> {
    let headers: Option<Map<String, Value>> = match &args.headers {
        Some(text) => Some(serde_json::from_str(text).context("--headers is not a JSON object")?),
        None => None,
    };
    Ok(NewMessage {
        config_key: args.config_key,
        message_type: args.message_type.as_deref().and_then(MessageType::parse),
        message_status: args.message_status.as_deref().and_then(ResponseStatus::parse),
        message_id: args.message_id,
        request_id: args.request_id,
        event_type: args.event_type,
        reply_to: args.reply_to,
        source_service: args.source_service,
        parent_request_id: args.parent_request_id,
        chain_depth: args.chain_depth,
        headers,
        ordering_key: args.ordering_key,
        payload,
        ..NewMessage::bare(args.topic, Value::Null)
    })
}

async fn skip(database: &Database, id: &str, output: &Output) -> Result<()> {
    match outbox::skip(database, id).await.context("cannot change the row")? {
        Skipped::Done => output.line(format_args!("{id}: skipped")),
        Skipped::Unknown => bail!("no outbox row `{id}`: `postroad outbox list` shows the newest"),
        Skipped::Ended(status) => bail!("`{id}` is {status} and holds nothing back"),
        Skipped::Held(until) => {
            bail!("`{id}` is held by a worker until {until} and may be on the wire: try again then")
        }
    }
}

async fn list(database: &Database, args: ListOutbox, output: &Output) -> Result<()> {
    let filter =
        Filter { config_key: args.list.config_key, status: args.status, limit: args.list.limit };
    let records = outbox::list(database, &filter).await.context("cannot read the outbox")?;
    if args.list.json {
        return output.json(&records);
    }
    let header = ["id", "topic", "type", "status", "retries", "created", "last error"];
    output.table(&header, records.iter().map(cells).collect(), "no rows")
}

fn cells(record: &OutboxRecord) -> Vec<Cell> {
    vec![
        Cell::new(&record.id),
        Cell::new(short(&record.topic, 60)),
        optional(record.message_type.as_ref()),
        state(&record.status),
        Cell::new(record.retry_count),
        Cell::new(&record.created_at),
        optional(record.last_error.as_ref().map(|error| short(error, 60))),
    ]
}

async fn show(database: &Database, args: &ShowRow, output: &Output) -> Result<()> {
    let found = outbox::get(database, &args.id).await.context("cannot read the outbox")?;
    let Some(record) = found else {
        bail!("no outbox row `{}`: `postroad outbox list` shows the newest", args.id);
    };
    if args.json {
        return output.json(&record);
    }
    output.record(&record)
}
