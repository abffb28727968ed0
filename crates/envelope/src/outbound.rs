//! From an outbox row to the envelope that goes out.

use std::borrow::Cow;

use crate::envelope::{Envelope, Limits, SCHEMA_ID};
use crate::fault::{Fault, Faults, quoted};
use crate::fields::{Fields, Origin, Slot, TextSlot};
use crate::json::{self, Members};

/// The columns of an outbox row that a message is made of, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboxColumns {
    /// The row's own UUID, as text.
    pub id: String,
    /// Not null, but any text.
    pub topic: String,
    /// Overrides every other message id.
    pub message_id: Option<String>,
    /// `request`, `response`, `event` or a mistake.
    pub message_type: Option<String>,
    /// `success`, `error` or a mistake.
    pub message_status: Option<String>,
    /// Correlates request and response.
    pub request_id: Option<String>,
    /// Of an event.
    pub event_type: Option<String>,
    /// Who sends it, where it is not the config's own service.
    pub source_service: Option<String>,
    /// The request that caused this one.
    pub parent_request_id: Option<String>,
    /// How many requests led here.
    pub chain_depth: Option<i64>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// JSON text: a payload, or an embedded envelope.
    pub payload: String,
}

/// A message ready to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What it says.
    pub envelope: Envelope,
    /// The envelope as JSON, within the limit.
    pub body: Vec<u8>,
}

/// Makes the envelope of a row. `source_service` is the config's own, for rows that name none.
///
/// Columns that are null are taken from an embedded envelope: a payload object with the envelope's `schema`. The same
/// row always makes the same bytes. After `Err` the row can never be sent as it is.
pub fn normalise_outbound(
    row: &OutboxColumns,
    source_service: &str,
    limits: &Limits,
) -> Result<Prepared, Faults> {
    let envelope = merged(row, source_service).into_envelope(Origin::Row, limits)?;
    let body = envelope.to_json();
    if body.len() > limits.max_message_bytes {
        let (bytes, most) = (body.len(), limits.max_message_bytes);
        return Err(Fault::new(
            "payload",
            format!("it makes a message of {bytes} bytes, at most {most} are allowed"),
        )
        .into());
    }
    Ok(Prepared { envelope, body })
}

fn merged<'a>(row: &'a OutboxColumns, source_service: &'a str) -> Fields<'a> {
    let embedded = embedded(&row.payload);
    Fields {
        message_id: text(row.message_id.as_deref(), embedded.message_id)
            .map(|id| id.or(Some(row.id.as_str().into()))),
        message_type: text(row.message_type.as_deref(), embedded.message_type),
        topic: text(Some(&row.topic), embedded.topic),
        source_service: text(row.source_service.as_deref(), embedded.source_service)
            .map(|name| name.or(Some(source_service.into()))),
        request_id: text(row.request_id.as_deref(), embedded.request_id),
        parent_request_id: text(row.parent_request_id.as_deref(), embedded.parent_request_id),
        chain_depth: agreed(depth(row.chain_depth), embedded.chain_depth, u32::to_string),
        reply_to: text(row.reply_to.as_deref(), embedded.reply_to),
        status: text(row.message_status.as_deref(), embedded.status),
        event_type: text(row.event_type.as_deref(), embedded.event_type),
        ..embedded
    }
}

/// The embedded envelope's fields, or nothing but the payload.
fn embedded(payload: &str) -> Fields<'_> {
    read(payload).unwrap_or_else(|problem| Fields::bare(Err(format!("not JSON: {problem}"))))
}

fn read(payload: &str) -> Result<Fields<'_>, String> {
    if json::may_have_key(payload, "schema") {
        let members = Members::parse(payload)?;
        if members.get("schema").and_then(json::string).is_some_and(|schema| schema == SCHEMA_ID) {
            members.check()?;
            return Ok(Fields::of(members));
        }
    }
    json::check(payload)?;
    Ok(Fields::bare(Ok(Some(json::raw(payload)?))))
}

fn text<'a>(column: Option<&'a str>, embedded: TextSlot<'a>) -> TextSlot<'a> {
    agreed(Ok(column.map(Cow::Borrowed)), embedded, |text| quoted(text))
}

/// The column, else the embedded value; both only where they agree.
fn agreed<T: PartialEq>(
    column: Slot<T>,
    embedded: Slot<T>,
    shown: impl Fn(&T) -> String,
) -> Slot<T> {
    match (column?, embedded?) {
        (Some(column), Some(embedded)) if column != embedded => Err(format!(
            "the column says {}, the embedded envelope {}",
            shown(&column),
            shown(&embedded)
        )),
        (column, embedded) => Ok(column.or(embedded)),
    }
}

fn depth(column: Option<i64>) -> Slot<u32> {
    let Some(depth) = column else { return Ok(None) };
    match u32::try_from(depth) {
        Ok(depth) => Ok(Some(depth)),
        Err(_) => Err(format!("{depth} is not an integer from 0 to {}", u32::MAX)),
    }
}
