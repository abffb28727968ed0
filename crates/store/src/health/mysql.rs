//! What is to be known of MariaDB and MySQL.

use std::time::Duration;

use postroad_worker_core::Finding;
use sea_orm::sqlx::{self, Executor};
use sea_orm::{DbErr, FromQueryResult, RuntimeErr};

use super::lines::Lines;
use super::schema::TABLES;
use super::version::Product;
use super::{every, first, in_words, one};
use crate::Database;
use crate::fault::message;

/// A transaction that is open for longer keeps old versions of rows, which every claim has to step over.
const LONG: Duration = Duration::from_mins(10);
/// So many old versions of rows are a sign that none are cleared away.
const LONG_HISTORY: i64 = 1_000_000;
/// The messages of one transaction are sent in one parameter, up to about so many bytes of bodies.
const BATCH_BYTES: u64 = 8 << 20;
/// A body in JSON takes up to twice its bytes, where every other one is a quotation mark.
const ESCAPED: u64 = 2;

/// By either, texts are equal only if all their bytes are, and a space at the end counts.
const BYTE_FOR_BYTE: &str = "('utf8mb4_nopad_bin', 'utf8mb4_0900_bin', 'binary')";

const DURABILITY: &str = "\
SELECT CAST(@@innodb_flush_log_at_trx_commit AS signed) AS flush_log, CAST(@@log_bin AS signed) AS log_bin,
    CAST(@@sync_binlog AS signed) AS sync_binlog";

const PACKET: &str = "SELECT CAST(@@max_allowed_packet AS signed) AS bytes";

const OLDEST: &str = "\
SELECT CAST(trx_mysql_thread_id AS signed) AS thread, timestampdiff(SECOND, trx_started, now()) AS seconds
FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> connection_id() ORDER BY trx_started LIMIT 1";

const HISTORY: &str = "\
SELECT CAST(count AS signed) AS length FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'";

#[derive(FromQueryResult)]
struct Isolation {
    isolation: String,
}

#[derive(FromQueryResult)]
struct SqlMode {
    sql_mode: String,
}

#[derive(FromQueryResult)]
struct Foreign {
    name: String,
    collation: String,
}

#[derive(FromQueryResult)]
struct Durability {
    flush_log: i64,
    log_bin: i64,
    sync_binlog: i64,
}

#[derive(FromQueryResult)]
struct Packet {
    bytes: i64,
}

#[derive(FromQueryResult)]
struct Oldest {
    thread: i64,
    seconds: i64,
}

#[derive(FromQueryResult)]
struct History {
    length: i64,
}

pub(super) async fn fitness(db: &Database, product: Product, lines: &mut Lines) {
    lines.add("write access", write_access(db)).await;
    lines.add("isolation", isolation(db, product)).await;
    lines.add("sql_mode", sql_mode(db)).await;
    lines.add("collation", collation(db, product)).await;
}

pub(super) async fn health(db: &Database, max_message_bytes: u64, lines: &mut Lines) {
    lines.add("durability", durability(db)).await;
    lines.add("max_allowed_packet", packet(db, max_message_bytes)).await;
    lines.add("old transactions", old_transactions(db)).await;
    lines.add("old row versions", history(db)).await;
}

/// A read-only server lets begin a transaction for writing only who may write all the same.
async fn write_access(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "write access";
    let pool = db.connection().get_mysql_connection_pool();
    let tried = async {
        let mut connection = pool.acquire().await?;
        connection.execute("START TRANSACTION READ WRITE").await?;
        connection.execute("ROLLBACK").await
    };
    match tried.await.map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into()))) {
        Ok(_) => Ok(Finding::ok(CHECK, "may write")),
        Err(error)
            if message(&error).contains("read-only") || message(&error).contains("READ ONLY") =>
        {
            Ok(Finding::failure(
                CHECK,
                "the database server is read-only (read_only is on)",
                "connect to the primary, or `SET GLOBAL read_only = 0` where this is meant to be it",
            ))
        }
        Err(error) => Err(error),
    }
}

