//! Rows that wait for longer than a worker would let them.

use std::time::Duration;

use postroad_worker_core::Finding;
use sea_orm::{DbErr, FromQueryResult};

use super::{bound, every, in_words, one};
use crate::Database;
use crate::dialect::Sql;

/// A lease that ended so long ago was not taken over.
const ABANDONED_SECONDS: u32 = 60;
/// A row that is due for so long was looked at by nobody.
const LATE: Duration = Duration::from_mins(5);

/// Claimed rows are few: as many as workers have in hand, and what dead ones had.
const LEASES: Sql = Sql {
    sqlite: "\
SELECT count(*) AS held, count(CASE WHEN claimed_until < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-60 seconds') THEN 1 END)
    AS abandoned FROM outbound_event WHERE claim_token IS NOT NULL",
    postgres: "\
SELECT count(*) AS held, count(CASE WHEN claimed_until < now() - interval '60 seconds' THEN 1 END) AS abandoned
FROM outbound_event WHERE claim_token IS NOT NULL",
    mysql: "\
SELECT count(*) AS held, count(CASE WHEN claimed_until < utc_timestamp(6) - INTERVAL 60 SECOND THEN 1 END) AS abandoned
FROM outbound_event WHERE claim_token IS NOT NULL",
};

/// How long the row has been due that was due first: of those without an ordering key, and of the first of those with
/// one. Parameter: config key.
const OLDEST: Sql = Sql {
    sqlite: "\
SELECT CAST((julianday('now') - julianday(min(due_at))) * 86400 AS integer) AS seconds FROM (
    SELECT * FROM (SELECT due_at FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL ORDER BY due_at, seq LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT due_at FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL ORDER BY ordering_key, seq LIMIT 1000))",
    postgres: "\
SELECT floor(extract(epoch FROM now() - min(due_at)))::bigint AS seconds FROM (
    (SELECT due_at FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL ORDER BY due_at, seq LIMIT 1)
    UNION ALL
    (SELECT due_at FROM outbound_event
        WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL ORDER BY ordering_key, seq LIMIT 1000)
) AS waiting",
    mysql: "\
SELECT timestampdiff(SECOND, min(due_at), utc_timestamp(6)) AS seconds FROM (
    (SELECT due_at FROM outbound_event FORCE INDEX (outbound_event_due)
        WHERE due_config = $1 ORDER BY due_at, seq LIMIT 1)
    UNION ALL
    (SELECT due_at FROM outbound_event FORCE INDEX (outbound_event_ordering)
        WHERE ordering_turn > $1 AND ordering_turn < concat($1, char(1)) ORDER BY ordering_turn, seq LIMIT 1000)
) AS waiting",
};

#[derive(FromQueryResult)]
struct Leases {
    held: i64,
    abandoned: i64,
}

/// The next config key of rows that wait. Parameter: the one before.
const NEXT_KEY: Sql = Sql {
    sqlite: "\
SELECT min(config_key) AS config_key FROM (
    SELECT * FROM (SELECT config_key FROM outbound_event
        WHERE config_key > $1 AND status = 'pending' AND ordering_key IS NULL ORDER BY config_key, due_at, seq LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT config_key FROM outbound_event
        WHERE config_key > $1 AND status = 'pending' AND ordering_key IS NOT NULL
        ORDER BY config_key, ordering_key, seq LIMIT 1))",
    postgres: "\
SELECT min(config_key) AS config_key FROM (
    (SELECT config_key FROM outbound_event
        WHERE config_key > $1 AND status = 'pending' AND ordering_key IS NULL ORDER BY config_key, due_at, seq LIMIT 1)
    UNION ALL
    (SELECT config_key FROM outbound_event
        WHERE config_key > $1 AND status = 'pending' AND ordering_key IS NOT NULL
        ORDER BY config_key, ordering_key, seq LIMIT 1)
) AS waiting",
    mysql: "\
SELECT min(config_key) AS config_key FROM (
    (SELECT config_key FROM outbound_event FORCE INDEX (outbound_event_due)
        WHERE due_config > $1 ORDER BY due_config, due_at, seq LIMIT 1)
    UNION ALL
    (SELECT config_key FROM outbound_event FORCE INDEX (outbound_event_ordering)
        WHERE ordering_turn > concat($1, char(2)) ORDER BY ordering_turn, seq LIMIT 1)
) AS waiting",
};

/// Far more configs than anybody has.
const MOST_KEYS: usize = 200;

#[derive(FromQueryResult)]
struct NextKey {
    config_key: Option<String>,
}

#[derive(FromQueryResult)]
struct Oldest {
    seconds: Option<i64>,
}

/// Whether rows of dead workers are taken over.
pub(super) async fn leases(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "leases";
    let Leases { held, abandoned } = one(db, LEASES.text(db.dialect())).await?;
    Ok(match abandoned {
        0 => Finding::ok(CHECK, format!("{held} rows in the hands of workers")),
        _ => Finding::warning(
            CHECK,
            format!(
                "{abandoned} rows of a worker that is gone for more than {ABANDONED_SECONDS} s"
            ),
            "they go out as soon as a worker runs for their config: `postroad status` shows which one lacks it",
        ),
    })
}

/// The config keys of rows that wait and that no config has: nobody sends them.
pub(super) async fn unknown_keys(db: &Database) -> Result<Vec<String>, DbErr> {
    let known = "SELECT config_key FROM event_bus_runtime_config";
    let known: Vec<NextKey> = every(db, known).await?;
    let known: Vec<_> = known.into_iter().filter_map(|row| row.config_key).collect();
    let (mut last, mut unknown) = (String::new(), Vec::new());
    for _ in 0..MOST_KEYS {
        let statement = NEXT_KEY.bind(db.dialect(), [last.as_str().into()]);
        let next = bound::<NextKey>(db, statement).await?.pop().and_then(|row| row.config_key);
        let Some(key) = next else { break };
        if !known.contains(&key) {
            unknown.push(key.clone());
        }
        last = key;
    }
    Ok(unknown)
}

/// Whether somebody sends each row that waits.
pub(super) async fn keys(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "config keys";
    let unknown = unknown_keys(db).await?;
    Ok(if unknown.is_empty() {
        Finding::ok(CHECK, "there is a config for each row that waits")
    } else {
        Finding::warning(
            CHECK,
            format!("rows wait by a config_key that no config has: `{}`", unknown.join("`, `")),
            "nobody sends them: correct outbound_event.config_key, which counts byte for byte, or import a config of that name",
        )
    })
}

/// Whether rows that are due are taken.
pub(super) async fn waiting(db: &Database, config_key: &str) -> Result<Finding, DbErr> {
    const CHECK: &str = "waiting rows";
    let statement = OLDEST.bind(db.dialect(), [config_key.into()]);
    let seconds = bound::<Oldest>(db, statement).await?.pop().and_then(|row| row.seconds);
    let late = Duration::from_secs(seconds.and_then(|it| u64::try_from(it).ok()).unwrap_or(0));
    Ok(if late < LATE {
        Finding::ok(CHECK, format!("no row of `{config_key}` is due for long"))
    } else {
        Finding::warning(
            CHECK,
            format!("a row of `{config_key}` is due for {}", in_words(late)),
            format!(
                "is a worker running, and does it keep up? `postroad status --config-key {config_key}` shows both; \
                 a row behind another one of its ordering key waits for that"
            ),
        )
    })
}
