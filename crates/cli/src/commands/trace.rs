//! `postroad trace`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use postroad_store::query::trace::{TraceRecord, trace};

use crate::args::Trace;
use crate::commands::database;
use crate::output::Output;

pub(crate) async fn run(args: &Trace, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    let records = trace(&database, &args.request_id).await.context("cannot read the messages")?;
    if records.is_empty() {
        bail!("no message of request `{}` in this database", args.request_id);
    }
    if args.json {
        output.json(&records)?;
    } else {
        for line in tree(&records) {
            output.line(line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Requests below the request that caused them, each with its messages in the order in which they were written.
fn tree(records: &[TraceRecord]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut told: Vec<Option<&str>> = Vec::new();
    for record in records {
        let root = parent(records, record.request_id.as_deref()).is_none();
        if root && !told.contains(&record.request_id.as_deref()) {
            branch(records, record.request_id.as_deref(), 0, &mut told, &mut lines);
        }
    }
    // A request that is its own ancestor has no root.
    for record in records {
        if !told.contains(&record.request_id.as_deref()) {
            branch(records, record.request_id.as_deref(), 0, &mut told, &mut lines);
        }
    }
    lines
}

fn branch<'a>(
    records: &'a [TraceRecord],
    request_id: Option<&'a str>,
    depth: usize,
    told: &mut Vec<Option<&'a str>>,
    lines: &mut Vec<String>,
) {
    told.push(request_id);
    let indent = "   ".repeat(depth);
    lines.push(format!("{indent}{}", request_id.unwrap_or("without a request_id")));
    for record in records.iter().filter(|record| record.request_id.as_deref() == request_id) {
        lines.push(format!("{indent}   {}", line(record)));
    }
    let children =
        records.iter().filter(|record| record.parent_request_id.as_deref() == request_id);
    for child in children.filter(|_| request_id.is_some()) {
        if !told.contains(&child.request_id.as_deref()) {
            branch(records, child.request_id.as_deref(), depth + 1, told, lines);
        }
    }
}

/// The parent of a request, where its messages are here as well.
fn parent<'a>(records: &'a [TraceRecord], request_id: Option<&str>) -> Option<&'a str> {
    let of_it = |record: &&TraceRecord| record.request_id.as_deref() == request_id;
    let parent =
        records.iter().filter(of_it).find_map(|record| record.parent_request_id.as_deref())?;
    records.iter().any(|record| record.request_id.as_deref() == Some(parent)).then_some(parent)
}

fn line(record: &TraceRecord) -> String {
    let arrow = if record.direction == "outbound" { "→" } else { "←" };
    let kind = record.message_type.as_deref().unwrap_or("message");
    let outcome =
        record.message_status.as_deref().map(|status| format!(" {status}")).unwrap_or_default();
    let error = record.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    format!(
        "{} {arrow} {kind}{outcome} {} [{}: {}]{error}",
        record.created_at, record.topic, record.config_key, record.status
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(request_id: &str, parent: Option<&str>, topic: &str) -> TraceRecord {
        TraceRecord {
            direction: "outbound".to_owned(),
            seq: 1,
            id: String::new(),
            config_key: "k".to_owned(),
            topic: topic.to_owned(),
            message_type: Some("request".to_owned()),
            message_status: None,
            event_type: None,
            request_id: Some(request_id.to_owned()),
            parent_request_id: parent.map(str::to_owned),
            chain_depth: None,
            source_service: None,
            status: "published".to_owned(),
            last_error: None,
            created_at: "t".to_owned(),
        }
    }

    #[test]
    fn a_request_stands_below_the_one_that_caused_it() {
        let records = [
            record("a", Some("gone"), "one"),
            record("b", Some("a"), "two"),
            record("a", None, "three"),
        ];
        let expected = [
            "a",
            "   t → request one [k: published]",
            "   t → request three [k: published]",
            "   b",
            "      t → request two [k: published]",
        ];
        assert_eq!(tree(&records), expected);
    }

    #[test]
    fn a_loop_of_requests_ends() {
        let records = [record("a", Some("b"), "one"), record("b", Some("a"), "two")];
        assert_eq!(tree(&records).len(), 4);
    }
}