/// Every connection of ours asks for READ COMMITTED when it begins; a proxy in between may think otherwise.
async fn isolation(db: &Database, product: Product) -> Result<Finding, DbErr> {
    const CHECK: &str = "isolation";
    let variable = match product {
        Product::MySql => "transaction_isolation",
        Product::MariaDb | Product::Postgres | Product::Sqlite => "tx_isolation",
    };
    let query = format!("SELECT CAST(@@SESSION.{variable} AS char) AS isolation");
    let Isolation { isolation } = one(db, query).await?;
    Ok(if isolation == "READ-COMMITTED" {
        Finding::ok(CHECK, "read committed")
    } else {
        Finding::failure(
            CHECK,
            format!("transactions are `{isolation}` though READ COMMITTED was asked for"),
            "a proxy in between drops `SET SESSION TRANSACTION ISOLATION LEVEL`: let it pass, or set transaction_isolation \
             to READ-COMMITTED on the server",
        )
    })
}

/// Every connection of ours asks for the strict mode; what it adds to comes from the server.
async fn sql_mode(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "sql_mode";
    let SqlMode { sql_mode } =
        one(db, "SELECT CAST(@@SESSION.sql_mode AS char) AS sql_mode").await?;
    Ok(judge_sql_mode(CHECK, &sql_mode))
}

fn judge_sql_mode(check: &str, sql_mode: &str) -> Finding {
    let has = |mode| sql_mode.split(',').any(|set| set == mode);
    if !has("STRICT_TRANS_TABLES") && !has("STRICT_ALL_TABLES") {
        Finding::failure(
            check,
            "sql_mode is not strict though that was asked for: values that do not fit would be cut",
            "a proxy in between drops `SET SESSION sql_mode`: let it pass, or set STRICT_TRANS_TABLES on the server",
        )
    } else if has("NO_BACKSLASH_ESCAPES") {
        Finding::failure(
            check,
            "sql_mode has NO_BACKSLASH_ESCAPES, by which the tables would keep ordering keys apart in another way",
            "take it out of the server's sql_mode",
        )
    } else {
        Finding::ok(check, "strict")
    }
}

/// Two ids that differ in a letter's case or in a space at the end are two messages.
async fn collation(db: &Database, product: Product) -> Result<Finding, DbErr> {
    const CHECK: &str = "collation";
    let query = format!(
        "SELECT CAST(table_name AS char) AS name, CAST(min(collation_name) AS char) AS collation \
         FROM information_schema.columns WHERE table_schema = database() AND table_name IN ('{}') \
         AND collation_name IS NOT NULL AND collation_name NOT IN {BYTE_FOR_BYTE} GROUP BY table_name ORDER BY 1",
        TABLES.join("', '")
    );
    let foreign = every::<Foreign>(db, query).await?;
    let Some(Foreign { collation, .. }) = foreign.first() else {
        return Ok(Finding::ok(CHECK, "texts are equal byte for byte"));
    };
    let right = match product {
        Product::MySql => "utf8mb4_0900_bin",
        Product::MariaDb | Product::Postgres | Product::Sqlite => "utf8mb4_nopad_bin",
    };
    let names: Vec<_> = foreign.iter().map(|table| table.name.as_str()).collect();
    let cure: Vec<_> = names
        .iter()
        .map(|name| format!("ALTER TABLE {name} CONVERT TO CHARACTER SET utf8mb4 COLLATE {right}"))
        .collect();
    Ok(Finding::failure(
        CHECK,
        format!(
            "ids would not be compared byte for byte: collation {collation} in {}",
            names.join(", ")
        ),
        format!("SET foreign_key_checks = 0; {}", cure.join("; ")),
    ))
}

async fn durability(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "durability";
    let Durability { flush_log, log_bin, sync_binlog } = one(db, DURABILITY).await?;
    let binlog = match log_bin {
        0 => "no binary log".to_owned(),
        _ => format!("sync_binlog = {sync_binlog}"),
    };
    let all = format!("innodb_flush_log_at_trx_commit = {flush_log}, {binlog}");
    Ok(if flush_log != 1 {
        Finding::warning(
            CHECK,
            format!("{all}: a crash may cost messages that the broker was told are stored"),
            "set innodb_flush_log_at_trx_commit to 1",
        )
    } else if log_bin != 0 && sync_binlog != 1 {
        Finding::warning(
            CHECK,
            format!(
                "{all}: after a crash the binary log may lack what is in the tables, and replicas with it"
            ),
            "set sync_binlog to 1",
        )
    } else {
        Finding::ok(CHECK, all)
    })
}

