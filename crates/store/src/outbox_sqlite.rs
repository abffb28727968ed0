//! A claim in SQLite: which ordering keys are due, then one statement that takes rows. The first only reads, so that however many
//! keys there are, nobody waits to write meanwhile.

use std::time::Duration;

use sea_orm::{DbErr, Statement};

use crate::dialect::Dialect;
use crate::outbox::{Taken, count, millis};
use crate::sql_store::SqlStore;
use crate::turns::Turn;

/// The ordering keys whose earliest pending row is due, and the key where the walk ended before the last one. Parameters:
/// config key, ordering key to begin at, how many are enough, how many keys to look at.
///
/// `head` walks the ordering keys and looks only at the earliest pending row of each, so that a long queue behind one
/// key costs nothing; a claimed row is still pending, so it holds the others back as well.
const HEADS: &str = "\
WITH RECURSIVE head (ordering_key, is_due, found, visited) AS (
    SELECT o.ordering_key, o.due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
        o.due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 1
    FROM outbound_event AS o
    WHERE o.seq = (
        SELECT seq FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key >= $2
        ORDER BY ordering_key, seq LIMIT 1)
    UNION ALL
    SELECT o.ordering_key, o.due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
        head.found + (o.due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), head.visited + 1
    FROM head JOIN outbound_event AS o ON o.seq = (
        SELECT seq FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key > head.ordering_key
        ORDER BY ordering_key, seq LIMIT 1)
    WHERE head.found < $3 AND head.visited < $4
)
SELECT ordering_key, is_due, found >= $3 OR visited >= $4 AS is_end FROM head WHERE is_due OR visited >= $4";

/// Takes due rows under a lease. Parameters: config key, limit, token, lease in milliseconds, JSON list of ordering keys.
const CLAIM: &str = "\
WITH keyed AS MATERIALIZED (
    SELECT o.seq
    FROM json_each($5) AS due JOIN outbound_event AS o ON o.seq = (
        SELECT seq FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key = due.value
        ORDER BY ordering_key, seq LIMIT 1)
    WHERE o.due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
),
unkeyed AS MATERIALIZED (
    SELECT seq FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL
      AND due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    ORDER BY due_at, seq
    LIMIT $2 - (SELECT count(*) FROM keyed)
)
UPDATE outbound_event
SET claim_token = $3, claimed_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', $4 / 1000.0))
WHERE seq IN (SELECT seq FROM keyed UNION ALL SELECT seq FROM unkeyed)
RETURNING seq, id, topic, message_id, message_type, message_status, request_id, event_type, source_service,
    parent_request_id, chain_depth, reply_to, payload, headers, retry_count, ordering_key,
    CAST(strftime('%s', created_at) AS INTEGER) AS created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(next_retry_at, enqueued_at)) AS due";

impl SqlStore {
    /// Takes the rows of one turn.
    pub(crate) async fn claim_in_sqlite(
        &self,
        token: &str,
        lease: Duration,
        turn: &Turn,
    ) -> Result<Taken, DbErr> {
        let (keys, end) = self.due_keys(turn).await?;
        let statement = sqlite_claim(self.config_key(), token, lease, turn, &keys);
        Ok(Taken { rows: self.database().query_all(statement).await?, end })
    }

    /// Ordering keys that have a row to take, and the key where the walk ended before the last one.
    async fn due_keys(&self, turn: &Turn) -> Result<(Vec<String>, Option<String>), DbErr> {
        let mut keys = Vec::new();
        let mut end = None;
        if turn.keyed > 0 {
            let statement = sqlite_heads(self.config_key(), turn);
            for row in self.database().query_all(statement).await? {
                let key: String = row.try_get("", "ordering_key")?;
                if row.try_get("", "is_end")? {
                    end = Some(key.clone());
                }
                if row.try_get("", "is_due")? {
                    keys.push(key);
                }
            }
        }
        Ok((keys, end))
    }
}

/// Ordering keys that have a row to take.
pub(crate) fn sqlite_heads(config_key: &str, turn: &Turn) -> Statement {
    let values =
        [config_key.into(), turn.from.as_str().into(), count(turn.keyed), count(turn.visits())];
    Dialect::Sqlite.statement(HEADS, values)
}

/// Takes the rows of a turn; of each of these keys the first.
pub(crate) fn sqlite_claim(
    config_key: &str,
    token: &str,
    lease: Duration,
    turn: &Turn,
    keys: &[String],
) -> Statement {
    let keys = serde_json::to_string(keys).expect("texts are JSON");
    let values =
        [config_key.into(), count(turn.limit), token.into(), millis(lease).into(), keys.into()];
    Dialect::Sqlite.statement(CLAIM, values)
}
