//! The statements that are run all the time, as they are run, so that a test can look at their plans.

use std::time::Duration;

use postroad_worker_core::Settlement;
use sea_orm::Statement;
use serde_json::json;

use crate::dialect::Dialect;
use crate::inbox_sql::{CLAIM_KEYS, CLAIMED_KEYS, KNOWN};
use crate::outbox::{claim_statement, millis};
use crate::outbox_mysql::{heads_between, lock_due, lock_heads, take};
use crate::outbox_sql::RENEW;
use crate::turns::Turn;
use crate::{Database, SqlStore};

const LEASE: Duration = Duration::from_secs(30);

/// A turn of a claim, from the first ordering key on; half of it is for rows with one. Not in MySQL.
pub fn claim(db: &Database, config_key: &str, token: &str, limit: usize) -> Statement {
    let turn = Turn { limit, keyed: limit / 2, from: String::new() };
    claim_statement(db.dialect(), config_key, token, LEASE, &turn)
}

/// What a claim in MySQL begins with: the first rows of ordering keys.
pub fn mysql_heads(config_key: &str, stretch: usize) -> Statement {
    heads_between(config_key, &format!("{config_key}\u{1}"), stretch)
}

/// What it goes on with: locks of those that are due, and of due rows without an ordering key.
pub fn mysql_locks(config_key: &str, heads: &[i64], limit: usize) -> [Statement; 2] {
    [lock_heads(heads), lock_due(config_key, limit)]
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
