//! A database whose clock was set back. What was to be done by the old time would wait until the new one has come so far:
//! rows that were enqueued, claims of workers that are gone, retries, the cleaning.
//!
//! Whatever lies further ahead than Postroad itself ever puts it is brought back to now, when a worker begins and when it sees the
//! clock go back; a long queue is searched beside the claims. A step that is shorter than [`AHEAD_SECONDS`] delays by no more than
//! its length.

use std::time::{Duration, Instant};

use sea_orm::{DbErr, QuerySelect, Statement};

use crate::dialect::{Dialect, Sql};
use crate::entity::runtime_config;
use crate::health::clock;
use crate::sql_store::SqlStore;

/// Above the longest lease that a worker may have, one hour.
const AHEAD_SECONDS: i64 = 3_900;
/// Between two looks at the database's clock. What was enqueued while it was wrong for a shorter time may not be noticed before
/// a worker starts.
const LOOK: Duration = Duration::from_secs(15);
/// A step of less is not worth a search.
const STEP_MILLIS: i64 = 60_000;
/// Rows with an ordering key that a worker looks at before its first claim; the rest has time until the next look, so that
/// workers that are started all the time do not read a long queue each time, which takes seconds.
const FIRST_KEYED: i64 = 10_000;
/// Rows that are mended at a time.
const BATCH: usize = 1_000;

macro_rules! wrong_in_sqlite {
    () => {
        "\
(enqueued_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds')
        OR claimed_until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds')
        OR (retry_count > 0 AND strftime('%Y-%m-%dT%H:%M:%fZ', next_retry_at)
            > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%d seconds', $2))))"
    };
}

macro_rules! wrong_in_postgres {
    () => {
        "\
(enqueued_at > now() + interval '3900 seconds' OR claimed_until > now() + interval '3900 seconds'
        OR (retry_count > 0 AND next_retry_at > now() + $2 * interval '1 second'))"
    };
}

macro_rules! wrong_in_mysql {
    () => {
        "\
(enqueued_at > utc_timestamp(6) + INTERVAL 3900 SECOND OR claimed_until > utc_timestamp(6) + INTERVAL 3900 SECOND
        OR (retry_count > 0 AND next_retry_at > utc_timestamp(6) + INTERVAL $2 SECOND))"
    };
}

/// Pending rows with a time that is too far ahead. One that a person put off has not been tried yet. Parameters: config key,
/// seconds that a retry may be ahead, limit, how many rows with an ordering key to look at: no index knows their times.
const FIND: Sql = Sql {
    sqlite: concat!(
        "\
SELECT seq FROM outbound_event
WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL
    AND due_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds') AND ",
        wrong_in_sqlite!(),
        "
UNION ALL
SELECT seq FROM (
    SELECT seq, due_at, enqueued_at, claimed_until, retry_count, next_retry_at FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL
    ORDER BY ordering_key, seq LIMIT $4
)
WHERE due_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds') AND ",
        wrong_in_sqlite!(),
        " LIMIT $3"
    ),
    postgres: concat!(
        "\
SELECT seq FROM outbound_event
WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL
    AND due_at > now() + interval '3900 seconds' AND ",
        wrong_in_postgres!(),
        "
UNION ALL
SELECT seq FROM (
    SELECT seq, due_at, enqueued_at, claimed_until, retry_count, next_retry_at FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL
    ORDER BY ordering_key, seq LIMIT $4
) AS keyed
WHERE due_at > now() + interval '3900 seconds' AND ",
        wrong_in_postgres!(),
        " LIMIT $3"
    ),
    mysql: concat!(
        "\
SELECT seq FROM outbound_event FORCE INDEX (outbound_event_due)
WHERE due_config = $1 AND due_at > utc_timestamp(6) + INTERVAL 3900 SECOND AND ",
        wrong_in_mysql!(),
        "
UNION ALL
SELECT seq FROM (
    SELECT seq, due_at, enqueued_at, claimed_until, retry_count, next_retry_at
    FROM outbound_event FORCE INDEX (outbound_event_ordering)
    WHERE ordering_turn > $1 AND ordering_turn < concat($1, char(1 USING utf8mb4))
    ORDER BY ordering_turn, seq LIMIT $4
) AS keyed
WHERE due_at > utc_timestamp(6) + INTERVAL 3900 SECOND AND ",
        wrong_in_mysql!(),
        " LIMIT $3"
    ),
};

