//! Rows that are committed in another order than they were written in, where a database has several writers at a time.

use std::time::Duration;

use postroad_store::SqlStore;
use postroad_worker_core::{Claim, OutboxStore, Outcome, Settlement};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::suite::home::Home;

async fn claim(store: &SqlStore) -> Claim {
    store.claim(100, Duration::from_secs(30)).await.unwrap()
}

/// Claims rows, settles them as published, and returns which they were.
async fn publish(store: &SqlStore) -> Vec<i64> {
    let Claim { token, rows } = claim(store).await;
    let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
    let settle = |seq: &i64| Settlement { seq: *seq, outcome: Outcome::Published };
    let settlements: Vec<_> = seqs.iter().map(settle).collect();
    assert_eq!(store.settle(&token, &settlements).await.unwrap(), seqs.len());
    seqs
}

fn insert(keys: &[&str]) -> String {
    let rows: Vec<_> = keys.iter().map(|key| format!("('event.a.b.c', '{{}}', {key})")).collect();
    format!("INSERT INTO outbound_event (topic, payload, ordering_key) VALUES {}", rows.join(", "))
}

async fn insert_in(transaction: &DatabaseTransaction, keys: &[&str]) {
    transaction.execute_unprepared(&insert(keys)).await.unwrap();
}

pub(crate) async fn a_row_committed_late_goes_before_those_of_its_key_that_came_after_it(
    home: Home,
) {
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let late = neighbour.begin().await.unwrap();
    insert_in(&late, &["'a'"]).await;
    home.execute(&insert(&["'a'", "'b'", "NULL"])).await;
    let mut first = publish(&store).await;
    first.sort_unstable();
    assert_eq!(first, [3, 4], "other keys do not wait, nor do rows without one");
    assert_eq!(publish(&store).await, [0_i64; 0]);
    late.commit().await.unwrap();
    assert_eq!(publish(&store).await, [1]);
    assert_eq!(publish(&store).await, [2]);
}

pub(crate) async fn a_row_that_is_never_committed_holds_its_key_back_until_that_is_known(
    home: Home,
) {
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let never = neighbour.begin().await.unwrap();
    insert_in(&never, &["'a'"]).await;
    home.execute(&insert(&["'a'"])).await;
    assert_eq!(publish(&store).await, [0_i64; 0]);
    never.rollback().await.unwrap();
    assert_eq!(publish(&store).await, [2]);
}

pub(crate) async fn writers_that_never_pause_do_not_hold_a_key_back_for_ever(home: Home) {
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let mut before = neighbour.begin().await.unwrap();
    insert_in(&before, &["'a'"]).await;
    let mut published = Vec::new();
    for _ in 0..6 {
        // There is always one that writes to the key.
        let next = neighbour.begin().await.unwrap();
        insert_in(&next, &["'a'"]).await;
        before.commit().await.unwrap();
        published.extend(publish(&store).await);
        before = next;
    }
    before.rollback().await.unwrap();
    assert!(published.len() >= 2, "{published:?}");
    assert!(published.is_sorted(), "{published:?}");
}

pub(crate) async fn a_transaction_of_many_rows_holds_every_key_of_them_back(home: Home) {
    let (store, neighbour) = (home.store(), home.neighbour().await);
    let keys: Vec<_> = (0..100).map(|number| format!("'k{number}'")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let large = neighbour.begin().await.unwrap();
    insert_in(&large, &keys).await;
    home.execute(&insert(&keys)).await;
    assert_eq!(publish(&store).await, [0_i64; 0]);
    large.commit().await.unwrap();
    let mut first = Vec::new();
    while first.len() < 100 {
        let more = publish(&store).await;
        assert!(!more.is_empty(), "{first:?}");
        first.extend(more);
    }
    assert!(first.iter().all(|seq| *seq <= 100), "{first:?}");
}

pub(crate) async fn a_process_that_stops_in_the_middle_of_a_transaction_keeps_no_row_for_long(
    home: Home,
) {
    let (store, neighbour) = (home.store(), home.neighbour().await);
    home.execute(&insert(&["'a'", "NULL"])).await;
    let silent = neighbour.begin().await.unwrap();
    silent.execute_unprepared("SELECT seq FROM outbound_event FOR UPDATE").await.unwrap();
    assert_eq!(publish(&store).await, [0_i64; 0]);
    let began = std::time::Instant::now();
    let mut published = Vec::new();
    while published.len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "{published:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        published.extend(publish(&store).await);
    }
    // The server has ended it.
    silent.commit().await.unwrap_err();
}
