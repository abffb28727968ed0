//! A claim in MariaDB and MySQL, which return nothing from an update: look, lock, take, in one short transaction.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::dialect::Dialect;
use crate::outbox::{Taken, count, execute, millis};
use crate::sql_store::SqlStore;
use crate::turns::Turn;

/// The earliest pending row of each ordering key in a stretch of the index, how many rows of the key were in it, and whether
/// the first is due. Parameters: config key, turn to begin behind, length of the stretch.
///
/// These databases walk an index from one key to the next only by reading what lies between. A key with a long queue
/// costs one stretch, because the next one begins behind it. The key is cut out of its turn, and 500 is what it may have,
/// because MariaDB makes a file for each temporary table with texts of more than 512 characters (its
/// `CONVERT_IF_BIGGER_TO_BLOB`): that took two and a half times as long.
const HEADS: &str = "\
SELECT head.seq, head.queued, o.ordering_key, o.due_at <= utc_timestamp(6) AS is_due
FROM (
    SELECT turn_key, min(seq) AS seq, count(*) AS queued
    FROM (
        SELECT substr(ordering_turn, char_length($1) + 2, 500) AS turn_key, seq
        FROM outbound_event FORCE INDEX (outbound_event_ordering)
        WHERE ordering_turn > $2 AND ordering_turn < concat($1, char(1 USING utf8mb4))
        ORDER BY ordering_turn, seq LIMIT $3
    ) AS stretch
    GROUP BY turn_key
) AS head STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = head.seq
ORDER BY head.turn_key";

const COLUMNS: &str = "\
o.seq, o.id, o.topic, o.message_id, o.message_type, o.message_status, o.request_id, o.event_type, o.source_service,
    o.parent_request_id, o.chain_depth, o.reply_to, o.payload, o.headers, CAST(o.retry_count AS unsigned) AS retry_count,
    o.ordering_key, timestampdiff(SECOND, '1970-01-01', o.created_at) AS created_at,
    CAST(coalesce(o.next_retry_at, o.enqueued_at) AS char) AS due";

/// Those of these rows that no other transaction may be writing an earlier one for. Read uncommitted, so that a row is seen
/// that may still be committed; that none is pending which was, is what `HEADS` has found. Parameter: JSON list of primary
/// keys.
const FIRST: &str = "\
SELECT o.seq
FROM JSON_TABLE($1, '$[*]' COLUMNS (seq bigint PATH '$')) AS head STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = head.seq
WHERE NOT EXISTS (
    SELECT 1 FROM outbound_event AS earlier FORCE INDEX (outbound_event_ordering)
    WHERE earlier.ordering_turn = o.ordering_turn AND earlier.seq < o.seq
)";

/// Parameter: JSON list of primary keys.
const LOCK_HEADS: &str = "\
FROM JSON_TABLE($1, '$[*]' COLUMNS (seq bigint PATH '$')) AS head STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = head.seq
WHERE o.status = 'pending' AND o.due_at <= utc_timestamp(6)
FOR UPDATE SKIP LOCKED";

/// Parameters: config key, limit.
const LOCK_DUE: &str = "\
FROM outbound_event AS o FORCE INDEX (outbound_event_due)
WHERE o.due_config = $1 AND o.due_at <= utc_timestamp(6)
ORDER BY o.due_at, o.seq LIMIT $2
FOR UPDATE SKIP LOCKED";

/// Parameters: token, lease in milliseconds, JSON list of primary keys.
const TAKE: &str = "\
UPDATE JSON_TABLE($3, '$[*]' COLUMNS (seq bigint PATH '$')) AS due STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = due.seq
SET o.claim_token = $1, o.claimed_until = utc_timestamp(6) + INTERVAL $2 * 1000 MICROSECOND";

/// The shortest stretch of the index that is looked through for heads.
const STRETCH: usize = 256;

/// As many are read in a turn, where long queues fill them.
const MOST_STRETCHES: usize = 16;

const MYSQL: Dialect = Dialect::MySql;