/// Brings every such time of these rows back. Parameters: primary keys, seconds that a retry may be ahead.
const MEND: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET enqueued_at = min(enqueued_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    next_retry_at = CASE WHEN retry_count > 0 AND strftime('%Y-%m-%dT%H:%M:%fZ', next_retry_at)
            > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%d seconds', $2))
        THEN strftime('%Y-%m-%dT%H:%M:%fZ', 'now') ELSE next_retry_at END,
    claim_token = CASE WHEN claimed_until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds')
        THEN NULL ELSE claim_token END,
    claimed_until = CASE WHEN claimed_until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3900 seconds')
        THEN NULL ELSE claimed_until END
WHERE status = 'pending' AND seq IN (SELECT value FROM json_each($1))",
    postgres: "\
UPDATE outbound_event
SET enqueued_at = least(enqueued_at, now()),
    next_retry_at = CASE WHEN retry_count > 0 AND next_retry_at > now() + $2 * interval '1 second'
        THEN now() ELSE next_retry_at END,
    claim_token = CASE WHEN claimed_until > now() + interval '3900 seconds' THEN NULL ELSE claim_token END,
    claimed_until = CASE WHEN claimed_until > now() + interval '3900 seconds' THEN NULL ELSE claimed_until END
WHERE status = 'pending' AND seq = ANY($1)",
    // It assigns from left to right, each with what the one before has changed.
    mysql: "\
UPDATE JSON_TABLE($1, '$[*]' COLUMNS (seq bigint PATH '$')) AS late
STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = late.seq
SET o.enqueued_at = least(o.enqueued_at, utc_timestamp(6)),
    o.next_retry_at = CASE WHEN o.retry_count > 0 AND o.next_retry_at > utc_timestamp(6) + INTERVAL $2 SECOND
        THEN utc_timestamp(6) ELSE o.next_retry_at END,
    o.claim_token = CASE WHEN o.claimed_until > utc_timestamp(6) + INTERVAL 3900 SECOND
        THEN NULL ELSE o.claim_token END,
    o.claimed_until = CASE WHEN o.claimed_until > utc_timestamp(6) + INTERVAL 3900 SECOND
        THEN NULL ELSE o.claimed_until END
WHERE o.status = 'pending'",
};

/// A cleaning is never further ahead than a day. Parameter: config key.
const MEND_CLEANING: Sql = Sql {
    sqlite: "\
UPDATE event_bus_maintenance
SET next_run_at = min(next_run_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), lease_token = NULL, leased_until = NULL
WHERE config_key = $1 AND (next_run_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 day')
    OR leased_until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 day'))",
    postgres: "\
UPDATE event_bus_maintenance SET next_run_at = least(next_run_at, now()), lease_token = NULL, leased_until = NULL
WHERE config_key = $1 AND (next_run_at > now() + interval '1 day' OR leased_until > now() + interval '1 day')",
    mysql: "\
UPDATE event_bus_maintenance
SET next_run_at = least(next_run_at, utc_timestamp(6)), lease_token = NULL, leased_until = NULL
WHERE config_key = $1
    AND (next_run_at > utc_timestamp(6) + INTERVAL 1 DAY OR leased_until > utc_timestamp(6) + INTERVAL 1 DAY)",
};

/// A worker that lives says so again at once; one that is gone would be taken for alive.
const MEND_WORKERS: Sql = Sql {
    sqlite: "\
UPDATE event_bus_worker SET last_heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE last_heartbeat_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 minute')",
    postgres: "\
UPDATE event_bus_worker SET last_heartbeat_at = now() WHERE last_heartbeat_at > now() + interval '1 minute'",
    mysql: "\
UPDATE event_bus_worker SET last_heartbeat_at = utc_timestamp(6)
WHERE last_heartbeat_at > utc_timestamp(6) + INTERVAL 1 MINUTE",
};

/// What the database's clock said, and when that was by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    at: Instant,
    millis: i64,
    search: Search,
}

/// Whether every row was looked at since the worker began, or since the clock went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    ToDo,
    UnderWay,
    Done,
}

