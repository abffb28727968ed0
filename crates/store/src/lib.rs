//! Persistence: entities and every SQL statement there is.
//!
//! - [`connect`] opens a [`Database`]; `postroad_migration::up` makes its tables.
//! - [`enqueue`] writes a [`NewMessage`] into the outbox, in the caller's own transaction.
//! - [`SqlStore`] is what the engine works on: outbox, inbox and list of workers of one config.
//! - [`config`] reads and changes the runtime configuration, [`query`] is for looking at it all.

pub mod config;
pub mod entity;
pub mod query;

mod arrival;
mod database;
mod database_url;
mod dialect;
mod enqueue;
mod fault;
mod inbox;
mod inbox_sql;
mod outbox;
mod outbox_mysql;
mod outbox_sql;
mod secret;
mod sql_store;
mod string_list;
mod text;
mod turns;
mod wake;
mod workers;

pub use database::{ConnectError, Database, connect};
pub use enqueue::{EnqueueError, NewMessage, enqueue};
pub use secret::{Secret, SecretError};
pub use sql_store::SqlStore;
pub use string_list::StringList;
