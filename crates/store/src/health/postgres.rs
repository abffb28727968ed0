//! What is to be known of PostgreSQL.

use std::time::Duration;

use postroad_worker_core::{Finding, Level};
use sea_orm::{DbErr, FromQueryResult};

use super::lines::Lines;
use super::schema::TABLES;
use super::{every, first, in_words, one};
use crate::Database;

/// A transaction that is open for longer keeps rows that were settled long ago from being cleared away.
const LONG: Duration = Duration::from_mins(10);
/// So many transactions behind, a slot keeps too many dead rows.
const FAR_BEHIND: i64 = 1_000_000;
/// Fewer dead rows are nobody's concern.
const SOME_DEAD: i64 = 50_000;

const SESSION: &str = "\
SELECT current_setting('transaction_read_only') = 'on' AS read_only, pg_is_in_recovery() AS standby,
    current_setting('transaction_isolation') AS isolation, current_setting('server_encoding') AS encoding,
    current_user::text AS username";

const DURABILITY: &str = "\
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit";

/// Whether other sessions can be seen, and the transaction that has been open for longest of those that keep dead rows.
const SIGHT: &str = "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS all_seen";

const OLDEST: &str = "\
SELECT 'the transaction of pid ' || pid || ' (' || coalesce(nullif(application_name, ''), 'no application_name') || ', '
        || coalesce(state, 'no state') || ')' AS holder,
    floor(extract(epoch FROM now() - xact_start))::bigint AS seconds,
    'SELECT pg_terminate_backend(' || pid || ')' AS cure
FROM pg_stat_activity
WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
    AND (datname = current_database() OR datname IS NULL) AND backend_type <> 'autovacuum worker'
UNION ALL
SELECT 'the prepared transaction ' || quote_literal(gid) || ' of ' || owner,
    floor(extract(epoch FROM now() - prepared))::bigint, 'ROLLBACK PREPARED ' || quote_literal(gid)
FROM pg_prepared_xacts WHERE database = current_database()
ORDER BY seconds DESC LIMIT 1";

const SLOTS: &str = "\
SELECT 'the replication slot ' || quote_literal(slot_name) AS holder, active, age(xmin)::bigint AS transactions,
    'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')' AS cure
FROM pg_replication_slots WHERE xmin IS NOT NULL ORDER BY age(xmin) DESC LIMIT 1";

const AUTOVACUUM: &str = "\
SELECT current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on' AS runs";

const TRIGGERS: &str = "\
SELECT tgname::text AS name, tgenabled IN ('O', 'A') AS enabled FROM pg_trigger
WHERE tgrelid = to_regclass('outbound_event') AND NOT tgisinternal";

/// A trigger of the outbox.
struct Wanted {
    name: &'static str,
    level: Level,
    without: &'static str,
    make: &'static str,
}

const WANTED: [Wanted; 3] = [
    Wanted {
        name: "outbound_event_ordered",
        level: Level::Failure,
        without: "rows of one ordering key may go out in another order than they were written in",
        make: "CREATE TRIGGER outbound_event_ordered BEFORE INSERT ON outbound_event FOR EACH ROW \
               WHEN (NEW.ordering_key IS NOT NULL) EXECUTE FUNCTION postroad_outbox_ordered()",
    },
    Wanted {
        name: "outbound_event_ordered_renumbered",
        level: Level::Failure,
        without: "a row that took its number and was held up may go out after a later one of its ordering key",
        make: "CREATE TRIGGER outbound_event_ordered_renumbered BEFORE INSERT ON outbound_event FOR EACH ROW \
               WHEN (NEW.ordering_key IS NOT NULL) EXECUTE FUNCTION postroad_outbox_renumbered()",
    },
    // Nothing is lost without it.
    Wanted {
        name: "outbound_event_written",
        level: Level::Warning,
        without: "new rows wait for the next poll",
        make: "CREATE TRIGGER outbound_event_written AFTER INSERT ON outbound_event FOR EACH STATEMENT \
               EXECUTE FUNCTION postroad_outbox_written()",
    },
];

