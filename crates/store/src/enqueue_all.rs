//! Writing many messages into the outbox by one statement.

use postroad_envelope::{MessageType, ResponseStatus};
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::dialect::{Dialect, Sql};
use crate::enqueue::{EnqueueError, NewMessage};
use crate::wake;

/// Parameter: JSON list of rows, in the order in which they are to be written.
const INSERT_ALL: Sql = Sql {
    sqlite: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
SELECT r.value ->> 'id', r.value ->> 'config_key', r.value ->> 'message_id', r.value ->> 'topic',
    r.value ->> 'request_id', r.value ->> 'event_type', r.value ->> 'message_type', r.value ->> 'message_status',
    r.value ->> 'source_service', r.value ->> 'parent_request_id', r.value ->> 'chain_depth', r.value ->> 'reply_to',
    r.value ->> 'payload', r.value ->> 'headers', r.value ->> 'ordering_key'
FROM json_each($1) AS r",
    postgres: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
SELECT r.id, r.config_key, r.message_id, r.topic, r.request_id, r.event_type, r.message_type, r.message_status,
    r.source_service, r.parent_request_id, r.chain_depth, r.reply_to, r.payload::jsonb, r.headers::jsonb, r.ordering_key
FROM json_to_recordset($1::json) AS r (id uuid, config_key text, message_id text, topic text, request_id text,
    event_type text, message_type text, message_status text, source_service text, parent_request_id text,
    chain_depth bigint, reply_to text, payload text, headers text, ordering_key text)",
    mysql: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
SELECT r.id, r.config_key, r.message_id, r.topic, r.request_id, r.event_type, r.message_type, r.message_status,
    r.source_service, r.parent_request_id, r.chain_depth, r.reply_to, r.payload, r.headers, r.ordering_key
FROM JSON_TABLE($1, '$[*]' COLUMNS (
    id varchar(36) CHARACTER SET utf8mb4 PATH '$.id', config_key text CHARACTER SET utf8mb4 PATH '$.config_key',
    message_id text CHARACTER SET utf8mb4 PATH '$.message_id', topic mediumtext CHARACTER SET utf8mb4 PATH '$.topic',
    request_id text CHARACTER SET utf8mb4 PATH '$.request_id',
    event_type text CHARACTER SET utf8mb4 PATH '$.event_type',
    message_type varchar(16) CHARACTER SET utf8mb4 PATH '$.message_type',
    message_status varchar(16) CHARACTER SET utf8mb4 PATH '$.message_status',
    source_service text CHARACTER SET utf8mb4 PATH '$.source_service',
    parent_request_id text CHARACTER SET utf8mb4 PATH '$.parent_request_id', chain_depth bigint PATH '$.chain_depth',
    reply_to text CHARACTER SET utf8mb4 PATH '$.reply_to', payload longtext CHARACTER SET utf8mb4 PATH '$.payload',
    headers longtext CHARACTER SET utf8mb4 PATH '$.headers',
    ordering_key text CHARACTER SET utf8mb4 PATH '$.ordering_key')) AS r",
};

#[derive(Serialize)]
struct Row {
    id: String,
    config_key: String,
    message_id: Option<String>,
    topic: String,
    request_id: Option<String>,
    event_type: Option<String>,
    message_type: Option<&'static str>,
    message_status: Option<&'static str>,
    source_service: Option<String>,
    parent_request_id: Option<String>,
    chain_depth: Option<u32>,
    reply_to: Option<String>,
    payload: String,
    headers: Option<String>,
    ordering_key: Option<String>,
}

/// Writes messages into the outbox in their order, all by one statement, and returns the rows' ids in the same order. All
/// or none: where the database refuses one of them, none is written.
///
/// Many times faster than one [`enqueue`](crate::enqueue()) each. The statement grows with the messages; some megabytes are
/// fine for every database (MariaDB's and MySQL's `max_allowed_packet` is 16 MiB or more).
///
/// ```
/// use postroad_store::{NewMessage, enqueue_all};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = postroad_store::connect("sqlite::memory:").await?;
/// # postroad_migration::up(database.connection()).await?;
/// let transaction = database.begin().await?;
/// let started = |n| NewMessage::event("event.plant.machine.started", "started", n);
/// let ids = enqueue_all(&transaction, (1..=1000).map(started)).await?;
/// transaction.commit().await?;
/// assert_eq!(ids.len(), 1000);
/// # Ok(())
/// # }
/// ```
pub async fn enqueue_all(
    db: &impl ConnectionTrait,
    messages: impl IntoIterator<Item = NewMessage>,
) -> Result<Vec<String>, EnqueueError> {
    let dialect =
        Dialect::of(db.get_database_backend()).ok_or(EnqueueError::UnsupportedDatabase)?;
    let rows: Vec<_> = messages.into_iter().map(Row::from).collect();
    if !rows.is_empty() {
        let list = serde_json::to_string(&rows).expect("text and numbers are JSON");
        let insert = INSERT_ALL.bind(dialect, [list.into()]);
        db.execute_raw(insert).await.map_err(EnqueueError::Database)?;
        wake::written();
    }
    Ok(rows.into_iter().map(|row| row.id).collect())
}

impl From<NewMessage> for Row {
    fn from(message: NewMessage) -> Self {
        let headers = |headers: Map<String, Json>| Json::Object(headers).to_string();
        Self {
            id: Uuid::new_v4().to_string(),
            config_key: message.config_key,
            message_id: message.message_id,
            topic: message.topic,
            request_id: message.request_id,
            event_type: message.event_type,
            message_type: message.message_type.map(MessageType::as_str),
            message_status: message.message_status.map(ResponseStatus::as_str),
            source_service: message.source_service,
            parent_request_id: message.parent_request_id,
            chain_depth: message.chain_depth,
            reply_to: message.reply_to,
            payload: message.payload,
            headers: message.headers.map(headers),
            ordering_key: message.ordering_key,
        }
    }
}