/// A batch that does not fit is split, so that only a message that does not fit alone is lost to quarantine.
async fn packet(db: &Database, max_message_bytes: u64) -> Result<Finding, DbErr> {
    const CHECK: &str = "max_allowed_packet";
    let Packet { bytes } = one(db, PACKET).await?;
    Ok(judge_packet(CHECK, u64::try_from(bytes).unwrap_or(0), max_message_bytes))
}

fn judge_packet(check: &str, bytes: u64, max_message_bytes: u64) -> Finding {
    let one = ESCAPED * max_message_bytes + (64 << 10);
    let batch = ESCAPED * BATCH_BYTES.max(max_message_bytes);
    let found = format!("{} MiB", bytes >> 20);
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    if bytes < one {
        let found = format!("{found}: a message of max_message_bytes may not fit");
        let advice = format!(
            "set max_allowed_packet to {} MiB or more, or lower max_message_bytes",
            mib(batch)
        );
        Finding::failure(check, found, advice)
    } else if bytes < batch {
        let found = format!("{found}: a batch of large messages is split until it fits");
        Finding::warning(
            check,
            found,
            format!("set max_allowed_packet to {} MiB or more", mib(batch)),
        )
    } else {
        Finding::ok(check, found)
    }
}

async fn old_transactions(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "old transactions";
    let oldest = match first::<Oldest>(db, OLDEST).await {
        Err(error) if is_denied(&error) => return Ok(unseen(CHECK)),
        oldest => oldest?,
    };
    let Some(Oldest { thread, seconds }) = oldest else { return Ok(Finding::ok(CHECK, "none")) };
    let age = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let found = format!("the transaction of connection {thread} is open for {}", in_words(age));
    Ok(if age > LONG {
        Finding::warning(
            CHECK,
            format!("{found} and keeps old versions of settled rows"),
            format!("let it end, or end it: `KILL {thread}`"),
        )
    } else {
        Finding::ok(CHECK, found)
    })
}

async fn history(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "old row versions";
    let length = match first::<History>(db, HISTORY).await {
        Err(error) if is_denied(&error) => return Ok(unseen(CHECK)),
        history => history?.map_or(0, |history| history.length),
    };
    Ok(if length > LONG_HISTORY {
        Finding::warning(
            CHECK,
            format!("the history list has {length} entries: claims step over many old versions"),
            "look for a long transaction, and for writes faster than innodb_purge_threads clear away",
        )
    } else {
        Finding::ok(CHECK, format!("the history list has {length} entries"))
    })
}

/// Not a fault of the database.
fn unseen(check: &str) -> Finding {
    Finding {
        advice: "GRANT PROCESS ON *.* to this user to see them".to_owned(),
        ..Finding::ok(check, "this user may not see them")
    }
}

/// Any kind of "access denied".
pub(super) fn is_denied(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))) =
        error
    else {
        return false;
    };
    let sqlx::Error::Database(inner) = &**inner else { return false };
    let number = inner
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map_or(0, sqlx::mysql::MySqlDatabaseError::number);
    // Database, table, column, a privilege of the server.
    matches!(number, 1044 | 1142 | 1143 | 1227)
}

#[cfg(test)]
mod tests {
    use postroad_worker_core::Level;

    use super::*;

    #[test]
    fn a_mode_that_cuts_values_or_reads_statements_in_another_way_is_refused() {
        let judge = |mode| judge_sql_mode("", mode).level;
        assert_eq!(judge("PIPES_AS_CONCAT,STRICT_TRANS_TABLES"), Level::Ok);
        assert_eq!(judge("STRICT_ALL_TABLES"), Level::Ok);
        assert_eq!(judge("PIPES_AS_CONCAT"), Level::Failure);
        assert_eq!(judge("STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES"), Level::Failure);
    }

    #[test]
    fn the_largest_message_has_to_fit_and_a_batch_had_better() {
        let judge = |mib: u64, message: u64| judge_packet("", mib << 20, message << 20).level;
        assert_eq!(judge(16, 1), Level::Ok);
        assert_eq!(judge(8, 1), Level::Warning);
        assert_eq!(judge(1, 1), Level::Failure);
        assert_eq!(judge(64, 32), Level::Failure);
        assert_eq!(judge(128, 32), Level::Ok);
    }
}
