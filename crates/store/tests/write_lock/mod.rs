//! SQLite's write lock: the store gets its share of it, and nobody else waits in another way than before.

use std::path::Path;
use std::time::{Duration, Instant};

use postroad_store::{Database, SqlStore};
use postroad_worker_core::{OutboxStore, Outcome, Settlement};
use sea_orm::{ConnectionTrait, Statement};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::suite::home::Home;

const LEASE: Duration = Duration::from_mins(1);
const BUSY_TIMEOUT_MS: i64 = 10_000;

async fn home(folder: &Path) -> Home {
    let url = format!("sqlite://{}?mode=rwc", folder.join("test.db").display());
    let home = Home::new(url).await;
    let insert = "INSERT INTO outbound_event (topic, payload) SELECT 'event.a.b.c', '{}' FROM";
    home.execute(&format!("{insert} {}", home.numbers(100))).await;
    home
}

/// Claims one row and settles it.
async fn publish_one(store: &SqlStore) {
    let claim = store.claim(1, LEASE).await.unwrap();
    let settlement = Settlement { seq: claim.rows[0].seq, outcome: Outcome::Published };
    assert_eq!(store.settle(&claim.token, &[settlement]).await.unwrap(), 1);
}

async fn busy_timeout(db: &impl ConnectionTrait) -> i64 {
    let ask = Statement::from_string(db.get_database_backend(), "PRAGMA busy_timeout");
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Holds the lock again and again, lets go of it for a moment only, and says how often it has taken it. Until nobody listens.
async fn hog(neighbour: Database, holds: watch::Sender<usize>) {
    const FREE: Duration = Duration::from_millis(20);
    while !holds.is_closed() {
        let transaction = neighbour.begin().await.unwrap();
        holds.send_modify(|count| *count += 1);
        // Longer than it takes until SQLite's own wait looks every 100 ms only.
        sleep(Duration::from_millis(fastrand::u64(250..350))).await;
        transaction.commit().await.unwrap();
        sleep(FREE).await;
    }
    neighbour.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_in_which_a_neighbour_lets_go_of_the_lock_is_enough() {
    const ROWS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let store = home.store();
    let (hold, mut holds) = watch::channel(0);
    let hog = tokio::spawn(hog(home.neighbour().await, hold));
    let mut waited = 0;
    for _ in 0..ROWS {
        holds.changed().await.unwrap();
        let before = *holds.borrow_and_update();
        publish_one(&store).await;
        waited += *holds.borrow() - before;
    }
    drop(holds);
    hog.await.unwrap();
    // A row takes one. A look every 100 ms needs several for its claim, and for its settlement where that comes too late.
    assert!(waited <= 2 * ROWS, "{ROWS} rows took {waited} moments");
    home.database.close().await;
}

#[tokio::test]
async fn what_others_do_on_the_connection_waits_as_they_were_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let (store, connection) = (home.store(), home.database.connection());
    assert_eq!(busy_timeout(connection).await, BUSY_TIMEOUT_MS);
    publish_one(&store).await;
    assert_eq!(busy_timeout(connection).await, BUSY_TIMEOUT_MS);
    let transaction = home.database.begin().await.unwrap();
    assert_eq!(busy_timeout(&transaction).await, BUSY_TIMEOUT_MS);
    transaction.rollback().await.unwrap();
    // What somebody set comes back too.
    home.execute("PRAGMA busy_timeout = 1234").await;
    publish_one(&store).await;
    assert_eq!(busy_timeout(connection).await, 1234);
    home.database.close().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_while_it_waits_spoils_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let held = neighbour.begin().await.unwrap();
    for wait_ms in 1..=40 {
        let wait = Duration::from_millis(wait_ms);
        tokio::time::timeout(wait, store.claim(1, LEASE)).await.unwrap_err();
        tokio::time::timeout(wait, home.database.begin()).await.unwrap_err();
    }
    held.rollback().await.unwrap();
    assert_eq!(home.count("SELECT count(claim_token) FROM outbound_event").await, 0);
    publish_one(&store).await;
    assert_eq!(busy_timeout(home.database.connection()).await, BUSY_TIMEOUT_MS);
    home.database.close().await;
}

#[tokio::test]
async fn a_lock_that_is_never_free_is_waited_for_as_long_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let held = neighbour.begin().await.unwrap();
    let at = Instant::now();
    let error = home.database.begin().await.unwrap_err().to_string();
    assert!(error.contains("locked"), "{error}");
    assert!(at.elapsed() >= Duration::from_secs(10), "{:?}", at.elapsed());
    held.rollback().await.unwrap();
    publish_one(&store).await;
    home.database.close().await;
}
