//! What the statements cost that are run all the time, at 1,000,000 rows of which 1,000 are due: they walk an index and
//! neither sort nor scan.
//!
//! Statements that clean up belong here too, into [`full::Full::cleanup`].

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod full;
mod mariadb;
mod postgres;
mod sqlite;

#[tokio::test]
async fn sqlite_walks_its_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("full.db");
    sqlite::check(&format!("sqlite://{}?mode=rwc", file.display())).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn postgresql_walks_its_indexes() {
    full::in_new_database("POSTROAD_TEST_POSTGRES_URL", postgres::check).await;
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn mariadb_walks_its_indexes() {
    full::in_new_database("POSTROAD_TEST_MARIADB_URL", mariadb::check).await;
}