impl Seen {
    /// Whether the clock says less now than it would have if nobody had touched it.
    fn is_set_back(self, now: Self) -> bool {
        let passed = now.at.saturating_duration_since(self.at).as_millis();
        let expected = self.millis.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        now.millis < expected.saturating_sub(STEP_MILLIS)
    }
}

impl SqlStore {
    /// Now and then, looks at the database's clock; where it was set back, and at first, brings back what waits for the old
    /// time.
    pub(crate) async fn mind_the_clock(&self) -> Result<(), DbErr> {
        let before = *self.seen();
        if before.is_some_and(|seen| seen.at.elapsed() < LOOK) {
            return Ok(());
        }
        let millis = clock::millis(self.database()).await?;
        let now = Seen { at: Instant::now(), millis, search: Search::ToDo };
        let begins = match before {
            None => {
                self.bring_back(FIRST_KEYED).await?;
                false
            }
            // A search that is under way may have passed what is wrong only now.
            Some(before) => before.is_set_back(now) || before.search == Search::ToDo,
        };
        {
            let mut seen = self.seen();
            let search = seen.map_or(now.search, |seen| seen.search);
            *seen = Some(Seen { search: if begins { Search::UnderWay } else { search }, ..now });
        }
        if begins {
            tokio::spawn(self.clone().bring_back_all());
        }
        Ok(())
    }

    /// Where it fails, the next look begins anew.
    async fn bring_back_all(self) {
        let search = match self.bring_back(i64::MAX).await {
            Ok(()) => Search::Done,
            Err(error) => {
                tracing::debug!(%error, "no search for times of a clock that was set back");
                Search::ToDo
            }
        };
        if let Some(seen) = self.seen().as_mut() {
            seen.search = search;
        }
    }

    /// `keyed`: as in [`FIND`].
    async fn bring_back(&self, keyed: i64) -> Result<(), DbErr> {
        let (db, dialect) = (self.database(), self.database().dialect());
        let retry = self.longest_backoff().await?.saturating_add(AHEAD_SECONDS);
        let mut mended = 0;
        loop {
            let find = wrong_times(dialect, self.config_key(), retry, keyed);
            let found = db.query_all(find).await?;
            let keys: Result<Vec<i64>, _> =
                found.iter().map(|row| row.try_get("", "seq")).collect();
            let keys = keys?;
            if keys.is_empty() {
                break;
            }
            let mend = MEND.bind(dialect, [dialect.keys(&keys), retry.into()]);
            let rows = db.execute(mend).await?;
            mended += rows;
            // Somebody else does the same.
            if rows == 0 || keys.len() < BATCH {
                break;
            }
        }
        db.execute(MEND_CLEANING.bind(dialect, [self.config_key().into()])).await?;
        db.execute(MEND_WORKERS.bind(dialect, [])).await?;
        if mended > 0 {
            tracing::warn!(
                rows = mended,
                "the database's clock was set back: rows that waited for the time before are due now"
            );
        }
        Ok(())
    }

    async fn longest_backoff(&self) -> Result<i64, DbErr> {
        let found: Option<u32> = runtime_config::Entity::find_by_config_key(self.config_key())
            .select_only()
            .column(runtime_config::Column::RetryBackoffMaxSeconds)
            .into_tuple()
            .one(self.database().connection())
            .await?;
        Ok(found.unwrap_or_default().into())
    }
}

/// Rows whose times are too far ahead.
fn wrong_times(dialect: Dialect, config_key: &str, retry_seconds: i64, keyed: i64) -> Statement {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    FIND.bind(dialect, [config_key.into(), retry_seconds.into(), limit.into(), keyed.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the clock says after ten minutes, beside the ten minutes.
    #[track_caller]
    fn check(off: i64, is_set_back: bool) {
        let before = Seen { at: Instant::now(), millis: 1_000_000_000, search: Search::Done };
        let passed = Duration::from_mins(10);
        let millis = before.millis + i64::try_from(passed.as_millis()).unwrap() + off;
        let now = Seen { at: before.at + passed, millis, ..before };
        assert_eq!(before.is_set_back(now), is_set_back, "{off}");
    }

    #[test]
    fn a_clock_that_goes_as_it_should_is_left_alone() {
        check(0, false);
        check(-59_000, false);
        check(172_800_000, false);
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        check(-61_000, true);
        check(-172_800_000, true);
    }
}