#[derive(FromQueryResult)]
struct Session {
    read_only: bool,
    standby: bool,
    isolation: String,
    encoding: String,
    username: String,
}

#[derive(FromQueryResult)]
struct Durability {
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
}

#[derive(FromQueryResult)]
struct Sight {
    all_seen: bool,
}

#[derive(FromQueryResult)]
struct Oldest {
    holder: String,
    seconds: i64,
    cure: String,
}

#[derive(FromQueryResult)]
struct Slot {
    holder: String,
    active: bool,
    transactions: i64,
    cure: String,
}

#[derive(FromQueryResult)]
struct Autovacuum {
    runs: bool,
}

#[derive(FromQueryResult)]
struct Trigger {
    name: String,
    enabled: bool,
}

#[derive(FromQueryResult)]
struct RowCounts {
    name: String,
    live: i64,
    dead: i64,
    vacuumed: Option<String>,
}

pub(super) async fn fitness(db: &Database, lines: &mut Lines) {
    lines.add("write access", write_access(db)).await;
    lines.add("isolation", isolation(db)).await;
    lines.add("encoding", encoding(db)).await;
}

pub(super) async fn health(db: &Database, lines: &mut Lines) {
    lines.add("durability", durability(db)).await;
    lines.add("old transactions", old_transactions(db)).await;
    lines.add("replication slots", replication_slots(db)).await;
    lines.add("autovacuum", autovacuum(db)).await;
}

async fn write_access(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "write access";
    let Session { read_only, standby, username, .. } = one(db, SESSION).await?;
    Ok(match (read_only, standby) {
        (_, true) => Finding::failure(
            CHECK,
            "the database server is a standby, which is read-only",
            "connect to the primary",
        ),
        (true, false) => Finding::failure(
            CHECK,
            "the database is read-only (default_transaction_read_only is on)",
            format!(
                "set it off for the database, the user or the server, such as by \
                 `ALTER ROLE {username} SET default_transaction_read_only = off`"
            ),
        ),
        (false, false) => Finding::ok(CHECK, "may write"),
    })
}

/// At a stricter level two workers fail each other's claims, and a duplicate fails its batch.
async fn isolation(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "isolation";
    let Session { isolation, username, .. } = one(db, SESSION).await?;
    Ok(if isolation == "read committed" {
        Finding::ok(CHECK, isolation)
    } else {
        Finding::failure(
            CHECK,
            format!("transactions are `{isolation}`, and have to be `read committed`"),
            format!(
                "`ALTER ROLE {username} SET default_transaction_isolation = 'read committed'`, and the same where the \
                 database or the server sets it"
            ),
        )
    })
}

async fn encoding(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "encoding";
    let Session { encoding, .. } = one(db, SESSION).await?;
    Ok(if encoding == "UTF8" {
        Finding::ok(CHECK, encoding)
    } else {
        Finding::failure(
            CHECK,
            format!("the database's encoding is `{encoding}`, which cannot hold every message"),
            "make a database with ENCODING 'UTF8' TEMPLATE template0",
        )
    })
}

async fn durability(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "durability";
    let settings: Durability = one(db, DURABILITY).await?;
    let Durability { fsync, full_page_writes, synchronous_commit } = &settings;
    let all = format!(
        "fsync = {fsync}, full_page_writes = {full_page_writes}, synchronous_commit = {synchronous_commit}"
    );
    Ok(if [fsync, full_page_writes, synchronous_commit].iter().any(|setting| *setting == "off") {
        Finding::warning(
            CHECK,
            format!("{all}: a crash may cost messages that the broker was told are stored"),
            "switch on what is off",
        )
    } else {
        Finding::ok(CHECK, all)
    })
}

