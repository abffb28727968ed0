//! A claim in PostgreSQL: which ordering keys are free, then one statement that takes rows.
//!
//! A row may be committed after another one of its key that was written later. The trigger of the outbox therefore keeps a
//! shared advisory lock on the key of each row until its transaction ends, and a key is free when every transaction has
//! ended that held one after its first row was seen: whatever they wrote is seen by the next statement.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::dialect::Dialect;
use crate::outbox::{Taken, count, millis};
use crate::sql_store::SqlStore;
use crate::turns::Turn;

/// More keys than this that wait at once are not remembered; they begin to wait anew.
const MOST_HELD: usize = 10_000;

/// The first pending row of the first ordering key of a config that compares so, whether it is due, and who writes to the key.
/// How the locks are named is the trigger's to say.
macro_rules! first_of_a_key {
    ($that_compares:literal) => {
        concat!(
            "
        SELECT o.ordering_key, o.seq, o.due_at <= now() AS is_due, concat_ws(' ',
            (SELECT names FROM writer WHERE class = 1886548836 AND object =
                hashtext((o.config_key || ' ' || o.ordering_key) COLLATE \"C\")::bigint & 4294967295),
            (SELECT names FROM writer WHERE class = 1886548837 AND object =
                hashtext((o.config_key || ' ' || o.ordering_key) COLLATE \"C\") & 63)) AS writers
        FROM outbound_event AS o
        WHERE o.config_key = $1 AND o.status = 'pending' AND o.ordering_key ",
            $that_compares,
            "
        ORDER BY o.ordering_key, o.seq LIMIT 1"
        )
    };
}

/// The earliest pending row of each ordering key where it is due, with the transactions that may write, or have written, an
/// earlier one; and the row where the walk ended before the last key. Parameters: config key, ordering key to begin at, how
/// many keys that nobody writes to are enough, how many keys to look at.
///
/// `head` walks the ordering keys and looks only at the first row of each, so that a long queue behind one key costs
/// nothing.
const HEADS: &str = concat!(
    "\
WITH RECURSIVE writer AS MATERIALIZED (
    SELECT classid::bigint AS class, objid::bigint AS object, string_agg(virtualtransaction, ' ') AS names
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid IN (1886548836, 1886548837)
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY classid, objid
),
head AS (
    SELECT first.*, (first.is_due AND first.writers = '')::integer AS found, 1 AS visited
    FROM (",
    first_of_a_key!(">= $2"),
    "
    ) AS first
    UNION ALL
    SELECT next.*, head.found + (next.is_due AND next.writers = '')::integer, head.visited + 1
    FROM head CROSS JOIN LATERAL (",
    first_of_a_key!("> head.ordering_key"),
    "
    ) AS next
    WHERE head.found < $3 AND head.visited < $4
)
SELECT ordering_key, seq, writers, is_due, found >= $3 OR visited >= $4 AS is_end
FROM head WHERE is_due OR visited >= $4"
);

/// Takes due rows under a lease. Parameters: config key, limit, token, lease in milliseconds, free ordering keys, the last
/// row of each that it is free up to, the most rows with an ordering key.
///
/// A materialized CTE locks its rows exactly once; a plain subquery may be run again by the planner.
const CLAIM: &str = "\
WITH keyed AS MATERIALIZED (
    SELECT o.seq
    FROM unnest($5::text[], $6::bigint[]) AS free (ordering_key, seq)
    CROSS JOIN LATERAL (
        SELECT seq FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key = free.ordering_key
        ORDER BY ordering_key, seq LIMIT 1
    ) AS head
    JOIN outbound_event AS o ON o.seq = head.seq
    WHERE head.seq <= free.seq AND o.status = 'pending' AND o.due_at <= now()
    LIMIT $7
    FOR UPDATE OF o SKIP LOCKED
),
unkeyed AS MATERIALIZED (
    SELECT seq FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL AND due_at <= now()
    ORDER BY due_at, seq
    LIMIT $2 - (SELECT count(*) FROM keyed)
    FOR UPDATE SKIP LOCKED
)
UPDATE outbound_event AS o
SET claim_token = $3, claimed_until = now() + $4 * interval '1 millisecond'
FROM (SELECT seq FROM keyed UNION ALL SELECT seq FROM unkeyed) AS due
WHERE o.seq = due.seq
RETURNING o.seq, o.id::text AS id, o.topic, o.message_id, o.message_type, o.message_status, o.request_id,
    o.event_type, o.source_service, o.parent_request_id, o.chain_depth, o.reply_to,
    o.payload::text AS payload, o.headers::text AS headers, o.retry_count, o.ordering_key,
    floor(extract(epoch FROM o.created_at))::bigint AS created_at,
    to_char(coalesce(o.next_retry_at, o.enqueued_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS due";

/// Ordering keys that somebody was writing to when their first row was seen.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<String, Wait>);

#[derive(Debug)]
struct Wait {
    /// The row that was seen.
    seq: i64,
    /// The transactions that have to end before it is known to be the first.
    writers: Vec<String>,
}

/// The first row of an ordering key, as it was found.
struct Head {
    key: String,
    seq: i64,
    writers: Vec<String>,
}

impl Held {
    /// The row up to which the key is free, now that these transactions write to it; `None` where it is to wait.
    fn free_up_to(&mut self, head: Head) -> Option<(String, i64)> {
        let Head { key, seq, writers } = head;
        if writers.is_empty() {
            self.0.remove(&key);
            return Some((key, seq));
        }
        if let Some(wait) = self.0.get_mut(&key) {
            wait.writers.retain(|writer| writers.contains(writer));
            // Transactions that began since cannot write a row before one that was there already.
            if wait.writers.is_empty() {
                let up_to = wait.seq;
                self.0.remove(&key);
                if seq <= up_to {
                    return Some((key, up_to));
                }
            } else if seq <= wait.seq {
                return None;
            }
        }
        if self.0.len() >= MOST_HELD {
            self.0.clear();
        }
        self.0.insert(key, Wait { seq, writers });
        None
    }
}

impl SqlStore {
    /// Takes the rows of one turn.
    pub(crate) async fn claim_in_postgres(
        &self,
        token: &str,
        lease: Duration,
        turn: &Turn,
    ) -> Result<Taken, DbErr> {
        let (free, end) = self.free_keys(turn).await?;
        let (keys, seqs): (Vec<String>, Vec<i64>) = free.into_iter().unzip();
        let statement = postgres_claim(self.config_key(), token, lease, turn, keys, seqs);
        Ok(Taken { rows: self.database().connection().query_all_raw(statement).await?, end })
    }

    /// Ordering keys whose first row may be taken, and up to which row that is known; and the key where the walk ended before
    /// the last one.
    async fn free_keys(&self, turn: &Turn) -> Result<(Vec<(String, i64)>, Option<String>), DbErr> {
        if turn.keyed == 0 {
            return Ok((Vec::new(), None));
        }
        let statement = postgres_heads(self.config_key(), turn);
        let rows = self.database().connection().query_all_raw(statement).await?;
        let mut heads = Vec::new();
        let mut end = None;
        for row in &rows {
            if row.try_get("", "is_end")? {
                end = Some(row.try_get("", "ordering_key")?);
            }
            if row.try_get("", "is_due")? {
                heads.push(head(row)?);
            }
        }
        let mut held = self.held();
        Ok((heads.into_iter().filter_map(|head| held.free_up_to(head)).collect(), end))
    }
}

/// The first rows of ordering keys.
pub(crate) fn postgres_heads(config_key: &str, turn: &Turn) -> Statement {
    let values =
        [config_key.into(), turn.from.as_str().into(), count(turn.keyed), count(turn.visits())];
    Dialect::Postgres.statement(HEADS, values)
}

/// Takes the rows of a turn; of each of these keys the first, where it is not behind the row that goes with the key.
pub(crate) fn postgres_claim(
    config_key: &str,
    token: &str,
    lease: Duration,
    turn: &Turn,
    keys: Vec<String>,
    seqs: Vec<i64>,
) -> Statement {
    let values = [
        config_key.into(),
        count(turn.limit),
        token.into(),
        millis(lease).into(),
        keys.into(),
        seqs.into(),
        count(turn.keyed),
    ];
    Dialect::Postgres.statement(CLAIM, values)
}

fn head(row: &QueryResult) -> Result<Head, DbErr> {
    let writers: String = row.try_get("", "writers")?;
    let writers = writers.split_whitespace().map(str::to_owned).collect();
    Ok(Head { key: row.try_get("", "ordering_key")?, seq: row.try_get("", "seq")?, writers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: i64, writers: &[&str]) -> Head {
        let writers = writers.iter().map(|&writer| writer.to_owned()).collect();
        Head { key: "k".to_owned(), seq, writers }
    }

    fn free(seq: i64) -> (String, i64) {
        ("k".to_owned(), seq)
    }

    #[test]
    fn a_key_that_nobody_writes_to_is_free() {
        assert_eq!(Held::default().free_up_to(head(6, &[])), Some(free(6)));
    }

    #[test]
    fn a_key_waits_for_those_who_wrote_when_its_first_row_was_seen_and_for_nobody_else() {
        let mut held = Held::default();
        assert_eq!(held.free_up_to(head(6, &["3/7", "4/1"])), None);
        assert_eq!(held.free_up_to(head(6, &["4/1", "5/2"])), None);
        assert_eq!(held.free_up_to(head(6, &["5/2", "6/3"])), Some(free(6)));
    }

    #[test]
    fn what_was_committed_meanwhile_goes_first() {
        let mut held = Held::default();
        assert_eq!(held.free_up_to(head(6, &["3/7"])), None);
        assert_eq!(held.free_up_to(head(5, &["5/2"])), Some(free(6)));
    }

    #[test]
    fn a_row_that_came_to_be_the_first_waits_anew() {
        let mut held = Held::default();
        assert_eq!(held.free_up_to(head(6, &["3/7"])), None);
        assert_eq!(held.free_up_to(head(8, &["3/7", "4/1"])), None);
        assert_eq!(held.free_up_to(head(8, &["4/1"])), None);
        assert_eq!(held.free_up_to(head(8, &["5/1"])), Some(free(8)));
    }
}
