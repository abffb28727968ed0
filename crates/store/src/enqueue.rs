//! Writing a message into the outbox, in the caller's own transaction.

use postroad_envelope::{MessageType, ResponseStatus};
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::dialect::{Dialect, Sql};
use crate::wake;

/// Parameters: as the columns are listed.
const INSERT: Sql = Sql {
    sqlite: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    postgres: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::jsonb, $14::jsonb, $15)",
    mysql: "\
INSERT INTO outbound_event (id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
    source_service, parent_request_id, chain_depth, reply_to, payload, headers, ordering_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
};

/// Why a message is not in the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// Neither SQLite nor PostgreSQL nor MariaDB nor MySQL.
    #[error("the outbox cannot be in a database of this kind")]
    UnsupportedDatabase,
    /// The database did not take the row. In PostgreSQL the caller's transaction cannot go on.
    #[error("the outbox did not take the message")]
    Database(#[source] DbErr),
}

/// A message to be sent. What is wrong with it the worker finds out: the row becomes `invalid`, with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// Whose broker to send it to.
    pub config_key: String,
    /// Topic of the grammar.
    pub topic: String,
    /// `None`: read off the topic, or the embedded envelope's.
    pub message_type: Option<MessageType>,
    /// Of a response.
    pub message_status: Option<ResponseStatus>,
    /// `None`: the row's id.
    pub message_id: Option<String>,
    /// Of a request and its response.
    pub request_id: Option<String>,
    /// Of an event.
    pub event_type: Option<String>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// `None`: the config's.
    pub source_service: Option<String>,
    /// The request that caused this message.
    pub parent_request_id: Option<String>,
    /// How many requests led here.
    pub chain_depth: Option<u32>,
    /// JSON text, sent as it is.
    pub payload: String,
    /// User headers of the broker's message.
    pub headers: Option<Map<String, Json>>,
    /// Messages of one key go out in the order of their rows.
    pub ordering_key: Option<String>,
}

impl NewMessage {
    /// Asks the service of `topic` for something; the answer goes to the response topic `reply_to`.
    pub fn request(
        topic: impl Into<String>,
        request_id: impl Into<String>,
        reply_to: impl Into<String>,
        payload: impl Into<Json>,
    ) -> Self {
        Self {
            message_type: Some(MessageType::Request),
            request_id: Some(request_id.into()),
            reply_to: Some(reply_to.into()),
            ..Self::bare(topic, payload)
        }
    }

    /// Answers the request `request_id`; `topic` is its `reply_to`.
    pub fn response(
        topic: impl Into<String>,
        request_id: impl Into<String>,
        status: ResponseStatus,
        payload: impl Into<Json>,
    ) -> Self {
        Self {
            message_type: Some(MessageType::Response),
            message_status: Some(status),
            request_id: Some(request_id.into()),
            ..Self::bare(topic, payload)
        }
    }

    /// Tells whoever listens that something happened.
    pub fn event(
        topic: impl Into<String>,
        event_type: impl Into<String>,
        payload: impl Into<Json>,
    ) -> Self {
        Self {
            message_type: Some(MessageType::Event),
            event_type: Some(event_type.into()),
            ..Self::bare(topic, payload)
        }
    }

    /// A row with nothing but topic and payload: an embedded envelope, or a bare MQTT message.
    pub fn bare(topic: impl Into<String>, payload: impl Into<Json>) -> Self {
        Self {
            config_key: "default".to_owned(),
            topic: topic.into(),
            message_type: None,
            message_status: None,
            message_id: None,
            request_id: None,
            event_type: None,
            reply_to: None,
            source_service: None,
            parent_request_id: None,
            chain_depth: None,
            payload: payload.into().to_string(),
            headers: None,
            ordering_key: None,
        }
    }

    /// Sends through another config than `default`.
    #[must_use]
    pub fn config_key(self, config_key: impl Into<String>) -> Self {
        Self { config_key: config_key.into(), ..self }
    }

