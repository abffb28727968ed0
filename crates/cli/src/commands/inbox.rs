//! `postroad inbox`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use postroad_store::Database;
use postroad_store::query::inbox::{self, InboxRecord};
use postroad_store::query::outbox::Filter;

use crate::args::{Inbox, ListInbox, ShowRow};
use crate::commands::database;
use crate::output::{Output, optional, short, state};

pub(crate) async fn run(command: Inbox, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    match command {
        Inbox::List(args) => list(&database, args, output).await?,
        Inbox::Show(args) => show(&database, &args, output).await?,
        Inbox::Done { id } => {
            let found = inbox::done(&database, &id).await.context("cannot change the row")?;
            told(found, &id, "processed", output)?;
        }
        Inbox::Fail { id, error } => {
            let found =
                inbox::fail(&database, &id, &error).await.context("cannot change the row")?;
            told(found, &id, "error", output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(found: bool, id: &str, status: &str, output: &Output) -> Result<()> {
    if !found {
        bail!("no inbox row `{id}`: `postroad inbox list` shows the newest");
    }
    output.line(format_args!("{id}: {status}"))
}

async fn list(database: &Database, args: ListInbox, output: &Output) -> Result<()> {
    let filter =
        Filter { config_key: args.list.config_key, status: args.status, limit: args.list.limit };
    let records = inbox::list(database, &filter).await.context("cannot read the inbox")?;
    if args.list.json {
        return output.json(&records);
    }
    let header = ["id", "topic", "type", "from", "status", "created", "last error"];
    output.table(&header, records.iter().map(cells).collect(), "no rows")
}

fn cells(record: &InboxRecord) -> Vec<Cell> {
    vec![
        Cell::new(&record.id),
        Cell::new(short(&record.topic, 60)),
        Cell::new(&record.message_type),
        optional(record.source_service.as_ref()),
        state(&record.status),
        Cell::new(&record.created_at),
        optional(record.last_error.as_ref().map(|error| short(error, 60))),
    ]
}

async fn show(database: &Database, args: &ShowRow, output: &Output) -> Result<()> {
    let found = inbox::get(database, &args.id).await.context("cannot read the inbox")?;
    let Some(record) = found else {
        bail!("no inbox row `{}`: `postroad inbox list` shows the newest", args.id);
    };
    if args.json {
        return output.json(&record);
    }
    output.record(&record)
}
