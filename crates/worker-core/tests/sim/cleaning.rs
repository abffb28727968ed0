//! Cleaning up, beside the work and never in its way.

use std::time::Duration;

use postroad_transport_memory::Broker;
use postroad_worker_core::{RunEnd, Settings, clean_by_hand};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::promises::{insert, pending, settings, start, until};
use crate::store::{MemoryStore, StoreFault};

/// How each run ended.
fn ends(store: &MemoryStore) -> Vec<RunEnd> {
    store.tables().cleaning.ends.clone()
}

#[tokio::test(start_paused = true)]
async fn of_eight_workers_one_cleans_and_that_every_hour() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    let began = Instant::now();
    store.tables().cleaning.due = 10_000;
    let workers: Vec<_> =
        (0..8).map(|seed| start(&store, &broker, Settings { seed, ..settings() })).collect();
    sleep(Duration::from_hours(5)).await;
    for (worker, stop) in workers {
        stop.cancel();
        worker.await.unwrap();
    }
    let tables = store.tables();
    let cleaning = &tables.cleaning;
    assert_eq!(cleaning.due, 0);
    assert!((4..=6).contains(&cleaning.begun.len()), "{:?}", cleaning.begun);
    assert_eq!(cleaning.ends, vec![RunEnd::Complete; cleaning.begun.len()]);
    let first = cleaning.begun[0] - began;
    assert!(first > Duration::from_mins(2) && first < Duration::from_mins(4), "{first:?}");
    for pair in cleaning.begun.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause > Duration::from_mins(53) && pause < Duration::from_mins(67), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn workers_that_restart_all_the_time_clean_all_the_same() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    let began = Instant::now();
    while ends(&store).is_empty() {
        assert!(began.elapsed() < Duration::from_mins(6), "no run in all that time");
        let (worker, stop) = start(&store, &broker, settings());
        sleep(Duration::from_secs(20)).await;
        stop.cancel();
        worker.await.unwrap();
    }
    // Nor does each restart begin a run of its own.
    for _ in 0..50 {
        let (worker, stop) = start(&store, &broker, settings());
        sleep(Duration::from_secs(20)).await;
        stop.cancel();
        worker.await.unwrap();
    }
    assert_eq!(ends(&store).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn cleaning_takes_a_fifth_of_the_time_in_small_batches() {
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    store.tables().cleaning.due = 20_000;
    // Each batch takes as long as a busy database may need.
    store.set_faults(|| Some(StoreFault::Slow(Duration::from_millis(60))));
    let began = Instant::now();
    let mut heard = Vec::new();
    let cleaned = clean_by_hand(&store, &stop, |rows| heard.push(rows.total())).await.unwrap();
    let (end, deleted) = cleaned.unwrap();
    assert_eq!((end, deleted.total()), (RunEnd::Complete, 20_000));
    assert!(heard.is_sorted() && heard.last() == Some(&20_000));
    let batches = store.tables().cleaning.batches.len();
    let busy = Duration::from_millis(60) * u32::try_from(batches).unwrap();
    assert!(began.elapsed() > busy * 4, "{:?} for {batches} batches", began.elapsed());
    assert!(store.tables().cleaning.batches.iter().all(|(_, rows)| *rows <= 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_slow_database_gets_smaller_batches() {
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    store.tables().cleaning.due = 3_000;
    store.set_faults(|| Some(StoreFault::Slow(Duration::from_secs(1))));
    clean_by_hand(&store, &stop, |_| ()).await.unwrap().unwrap();
    let smallest = store.tables().cleaning.batches.iter().map(|(_, rows)| *rows).min();
    assert!(smallest.is_some_and(|rows| rows <= 20), "{smallest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_run_at_once_and_the_next_worker_goes_on() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    store.tables().cleaning.due = 1_000_000;
    store.tables().cleaning.next_run = Some(Instant::now());
    let (worker, stop) = start(&store, &broker, settings());
    until("it cleans", || !store.tables().cleaning.batches.is_empty()).await;
    let told_at = Instant::now();
    stop.cancel();
    worker.await.unwrap();
    assert!(told_at.elapsed() < Duration::from_secs(1), "took {:?}", told_at.elapsed());
    assert_eq!(ends(&store), [RunEnd::Stopped]);
    let (worker, stop) = start(&store, &broker, settings());
    until("the next one cleans", || store.tables().cleaning.begun.len() == 2).await;
    assert!(told_at.elapsed() < Duration::from_mins(1), "took {:?}", told_at.elapsed());
    // A database that does not answer any more does not hold up the end either.
    store.set_faults(|| Some(StoreFault::Slow(Duration::from_hours(1))));
    sleep(Duration::from_secs(3)).await;
    let told_at = Instant::now();
    stop.cancel();
    worker.await.unwrap();
    assert!(told_at.elapsed() <= Duration::from_secs(12), "took {:?}", told_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_cleaner_is_replaced_when_its_lease_is_over() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    store.tables().cleaning.due = 1_000_000;
    store.tables().cleaning.next_run = Some(Instant::now());
    let (killed, _stop) = start(&store, &broker, settings());
    until("it cleans", || !store.tables().cleaning.batches.is_empty()).await;
    killed.abort();
    let (worker, stop) = start(&store, &broker, Settings { seed: 1, ..settings() });
    until("the other one cleans", || store.tables().cleaning.begun.len() == 2).await;
    let begun = store.tables().cleaning.begun.clone();
    let pause = begun[1] - begun[0];
    assert!(pause > Duration::from_mins(2) && pause < Duration::from_mins(3), "{pause:?}");
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_is_told_tried_again_and_ends_no_worker() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    store.tables().cleaning.due = 10;
    store.tables().cleaning.next_run = Some(Instant::now());
    store.refuse_cleaning(true);
    let (worker, stop) = start(&store, &broker, settings());
    until("the run is given up", || !ends(&store).is_empty()).await;
    assert!(matches!(&ends(&store)[0], RunEnd::Failed(why) if why.contains("no permission")));
    insert(&store, 10);
    until("rows are published all the same", || pending(&store) == 0).await;
    store.refuse_cleaning(false);
    sleep(Duration::from_mins(12)).await;
    assert_eq!(store.tables().cleaning.due, 0);
    assert_eq!(ends(&store)[1], RunEnd::Complete);
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_person_waits_for_nobody() {
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    store.tables().cleaning.due = 1_000_000;
    let other = (store.clone(), stop.clone());
    let under_way = tokio::spawn(async move { clean_by_hand(&other.0, &other.1, |_| ()).await });
    until("it cleans", || !store.tables().cleaning.batches.is_empty()).await;
    assert!(clean_by_hand(&store, &stop, |_| ()).await.unwrap().is_none());
    stop.cancel();
    let (end, deleted) = under_way.await.unwrap().unwrap().unwrap();
    assert_eq!((end, deleted.total() + store.tables().cleaning.due), (RunEnd::Stopped, 1_000_000));
}
