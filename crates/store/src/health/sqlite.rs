//! What is to be known of SQLite.

use std::path::Path;

use postroad_worker_core::Finding;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::lines::Lines;
use super::{every, one};
use crate::Database;
use crate::fault::message;

/// A check of every page of a larger file takes too long.
const QUICKLY_CHECKED: i64 = 32 << 20;
/// A write-ahead log of this size is not taken over into the file any more.
const LARGE_WAL: u64 = 256 << 20;
/// `SQLITE_READONLY`.
const READ_ONLY: u32 = 8;

#[derive(FromQueryResult)]
struct JournalMode {
    journal_mode: String,
}

#[derive(FromQueryResult)]
struct Synchronous {
    synchronous: i64,
}

#[derive(FromQueryResult)]
struct Size {
    bytes: i64,
}

#[derive(FromQueryResult)]
struct File {
    name: String,
    file: String,
}

#[derive(FromQueryResult)]
struct QuickCheck {
    quick_check: String,
}

pub(super) async fn fitness(db: &Database, lines: &mut Lines) {
    lines.add("journal mode", journal_mode(db)).await;
    lines.add("write access", write_access(db)).await;
}

pub(super) async fn health(db: &Database, lines: &mut Lines) {
    lines.add("durability", durability(db)).await;
    lines.add("write-ahead log", write_ahead_log(db)).await;
    lines.add("integrity", integrity(db)).await;
}

/// Only with a write-ahead log do readers and a writer not stand in each other's way. A database in memory has none.
async fn journal_mode(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "journal mode";
    let JournalMode { journal_mode } = one(db, "PRAGMA journal_mode").await?;
    Ok(match journal_mode.as_str() {
        "wal" | "memory" => Finding::ok(CHECK, journal_mode),
        _ => Finding::failure(
            CHECK,
            format!("SQLite cannot keep a write-ahead log here (journal_mode = {journal_mode})"),
            "put the file on a local disk: a network file system has no shared memory",
        ),
    })
}

async fn write_access(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "write access";
    let tried = async {
        // In a file that is read-only even an immediate transaction begins; this write is taken back.
        let transaction = db.begin().await?;
        let written = transaction.execute_unprepared("PRAGMA user_version = 0").await;
        transaction.rollback().await?;
        written.map(drop)
    };
    match tried.await {
        Ok(()) => Ok(Finding::ok(CHECK, "may write")),
        Err(error) if is_read_only(&message(&error)) => Ok(Finding::failure(
            CHECK,
            "the database file is read-only",
            "let this user write the file and its folder, and open it with mode=rw or mode=rwc",
        )),
        Err(error) => Err(error),
    }
}

/// Extended codes, such as 776, have the primary one in their lowest byte.
fn is_read_only(message: &str) -> bool {
    let code =
        message.rsplit_once("(code ").map(|(_, code)| code.trim_end_matches(')').parse::<u32>());
    code.is_some_and(|code| code.is_ok_and(|code| code & 0xff == READ_ONLY))
}

async fn durability(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "durability";
    let Synchronous { synchronous } = one(db, "PRAGMA synchronous").await?;
    Ok(match synchronous {
        2.. => Finding::ok(CHECK, "synchronous = full: what is committed survives a power failure"),
        _ => Finding::warning(
            CHECK,
            format!("synchronous = {synchronous}: a power failure may cost the last transactions"),
            "this connection should have set it to full: is a pragma of its own in the URL?",
        ),
    })
}

/// The log grows for as long as a reader keeps it from being taken over.
async fn write_ahead_log(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "write-ahead log";
    let files = every::<File>(db, "PRAGMA database_list").await?;
    let file = files.into_iter().find(|file| file.name == "main").map(|file| file.file);
    let log = file.filter(|file| !file.is_empty()).map(|file| format!("{file}-wal"));
    let bytes = log.and_then(|log| Path::new(&log).metadata().ok()).map_or(0, |file| file.len());
    let found = format!("{} KiB", bytes >> 10);
    Ok(if bytes < LARGE_WAL {
        Finding::ok(CHECK, found)
    } else {
        Finding::warning(
            CHECK,
            found,
            "a program holds a read transaction open and keeps the log from being taken over: find and end it",
        )
    })
}

async fn integrity(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "integrity";
    let size = "SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size";
    let Size { bytes } = one(db, size).await?;
    if bytes > QUICKLY_CHECKED {
        let found = format!("{} MiB, too large to be checked on the way", bytes >> 20);
        return Ok(Finding {
            advice: "run `PRAGMA quick_check` when there is time".to_owned(),
            ..Finding::ok(CHECK, found)
        });
    }
    let QuickCheck { quick_check } = one(db, "PRAGMA quick_check(1)").await?;
    Ok(match quick_check.as_str() {
        "ok" => Finding::ok(CHECK, format!("quick_check ok, {} KiB", bytes >> 10)),
        _ => Finding::failure(
            CHECK,
            format!("the file is damaged: {quick_check}"),
            "stop every worker, keep a copy of the file, and restore it from a backup or with `.recover` of sqlite3",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_database_is_known_by_the_lowest_byte_of_its_code() {
        assert!(is_read_only("attempt to write a readonly database (code 8)"));
        assert!(is_read_only("attempt to write a readonly database (code 776)"));
        assert!(!is_read_only("database is locked (code 5)"));
        assert!(!is_read_only("disk I/O error (code 10)"));
    }
}
