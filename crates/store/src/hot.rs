//! The statements that are run all the time, as they are run, so that a test can look at their plans.

use std::time::Duration;

use postroad_worker_core::Settlement;
use sea_orm::Statement;
use serde_json::json;

use crate::dialect::Dialect;
use crate::inbox_sql::{CLAIM_KEYS, CLAIMED_KEYS, KNOWN};
use crate::outbox::{count, millis};
use crate::outbox_mysql::{first_of, heads_between, lock_due, lock_heads, take};
use crate::outbox_postgres::{postgres_claim, postgres_heads};
use crate::outbox_sql::{PEEK, RENEW};
use crate::outbox_sqlite::{sqlite_claim, sqlite_heads};
use crate::retention::sql::{
    DELETE_DEDUPE, DELETE_INBOX, DELETE_OUTBOX, LOOK_DEDUPE, LOOK_INBOX, LOOK_OUTBOX,
};
use crate::turns::Turn;
use crate::{Database, SqlStore};

const LEASE: Duration = Duration::from_secs(30);

/// Later than everything that is in a table.
const LATER: &str = "2100-01-01T00:00:00.000000Z";
const BEGINNING: &str = "1970-01-01T00:00:00.000000Z";

/// A turn of a claim, from the first ordering key on; half of it is for rows with one.
fn turn(limit: usize) -> Turn {
    Turn::from_the_first(limit, limit / 2)
}

/// What an idle worker asks.
pub fn peek(db: &Database, config_key: &str) -> Statement {
    PEEK.bind(db.dialect(), [config_key.into()])
}

/// What a claim in SQLite begins with: ordering keys that are due.
pub fn heads_in_sqlite(config_key: &str, limit: usize) -> Statement {
    sqlite_heads(config_key, &turn(limit))
}

/// What it goes on with: the lease, of the first rows of these keys and of rows without a key.
pub fn claim_in_sqlite(config_key: &str, token: &str, limit: usize, keys: &[String]) -> Statement {
    sqlite_claim(config_key, token, LEASE, &turn(limit), keys)
}

/// What a claim in PostgreSQL begins with: the first rows of ordering keys.
pub fn heads_in_postgres(config_key: &str, limit: usize) -> Statement {
    postgres_heads(config_key, &turn(limit))
}

/// What it goes on with: the lease, of these keys up to these rows, and of rows without a key.
pub fn claim_in_postgres(
    config_key: &str,
    token: &str,
    limit: usize,
    keys: Vec<String>,
    seqs: Vec<i64>,
) -> Statement {
    postgres_claim(config_key, token, LEASE, &turn(limit), keys, seqs)
}

/// What a claim in MySQL begins with: the first rows of ordering keys.
pub fn mysql_heads(config_key: &str, stretch: usize) -> Statement {
    heads_between(config_key, config_key, stretch)
}

/// What it goes on with: which of them nobody may be writing an earlier row for, and locks of those that are due, and of due
/// rows without an ordering key.
pub fn mysql_locks(config_key: &str, heads: &[i64], limit: usize) -> [Statement; 3] {
    [first_of(heads), lock_heads(heads), lock_due(config_key, limit)]
}

/// What it ends with: the lease.
pub fn mysql_take(token: &str, keys: &[i64]) -> Statement {
    take(token, LEASE, keys)
}

/// A lease goes on.
pub fn renew(db: &Database, token: &str) -> Statement {
    RENEW.bind(db.dialect(), [token.into(), millis(LEASE).into()])
}

/// A statement for each kind of outcome.
pub fn settle(db: &Database, token: &str, settlements: &[Settlement]) -> Vec<Statement> {
    SqlStore::new(db.clone(), "default").settle_statements(token, settlements)
}

/// What asks whether messages came before, by their keys in hex: the insert that claims the keys, and what is known of
/// those that it does not.
pub fn dedupe(db: &Database, config_key: &str, keys: &[String], id: &str) -> Vec<Statement> {
    let dialect = db.dialect();
    let seen: Vec<_> =
        keys.iter().map(|key| json!({ "key": key, "digest": key, "id": id })).collect();
    let (seen, keys) = (json!(seen).to_string(), json!(keys).to_string());
    let mut statements = vec![CLAIM_KEYS.bind(dialect, [config_key.into(), seen.clone().into()])];
    if dialect == Dialect::MySql {
        statements.push(dialect.statement(CLAIMED_KEYS, [seen.into()]));
    }
    statements.push(KNOWN.bind(dialect, [keys.into()]));
    statements
}

/// What a cleaning run does in its batches, with these rows of the outbox and of the inbox and these keys in hex.
pub fn cleanup(db: &Database, config_key: &str, rows: &[i64], keys: &[String]) -> Vec<Statement> {
    let dialect = db.dialect();
    let (key, limit) = (|| config_key.into(), || count(rows.len()));
    let later = || LATER.into();
    let dedupe = [key(), later(), BEGINNING.into(), "".into(), limit()];
    vec![
        LOOK_OUTBOX
            .bind(dialect, [key(), 0_i64.into(), limit(), later(), later(), later(), later()]),
        LOOK_INBOX.bind(dialect, [key(), 0_i64.into(), limit(), later(), later(), later()]),
        DELETE_OUTBOX.bind(dialect, [dialect.keys(rows), "published".into(), later()]),
        DELETE_INBOX.bind(dialect, [dialect.keys(rows), "processed".into(), later()]),
        LOOK_DEDUPE.bind(dialect, dedupe),
        DELETE_DEDUPE.bind(dialect, [json!(keys).to_string().into()]),
    ]
}
