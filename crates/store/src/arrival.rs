//! One arrived message on its way into the inbox.

use postroad_fault_points::{Bug, has};
use postroad_worker_core::{InboxEntry, InboxRow, Original, Quarantined, reason};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::text::{hex, json_has_nul};

/// A header by which a quorum queue counts.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// An entry with its identity, or what it becomes without one.
pub(crate) struct Arrival<'a> {
    /// Its place in the batch.
    index: usize,
    entry: &'a InboxEntry,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// May become a row, unless it was seen before.
    Message { row: &'a InboxRow, id: String, key: String, digest: String },
    /// Sorted out before this.
    Quarantined(&'a Quarantined),
    /// A message that not every database can hold.
    Unstorable(Box<Quarantined>),
}

/// What `inbound_dedupe` keeps.
#[derive(Serialize)]
pub(crate) struct Seen<'a> {
    /// SHA-256 of config key, topic and message id, in hex.
    pub(crate) key: &'a str,
    /// SHA-256 of the payload, in hex.
    pub(crate) digest: &'a str,
    /// Of the inbox row.
    pub(crate) id: &'a str,
}

/// What `inbound_event` keeps.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    pub(crate) id: &'a str,
    message_id: &'a str,
    topic: &'a str,
    request_id: Option<&'a str>,
    message_type: &'a str,
    message_status: Option<&'a str>,
    event_type: Option<&'a str>,
    reply_to: Option<&'a str>,
    source_service: Option<&'a str>,
    parent_request_id: Option<&'a str>,
    chain_depth: u32,
    payload: &'a str,
    headers: Option<&'a str>,
}

impl<'a> Arrival<'a> {
    pub(crate) fn new(config_key: &str, (index, entry): (usize, &'a InboxEntry)) -> Self {
        let kind = match entry {
            InboxEntry::Quarantine(quarantined) => Kind::Quarantined(quarantined),
            InboxEntry::Message(row) => match field_with_nul(row) {
                Some(field) => {
                    Kind::Unstorable(Box::new(unstorable(row, format!("`{field}` holds U+0000"))))
                }
                None => Kind::Message {
                    row,
                    id: Uuid::new_v4().to_string(),
                    key: dedupe_key(config_key, row),
                    digest: match &row.fingerprint {
                        Some(fingerprint) => hex(fingerprint),
                        None => hex(&Sha256::digest(&row.payload)),
                    },
                },
            },
        };
        Self { index, entry, kind }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn entry(&self) -> &'a InboxEntry {
        self.entry
    }

    pub(crate) fn key(&self) -> Option<Seen<'_>> {
        match &self.kind {
            Kind::Message { id, key, digest, .. } => Some(Seen { key, digest, id }),
            Kind::Quarantined(_) | Kind::Unstorable(_) => None,
        }
    }

    pub(crate) fn row(&self) -> Option<Row<'_>> {
        let Kind::Message { row, id, .. } = &self.kind else { return None };
        Some(Row {
            id,
            message_id: &row.message_id,
            topic: &row.topic,
            request_id: row.request_id.as_deref(),
            message_type: row.message_type,
            message_status: row.message_status,
            event_type: row.event_type.as_deref(),
            reply_to: row.reply_to.as_deref(),
            source_service: row.source_service.as_deref(),
            parent_request_id: row.parent_request_id.as_deref(),
            chain_depth: row.chain_depth,
            payload: &row.payload,
            headers: row.headers.as_deref(),
        })
    }

    pub(crate) fn quarantined(&self) -> Option<&Quarantined> {
        match &self.kind {
            Kind::Message { .. } => None,
            Kind::Quarantined(quarantined) => Some(quarantined),
            Kind::Unstorable(quarantined) => Some(quarantined),
        }
    }

    /// What a message becomes that was seen before: nothing where the payloads are equal, else an `id_conflict`.
    /// `payload` is what the inbox holds, if it still does.
    pub(crate) fn conflict_with(&self, digest: &str, payload: Option<&str>) -> Option<Quarantined> {
        let Kind::Message { row, digest: own_digest, .. } = &self.kind else { return None };
        if digest == own_digest || payload.is_some_and(|payload| same_json(payload, &row.payload)) {
            return None;
        }
        let detail = format!(
            "message_id `{}` came before on this topic with another payload",
            row.message_id
        );
        Some(quarantined(row, reason::ID_CONFLICT, detail))
    }
}