impl SqlStore {
    /// Takes the rows of one turn.
    pub(crate) async fn claim_in_mysql(
        &self,
        token: &str,
        lease: Duration,
        turn: &Turn,
    ) -> Result<Taken, DbErr> {
        let (heads, end) = self.heads(turn).await?;
        let transaction = self.database().begin_claim(!heads.is_empty()).await?;
        let mut rows = Vec::new();
        if !heads.is_empty() {
            let first = seqs(&transaction.query_all_raw(first_of(&heads)).await?)?;
            rows = transaction.query_all_raw(lock_heads(&first)).await?;
        }
        let free = turn.limit.saturating_sub(rows.len());
        if free > 0 {
            let due = lock_due(self.config_key(), free);
            rows.extend(transaction.query_all_raw(due).await?);
        }
        if !rows.is_empty() {
            execute(&transaction, take(token, lease, &seqs(&rows)?)).await?;
        }
        transaction.commit().await?;
        Ok(Taken { rows, end })
    }

    /// The first rows of ordering keys, as many due ones as there may be with a key, from where the turn begins; and the key
    /// where the look at them ended before the last one.
    async fn heads(&self, turn: &Turn) -> Result<(Vec<i64>, Option<String>), DbErr> {
        let config_key = self.config_key();
        let behind = |key: &str| format!("{config_key}\0{key}");
        let mut from = match turn.from.as_str() {
            // Before every key, the empty one too.
            "" => config_key.to_owned(),
            key => behind(key.trim_end_matches('\u{1}')),
        };
        let stretch = (4 * turn.keyed).max(STRETCH);
        let mut heads = Vec::new();
        let mut visited = 0;
        let mut stretches = 0;
        while heads.len() < turn.keyed && visited < turn.visits() && stretches < MOST_STRETCHES {
            stretches += 1;
            let found = self.database().connection();
            let found = found.query_all_raw(heads_between(config_key, &from, stretch)).await?;
            let mut looked_at = 0;
            for row in &found {
                looked_at += row.try_get::<i64>("", "queued")?;
                from = behind(row.try_get::<String>("", "ordering_key")?.as_str());
                visited += 1;
                if row.try_get("", "is_due")? {
                    heads.push(row.try_get("", "seq")?);
                }
                if heads.len() == turn.keyed {
                    break;
                }
            }
            let is_last = usize::try_from(looked_at).is_ok_and(|looked_at| looked_at < stretch);
            if is_last && heads.len() < turn.keyed {
                return Ok((heads, None));
            }
        }
        let key = from.split_once('\0').map(|(_, key)| key.to_owned());
        Ok((heads, key.filter(|_| turn.keyed > 0)))
    }
}

/// The first rows of ordering keys in a stretch of the index.
pub(crate) fn heads_between(config_key: &str, from: &str, stretch: usize) -> Statement {
    MYSQL.statement(HEADS, [config_key.into(), from.into(), count(stretch)])
}

/// Those of these rows that nobody may be writing an earlier one for.
pub(crate) fn first_of(heads: &[i64]) -> Statement {
    MYSQL.statement(FIRST, [MYSQL.keys(heads)])
}

/// Locks those of these rows that are due.
pub(crate) fn lock_heads(keys: &[i64]) -> Statement {
    MYSQL.statement(format!("SELECT {COLUMNS}\n{LOCK_HEADS}"), [MYSQL.keys(keys)])
}

/// Locks due rows without an ordering key.
pub(crate) fn lock_due(config_key: &str, limit: usize) -> Statement {
    MYSQL.statement(format!("SELECT {COLUMNS}\n{LOCK_DUE}"), [config_key.into(), count(limit)])
}

/// Leases locked rows.
pub(crate) fn take(token: &str, lease: Duration, keys: &[i64]) -> Statement {
    MYSQL.statement(TAKE, [token.into(), millis(lease).into(), MYSQL.keys(keys)])
}

fn seqs(rows: &[QueryResult]) -> Result<Vec<i64>, DbErr> {
    rows.iter().map(|row| row.try_get("", "seq")).collect()
}
