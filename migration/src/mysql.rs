//! What MariaDB and MySQL have of their own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// The lock that lets one process migrate at a time; it is the connection's, and ends with it.
const LOCK: &str = "postroad_migrations";

/// How long to wait for another process that migrates, in seconds.
const LOCK_WAIT: u32 = 60;

/// The script with `{table}` replaced by what every table ends with.
pub(crate) async fn script(db: &impl ConnectionTrait, text: &str) -> Result<String, DbErr> {
    let version: String = value(db, "SELECT version() AS value").await?.unwrap_or_default();
    // By either, texts are equal only if all their bytes are, and a space at the end counts.
    let collation =
        if version.contains("MariaDB") { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
    let options = format!("ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation}");
    Ok(text.replace("{table}", &options))
}

/// Waits for other processes that migrate.
pub(crate) async fn lock(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let ask = format!("SELECT coalesce(get_lock('{LOCK}', {LOCK_WAIT}), 0) AS value");
    match value::<i64>(db, &ask).await? {
        Some(1) => Ok(()),
        _ => Err(DbErr::Custom(format!(
            "another process has been migrating this database for {LOCK_WAIT} s"
        ))),
    }
}

/// Lets others migrate.
pub(crate) async fn unlock(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    db.execute_unprepared(&format!("DO release_lock('{LOCK}')")).await.map(drop)
}

async fn value<T: sea_orm_migration::sea_orm::TryGetable>(
    db: &impl ConnectionTrait,
    query: &str,
) -> Result<Option<T>, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, query)).await?;
    row.map(|row| row.try_get("", "value")).transpose()
}