/// Dead rows are cleared away only up to the oldest transaction, and every claim has to step over them.
async fn old_transactions(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "old transactions";
    let Sight { all_seen } = one(db, SIGHT).await?;
    let oldest = first::<Oldest>(db, OLDEST).await?;
    let blind = "GRANT pg_read_all_stats to this user to see the transactions of others";
    let Some(Oldest { holder, seconds, cure }) = oldest else {
        let (found, advice) =
            if all_seen { ("none", "") } else { ("none of this user's own", blind) };
        return Ok(Finding { advice: advice.to_owned(), ..Finding::ok(CHECK, found) });
    };
    let age = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let found = format!("{holder} is open for {}", in_words(age));
    Ok(if age > LONG {
        Finding::warning(
            CHECK,
            format!("{found} and keeps vacuum from clearing away settled rows"),
            format!("let it end, or end it: {cure}"),
        )
    } else {
        let advice = if all_seen { "" } else { blind };
        Finding { advice: advice.to_owned(), ..Finding::ok(CHECK, found) }
    })
}

async fn replication_slots(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "replication slots";
    Ok(match first::<Slot>(db, SLOTS).await? {
        None => Finding::ok(CHECK, "none keeps dead rows"),
        Some(Slot { active: true, transactions, .. }) if transactions < FAR_BEHIND => {
            Finding::ok(CHECK, format!("at most {transactions} transactions behind"))
        }
        Some(Slot { holder, active, transactions, cure }) => {
            let idle = if active { "" } else { ", which nobody uses," };
            Finding::warning(
                CHECK,
                format!(
                    "{holder}{idle} is {transactions} transactions behind and keeps vacuum from clearing away settled rows"
                ),
                format!(
                    "let its reader catch up, or drop it where it is of no use any more: {cure}"
                ),
            )
        }
    })
}

async fn autovacuum(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "autovacuum";
    let Autovacuum { runs } = one(db, AUTOVACUUM).await?;
    Ok(if runs {
        Finding::ok(CHECK, "on")
    } else {
        Finding::warning(
            CHECK,
            "autovacuum or track_counts is off: an outbox collects dead rows until claims crawl",
            "switch both on",
        )
    })
}

/// The table with the most dead rows.
pub(super) async fn dead_rows(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "dead rows";
    let tables: Vec<_> = TABLES.iter().map(|name| format!("to_regclass('{name}')")).collect();
    let query = format!(
        "SELECT relname::text AS name, n_live_tup AS live, n_dead_tup AS dead, \
             to_char(greatest(last_vacuum, last_autovacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS vacuumed \
         FROM pg_stat_user_tables WHERE relid IN ({}) ORDER BY n_dead_tup DESC LIMIT 1",
        tables.join(", ")
    );
    let Some(RowCounts { name, live, dead, vacuumed }) = first(db, query).await? else {
        return Ok(Finding::ok(CHECK, "nothing is counted yet"));
    };
    let vacuumed = vacuumed.map_or_else(|| "never".to_owned(), |time| format!("at {time}"));
    let found = format!("{name}: {dead} dead beside {live} live rows, last vacuumed {vacuumed}");
    Ok(if dead > SOME_DEAD && dead > live {
        Finding::warning(
            CHECK,
            found,
            format!(
                "`VACUUM ANALYZE {name}`; where that clears nothing away, see old transactions and replication slots"
            ),
        )
    } else {
        Finding::ok(CHECK, found)
    })
}

/// Whether the triggers of the outbox fire.
pub(super) async fn triggers(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "triggers";
    let there = every::<Trigger>(db, TRIGGERS).await?;
    let (mut worst, mut found, mut cures) = (Level::Ok, Vec::new(), Vec::new());
    for Wanted { name, level, without, make } in WANTED {
        let (state, mend) = match there.iter().find(|trigger| trigger.name == name) {
            Some(Trigger { enabled: true, .. }) => continue,
            Some(_) => ("disabled", format!("ALTER TABLE outbound_event ENABLE TRIGGER {name}")),
            None => ("missing", make.to_owned()),
        };
        worst = worst.max(level);
        found.push(format!("{name} is {state}: {without}"));
        // Where several steps are made by one command, it is told once.
        if !cures.contains(&mend) {
            cures.push(mend);
        }
    }
    if found.is_empty() {
        return Ok(Finding::ok(CHECK, WANTED.map(|wanted| wanted.name).join(", ")));
    }
    let cures = cures.join("; ");
    Ok(Finding { level: worst, advice: cures, ..Finding::ok(CHECK, found.join("; ")) })
}
