//! Persistence: entities and every SQL statement there is.
//!
//! - [`connect`] opens a [`Database`]; `postroad_migration::up` makes its tables.
//! - [`enqueue()`] writes a [`NewMessage`] into the outbox, [`enqueue_all()`] many, in the caller's own transaction.
//! - [`SqlStore`] is what the engine works on: outbox, inbox, list of workers and retention of one config.
//! - [`health`] checks a database, for programs that are about to work on it and for a person.
//! - [`config`] reads and changes the runtime configuration, [`query`] is for looking at it all.

pub mod config;
pub mod entity;
pub mod health;
#[doc(hidden)]
pub mod hot;
pub mod query;

mod arrival;
mod database;
mod database_url;
mod dialect;
mod enqueue;
mod enqueue_all;
mod fault;
mod inbox;
mod inbox_sql;
mod outbox;
mod outbox_mysql;
mod outbox_postgres;
mod outbox_sql;
mod outbox_sqlite;
mod retention;
mod secret;
mod set_back;
mod sql_store;
mod string_list;
mod text;
mod turns;
mod wake;
mod wake_sqlite;
mod workers;
mod write_lock;

pub use database::{ConnectError, Database, connect};
pub use enqueue::{EnqueueError, NewMessage, enqueue};
pub use enqueue_all::enqueue_all;
pub use retention::CleaningRun;
pub use secret::{Secret, SecretError};
pub use sql_store::SqlStore;
pub use string_list::StringList;