/// The message as a quarantined one that no database takes.
pub(crate) fn unstorable(row: &InboxRow, detail: String) -> Quarantined {
    quarantined(row, reason::UNSTORABLE, detail)
}

/// A quarantined message without the headers, for a database that will not take those.
pub(crate) fn without_headers(entry: &Quarantined) -> Quarantined {
    Quarantined { original: Original { headers: None, ..entry.original.clone() }, ..entry.clone() }
}

fn quarantined(row: &InboxRow, reason: &'static str, detail: String) -> Quarantined {
    Quarantined { topic: row.topic.clone(), reason, detail, original: row.original.clone() }
}

fn dedupe_key(config_key: &str, row: &InboxRow) -> String {
    let lower = has(Bug::CaseInsensitiveIds).then(|| row.message_id.to_lowercase());
    hex(&digest(&[config_key, &row.topic, lower.as_deref().unwrap_or(&row.message_id)]))
}

/// What tells a message in quarantine from others, the same each time it is delivered.
pub(crate) fn arrival_digest(config_key: &str, entry: &Quarantined) -> Vec<u8> {
    let Original { body, headers, arrival_id, .. } = &entry.original;
    let headers = headers.as_deref().map(lasting_headers).unwrap_or_default();
    let arrival_id = arrival_id.as_deref().unwrap_or_default();
    digest(&[
        config_key.as_bytes(),
        entry.topic.as_bytes(),
        body,
        headers.as_bytes(),
        arrival_id.as_bytes(),
    ])
}

/// The headers without what a quorum queue changes at each delivery.
fn lasting_headers(text: &str) -> String {
    let Ok(mut kept) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let Some(members) = kept.as_object_mut() else { return text.to_owned() };
    let headers = members.get_mut("headers").and_then(Value::as_object_mut);
    if let Some(headers) = headers {
        headers.remove(DELIVERY_COUNT);
    }
    // The same in bytes, unless nobody could read them.
    if let Some(raw) = members.get_mut("raw").and_then(Value::as_object_mut)
        && raw.get("readable").is_some_and(|readable| *readable == true)
    {
        raw.remove("properties");
    }
    kept.to_string()
}

/// SHA-256 of the parts, each with its length before it, so that no two lists of them read the same.
fn digest<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in parts.iter().map(AsRef::as_ref) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// PostgreSQL keeps no U+0000, in text or in JSON. So that a message has the same fate everywhere, no database gets one.
fn field_with_nul(row: &InboxRow) -> Option<&'static str> {
    let texts = [
        ("topic", Some(&row.topic)),
        ("message_id", Some(&row.message_id)),
        ("request_id", row.request_id.as_ref()),
        ("event_type", row.event_type.as_ref()),
        ("reply_to", row.reply_to.as_ref()),
        ("source_service", row.source_service.as_ref()),
        ("parent_request_id", row.parent_request_id.as_ref()),
    ];
    let json = [("payload", Some(&row.payload)), ("headers", row.headers.as_ref())];
    let text = texts.into_iter().find(|(_, text)| text.is_some_and(|text| text.contains('\0')));
    let json = || json.into_iter().find(|(_, json)| json.is_some_and(|json| json_has_nul(json)));
    text.or_else(json).map(|(field, _)| field)
}

fn same_json(a: &str, b: &str) -> bool {
    let parse = serde_json::from_str::<serde_json::Value>;
    matches!((parse(a), parse(b)), (Ok(a), Ok(b)) if a == b)
}