    /// Gives the message an identity of its own, instead of the row's id.
    #[must_use]
    pub fn message_id(self, message_id: impl Into<String>) -> Self {
        Self { message_id: Some(message_id.into()), ..self }
    }

    /// Correlates an event with a request.
    #[must_use]
    pub fn request_id(self, request_id: impl Into<String>) -> Self {
        Self { request_id: Some(request_id.into()), ..self }
    }

    /// Sends in the name of another service than the config's.
    #[must_use]
    pub fn source_service(self, source_service: impl Into<String>) -> Self {
        Self { source_service: Some(source_service.into()), ..self }
    }

    /// Says which request caused this message, and how many requests led to it.
    #[must_use]
    pub fn caused_by(self, parent_request_id: impl Into<String>, chain_depth: u32) -> Self {
        Self {
            parent_request_id: Some(parent_request_id.into()),
            chain_depth: Some(chain_depth),
            ..self
        }
    }

    /// User headers of the broker's message.
    #[must_use]
    pub fn headers(self, headers: Map<String, Json>) -> Self {
        Self { headers: Some(headers), ..self }
    }

    /// Messages of one key are published in the order of their rows, one confirmed before the next.
    #[must_use]
    pub fn ordering_key(self, ordering_key: impl Into<String>) -> Self {
        Self { ordering_key: Some(ordering_key.into()), ..self }
    }
}

/// Writes a message into the outbox and returns the row's id. Within a transaction the message is sent if and only if
/// that commits; on a pool it is sent from here on.
///
/// ```
/// use postroad_store::{NewMessage, enqueue};
/// use sea_orm::{ConnectionTrait, TransactionTrait};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let database = postroad_store::connect("sqlite::memory:").await?;
/// let db = database.connection();
/// postroad_migration::up(db).await?;
/// db.execute_unprepared("CREATE TABLE orders (id INTEGER PRIMARY KEY)").await?;
///
/// // The order and the message about it: both.
/// let transaction = database.begin().await?;
/// transaction.execute_unprepared("INSERT INTO orders (id) VALUES (1)").await?;
/// let placed = NewMessage::event("event.sales.order.placed", "order.placed", json!({ "order": 1 }));
/// let id = enqueue(&transaction, placed).await?;
/// transaction.commit().await?;
///
/// // Or neither.
/// let transaction = database.begin().await?;
/// transaction.execute_unprepared("INSERT INTO orders (id) VALUES (2)").await?;
/// let placed = NewMessage::event("event.sales.order.placed", "order.placed", json!({ "order": 2 }));
/// enqueue(&transaction, placed).await?;
/// transaction.rollback().await?;
///
/// # use postroad_store::query::outbox;
/// let rows = outbox::list(&database, &outbox::Filter::default()).await?;
/// assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [id]);
/// # let orders = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT count(*) AS n FROM orders");
/// # assert_eq!(db.query_one_raw(orders).await?.unwrap().try_get::<i64>("", "n")?, 1);
/// # Ok(())
/// # }
/// ```
pub async fn enqueue(
    db: &impl ConnectionTrait,
    message: NewMessage,
) -> Result<String, EnqueueError> {
    let dialect =
        Dialect::of(db.get_database_backend()).ok_or(EnqueueError::UnsupportedDatabase)?;
    let id = Uuid::new_v4().to_string();
    let values = [
        id.as_str().into(),
        message.config_key.into(),
        message.message_id.into(),
        message.topic.into(),
        message.request_id.into(),
        message.event_type.into(),
        message.message_type.map(MessageType::as_str).into(),
        message.message_status.map(ResponseStatus::as_str).into(),
        message.source_service.into(),
        message.parent_request_id.into(),
        message.chain_depth.map(i64::from).into(),
        message.reply_to.into(),
        message.payload.into(),
        message.headers.map(|headers| Json::Object(headers).to_string()).into(),
        message.ordering_key.into(),
    ];
    db.execute_raw(INSERT.bind(dialect, values)).await.map_err(EnqueueError::Database)?;
    wake::written();
    Ok(id)
}
