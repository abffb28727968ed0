//! The promises of a store, on SQLite.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod suite;
mod write_lock;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use postroad_store::health::require;
use postroad_store::{ConnectError, connect};
use postroad_worker_core::{Hint, OutboxStore};
use sea_orm::ConnectionTrait;
use suite::home::Home;

/// Runs a test on a new file.
async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Home) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let home =
        Home::new(format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display())).await;
    let database = home.database.clone();
    test(home).await;
    database.close().await;
}

macro_rules! declare_on_sqlite {
    ($($module:ident::$promise:ident,)*) => {$(
        #[tokio::test]
        async fn $promise() {
            on_sqlite(suite::$module::$promise).await;
        }
    )*};
}

suite::every_promise!(declare_on_sqlite);

#[tokio::test]
async fn a_row_of_another_process_is_a_hint_once_it_is_committed() {
    on_sqlite(|home: Home| async move {
        let store = home.store();
        let hint = async |within| tokio::time::timeout(within, store.woken()).await;
        // Until the file is watched; hints of other tests in this process come meanwhile.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !store.is_told() {
            assert!(tokio::time::Instant::now() < deadline, "it does not watch");
            hint(Duration::from_millis(50)).await.ok();
        }
        // Plain SQL on a connection of its own, as another process has.
        let other = home.neighbour().await;
        let transaction = other.begin().await.unwrap();
        let insert = "INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.c', '{}')";
        transaction.execute_unprepared(insert).await.unwrap();
        transaction.commit().await.unwrap();
        while hint(Duration::from_secs(5)).await.unwrap() != Hint::Committed {}
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_sqlite_took_back_by_itself_spoils_no_later_one() {
    on_sqlite(|home: Home| async move {
        let insert = "INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.c', '{}')";
        let taken_back = home.database.begin().await.unwrap();
        // As it does on a full disk; the rollback that follows then fails.
        taken_back.execute_unprepared("ROLLBACK").await.unwrap();
        drop(taken_back);
        let given_up = home.database.begin().await.unwrap();
        given_up.execute_unprepared(insert).await.unwrap();
        given_up.rollback().await.unwrap();
        let transaction = home.database.begin().await.unwrap();
        transaction.execute_unprepared(insert).await.unwrap();
        transaction.commit().await.unwrap();
        let other = Home::at(home.url.clone()).await;
        assert_eq!(other.count("SELECT count(*) FROM outbound_event").await, 1);
        other.database.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_new_database_file_is_readable_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("private.db");
    let database = connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    postroad_migration::up(database.connection()).await.unwrap();
    for name in ["private.db", "private.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_without_its_password() {
    for url in [
        "oracle://user:hunter2@localhost/db",
        "mysql://user:hunter2@localhost:port/db",
        "mysql://user:hunter2@localhost/db?ssl-mode=hunter3",
        "postgres://user:hunter2@localhost:port/db",
        "postgres://user:hunter2@local host/db",
        "postgres://user:hunter2@localhost/db?sslmode=hunter3",
        "hunter2",
    ] {
        let error = connect(url).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(matches!(connect("oracle://localhost/db").await, Err(ConnectError::UnknownDatabase)));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_of_the_statement_not_of_connecting() {
    let database = connect("sqlite:///nowhere/at/all.db").await.unwrap();
    assert!(database.ping().await.is_err());
}

#[tokio::test]
async fn a_place_without_a_write_ahead_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    // What a network file system is to SQLite: a file system without shared memory.
    let url = format!("sqlite://{}?mode=rwc&vfs=unix-dotfile", path.display());
    let error = Home::at(url).await.unfit().await;
    assert!(error.contains("journal_mode = delete") && error.contains("local disk"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_opened_for_reading_only_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let url = |mode| format!("sqlite://{}?mode={mode}", path.display());
    let _writer = Home::new(url("rwc")).await;
    let error = Home::at(url("ro")).await.unfit().await;
    assert!(error.contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_database_in_memory_will_do() {
    let database = connect("sqlite::memory:").await.unwrap();
    require(&database).await.unwrap();
}
