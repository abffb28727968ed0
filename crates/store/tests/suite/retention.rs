//! Cleaning up.

use std::time::{Duration, Instant};

use postroad_store::query::outbox::{Skipped, skip};
use postroad_store::query::retention::{due, older_than};
use postroad_store::query::status::status;
use postroad_store::{CleaningRun, SqlStore, config};
use postroad_worker_core::{
    Begun, Cleaned, InboxStore, Maintenance, Occasion, OutboxStore, Outcome, RowsByKind, RunEnd,
    Settlement, Stored,
};

use super::home::Home;
use super::inbox::message;

const LEASE: Duration = Duration::from_mins(2);
const FIRST: Duration = Duration::from_mins(3);
const HOUR: Duration = Duration::from_hours(1);
const DAY: i64 = 24 * 3600;

async fn configure(home: &Home, values: &[&str]) {
    home.execute("INSERT INTO event_bus_runtime_config (config_key) VALUES ('default')").await;
    set(home, values).await;
}

async fn set(home: &Home, values: &[&str]) {
    let values: Vec<_> = values
        .iter()
        .map(|value| value.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    config::set(&home.database, "default", &values).await.unwrap();
}

/// A row that was made and ended so many days ago.
async fn ended(home: &Home, status: &str, days: i64) {
    let then = home.seconds_from_now(-days * DAY);
    let published_at = if status == "published" { &then } else { "NULL" };
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, status, published_at, enqueued_at, updated_at) \
         VALUES ('t', '{{}}', '{status}', {published_at}, {then}, {then})"
    ))
    .await;
}

async fn ended_message(home: &Home, status: &str, days: i64) {
    let then = home.seconds_from_now(-days * DAY);
    let processed_at = if status == "processed" { &then } else { "NULL" };
    home.execute(&format!(
        "INSERT INTO inbound_event (topic, message_id, message_type, payload, status, processed_at, enqueued_at) \
         VALUES ('t', 'm', 'event', '{{}}', '{status}', {processed_at}, {then})"
    ))
    .await;
}

/// How many rows of each state there are, where there are any.
async fn left(home: &Home, table: &str) -> Vec<(&'static str, i64)> {
    let mut left = Vec::new();
    for status in ["error", "invalid", "pending", "processed", "published"] {
        let rows = format!("SELECT count(*) FROM {table} WHERE status = '{status}'");
        left.push((status, home.count(&rows).await));
    }
    left.retain(|(_, rows)| *rows > 0);
    left
}

async fn begun(store: &SqlStore, occasion: Occasion) -> CleaningRun {
    match store.begin(occasion, LEASE, FIRST).await.unwrap() {
        Begun::Run(run) => run,
        Begun::Later(wait) => panic!("not before {wait:?}"),
    }
}

/// Cleans in batches of so many rows; what is gone, and how many batches there were.
async fn through(store: &SqlStore, run: &mut CleaningRun, rows: usize) -> (RowsByKind, usize) {
    let (mut deleted, mut batches) = (RowsByKind::default(), 0);
    loop {
        batches += 1;
        match store.clean(run, rows, LEASE).await.unwrap() {
            Cleaned::Some(more) => deleted += more,
            Cleaned::All(more) => {
                deleted += more;
                store.end(run, &RunEnd::Complete, Some(HOUR)).await.unwrap();
                return (deleted, batches);
            }
            Cleaned::LeaseLost => panic!("the lease is lost"),
        }
    }
}

/// A whole run.
async fn clean(home: &Home) -> RowsByKind {
    let store = home.store();
    let mut run = begun(&store, Occasion::ByHand).await;
    through(&store, &mut run, 3).await.0
}

pub(crate) async fn a_row_goes_when_its_days_are_over_and_not_before(home: Home) {
    configure(&home, &[]).await;
    for days in [6, 8, 100] {
        for status in ["pending", "published", "invalid", "error"] {
            ended(&home, status, days).await;
        }
    }
    // It was made long ago, and published just now.
    ended(&home, "published", 0).await;
    home.execute(&format!(
        "UPDATE outbound_event SET enqueued_at = {} WHERE seq = 13",
        home.seconds_from_now(-100 * DAY)
    ))
    .await;
    assert_eq!(clean(&home).await, RowsByKind { published: 2, ..RowsByKind::default() });
    let expected = [("error", 3), ("invalid", 3), ("pending", 3), ("published", 2)];
    assert_eq!(left(&home, "outbound_event").await, expected);

    set(
        &home,
        &["retention_days_error=99", "retention_days_invalid=7", "retention_days_published=never"],
    )
    .await;
    assert_eq!(clean(&home).await, RowsByKind { error: 1, invalid: 2, ..RowsByKind::default() });
    let expected = [("error", 2), ("invalid", 1), ("pending", 3), ("published", 2)];
    assert_eq!(left(&home, "outbound_event").await, expected);
}

pub(crate) async fn a_message_goes_when_its_days_are_over_and_not_before(home: Home) {
    configure(&home, &[]).await;
    for days in [29, 31] {
        for status in ["pending", "processed", "error"] {
            ended_message(&home, status, days).await;
        }
        home.execute(&format!(
            "INSERT INTO quarantined_message (topic, reason, body, received_at) VALUES ('t', 'r', '', {})",
            home.seconds_from_now(-days * DAY)
        ))
        .await;
    }
    assert_eq!(clean(&home).await, RowsByKind { processed: 1, ..RowsByKind::default() });
    set(&home, &["retention_days_error=30", "retention_days_quarantined=30"]).await;
    let expected = RowsByKind { error: 1, quarantined: 1, ..RowsByKind::default() };
    assert_eq!(clean(&home).await, expected);
    let expected = [("error", 1), ("pending", 2), ("processed", 1)];
    assert_eq!(left(&home, "inbound_event").await, expected);
    assert_eq!(home.count("SELECT count(*) FROM quarantined_message").await, 1);
}

pub(crate) async fn a_duplicate_is_known_for_its_days_and_as_long_as_its_row_is_there(home: Home) {
    configure(&home, &[]).await;
    let store = home.store();
    let again = async || store.store(&[message("m", "1")]).await.unwrap();
    let (new, known) = (
        Stored { inserted: 1, ..Stored::default() },
        Stored { duplicates: 1, ..Stored::default() },
    );
    assert_eq!(again().await, new);
    let age = async |table: &str, column: &str, days: i64| {
        let then = home.seconds_from_now(-days * DAY);
        home.execute(&format!("UPDATE {table} SET {column} = {then}")).await;
    };
    age("inbound_dedupe", "created_at", 40).await;
    age("inbound_event", "enqueued_at", 40).await;
    assert_eq!(clean(&home).await, RowsByKind::default());
    assert_eq!(again().await, known, "its row is still there, pending");

    home.execute("DELETE FROM inbound_event").await;
    age("inbound_dedupe", "created_at", 13).await;
    assert_eq!(clean(&home).await, RowsByKind::default());
    assert_eq!(again().await, known, "its row is gone, its days are not over");
    age("inbound_dedupe", "created_at", 15).await;
    assert_eq!(clean(&home).await, RowsByKind { dedupe: 1, ..RowsByKind::default() });
    assert_eq!(again().await, new);

    age("inbound_dedupe", "created_at", 31).await;
    age("inbound_event", "processed_at", 31).await;
    home.execute("UPDATE inbound_event SET status = 'processed', processed = true").await;
    let expected = RowsByKind { processed: 1, dedupe: 1, ..RowsByKind::default() };
    assert_eq!(due(&home.database).await.unwrap()["default"], expected);
    assert_eq!(clean(&home).await, expected, "both in one run");
}

pub(crate) async fn many_notes_of_one_moment_are_walked_in_batches(home: Home) {
    configure(&home, &[]).await;
    let store = home.store();
    let batch: Vec<_> = (0..50).map(|number| message(&format!("m-{number}"), "1")).collect();
    store.store(&batch).await.unwrap();
    let then = home.seconds_from_now(-20 * DAY);
    home.execute(&format!("UPDATE inbound_dedupe SET created_at = {then}")).await;
    home.execute("DELETE FROM inbound_event WHERE message_id LIKE '%5'").await;
    assert_eq!(clean(&home).await, RowsByKind { dedupe: 5, ..RowsByKind::default() });
    assert_eq!(home.count("SELECT count(*) FROM inbound_dedupe").await, 45);
}

pub(crate) async fn only_one_cleaner_works_at_a_time(home: Home) {
    configure(&home, &[]).await;
    for _ in 0..4 {
        ended(&home, "published", 8).await;
    }
    let store = home.store();
    let neighbour = SqlStore::new(home.neighbour().await, "default");
    let mut run = begun(&store, Occasion::ByHand).await;
    let second = neighbour.begin(Occasion::ByHand, LEASE, FIRST).await.unwrap();
    assert!(matches!(second, Begun::Later(_)), "two clean at once");
    let two = RowsByKind { published: 2, ..RowsByKind::default() };
    assert_eq!(store.clean(&mut run, 2, LEASE).await.unwrap(), Cleaned::Some(two));

    let past = home.seconds_from_now(-1);
    home.execute(&format!("UPDATE event_bus_maintenance SET leased_until = {past}")).await;
    let cut_off = status(&home.database, None).await.unwrap().configs.remove(0).maintenance;
    assert_eq!(cut_off.last_result.as_deref(), Some("cut off"));
    let mut other = begun(&neighbour, Occasion::ByHand).await;
    assert_eq!(store.clean(&mut run, 2, LEASE).await.unwrap(), Cleaned::LeaseLost);
    assert_eq!(home.count("SELECT count(*) FROM outbound_event").await, 2, "nothing was deleted");
    store.end(&run, &RunEnd::Complete, Some(HOUR)).await.unwrap();
    let running = status(&home.database, None).await.unwrap().configs.remove(0).maintenance;
    assert_eq!(running.last_result.as_deref(), Some("running"));
    assert_eq!(through(&neighbour, &mut other, 2).await.0, two);
}

pub(crate) async fn eight_cleaners_at_once_are_one_and_seven_that_wait(home: Home) {
    configure(&home, &[]).await;
    home.store().begin(Occasion::Due, LEASE, Duration::ZERO).await.unwrap();
    let mut cleaners = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = SqlStore::new(home.neighbour().await, "default");
        cleaners.spawn(async move { store.begin(Occasion::Due, LEASE, FIRST).await.unwrap() });
    }
    let begun = cleaners.join_all().await;
    assert_eq!(begun.iter().filter(|begun| matches!(begun, Begun::Run(_))).count(), 1);
}

pub(crate) async fn a_run_is_due_by_the_databases_clock(home: Home) {
    configure(&home, &[]).await;
    let store = home.store();
    let later = async || match store.begin(Occasion::Due, LEASE, FIRST).await.unwrap() {
        Begun::Later(wait) => wait,
        Begun::Run(_) => panic!("it was not due"),
    };
    assert_eq!(later().await, FIRST);
    // A restart does not put it off.
    let again = later().await;
    assert!(again <= FIRST + Duration::from_secs(1), "{again:?}");
    let past = home.seconds_from_now(-7200);
    home.execute(&format!("UPDATE event_bus_maintenance SET next_run_at = {past}")).await;
    let overdue =
        async || status(&home.database, None).await.unwrap().configs.remove(0).maintenance.overdue;
    assert!(overdue().await);
    let run = begun(&store, Occasion::Due).await;
    assert!(!overdue().await);
    // Who is told to stop leaves the rest to the next.
    store.end(&run, &RunEnd::Stopped, None).await.unwrap();
    let run = begun(&store, Occasion::Due).await;
    store.end(&run, &RunEnd::Failed("no\0 room".to_owned()), Some(HOUR)).await.unwrap();
    let wait = later().await;
    assert!(wait + Duration::from_mins(1) > HOUR && wait <= HOUR + Duration::from_secs(1));
    let failed = status(&home.database, None).await.unwrap().configs.remove(0).maintenance;
    assert_eq!(failed.last_result.as_deref(), Some("failed: no\u{fffd} room"));
    // A config that is not there has nothing to clean.
    let nobody = SqlStore::new(home.database.clone(), "nobody");
    assert!(matches!(nobody.begin(Occasion::ByHand, LEASE, FIRST).await, Ok(Begun::Later(_))));
}

pub(crate) async fn rows_that_stay_are_looked_at_once_a_run(home: Home) {
    configure(&home, &[]).await;
    for days in (10..40).rev() {
        ended(&home, "error", days).await;
        ended(&home, "published", days).await;
    }
    let store = home.store();
    let mut run = begun(&store, Occasion::ByHand).await;
    let (deleted, batches) = through(&store, &mut run, 10).await;
    assert_eq!(deleted, RowsByKind { published: 30, ..RowsByKind::default() });
    // Six full batches, an empty one, and one each for inbox, quarantine and notes.
    assert_eq!(batches, 10);
}

pub(crate) async fn a_walk_ends_where_rows_are_young_unless_a_person_asks(home: Home) {
    configure(&home, &[]).await;
    ended(&home, "published", 8).await;
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, status, published, published_at) \
         SELECT 't', '{{}}', 'published', true, {} FROM {} AS n",
        home.seconds_from_now(0),
        home.numbers(12_000)
    ))
    .await;
    // By its time of making it is as young as the others.
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, status, published, published_at) \
         VALUES ('t', '{{}}', 'published', true, {})",
        home.seconds_from_now(-8 * DAY)
    ))
    .await;
    let store = home.store();
    store.begin(Occasion::Due, LEASE, Duration::ZERO).await.unwrap();
    let one = RowsByKind { published: 1, ..RowsByKind::default() };
    for (occasion, outbox_batches) in [(Occasion::Due, 11), (Occasion::ByHand, 13)] {
        let mut run = begun(&store, occasion).await;
        let (deleted, batches) = through(&store, &mut run, 1_000).await;
        assert_eq!((deleted, batches), (one, outbox_batches + 3), "{occasion:?}");
    }
}

pub(crate) async fn a_config_keeps_what_is_anothers(home: Home) {
    configure(&home, &["retention_days_quarantined=1"]).await;
    home.execute("INSERT INTO event_bus_runtime_config (config_key) VALUES ('other')").await;
    let other = SqlStore::new(home.database.clone(), "other");
    for days in [8, 9] {
        ended(&home, "published", days).await;
    }
    ended_message(&home, "processed", 31).await;
    other.store(&[message("m", "1"), message("m", "2")]).await.unwrap();
    for (table, time) in [
        ("outbound_event", "enqueued_at"),
        ("inbound_event", "enqueued_at"),
        ("inbound_dedupe", "created_at"),
        ("quarantined_message", "received_at"),
    ] {
        let then = home.seconds_from_now(-40 * DAY);
        home.execute(&format!("UPDATE {table} SET config_key = 'other', {time} = {then}")).await;
    }
    assert_eq!(clean(&home).await, RowsByKind::default());
    assert_eq!(left(&home, "outbound_event").await, [("published", 2)]);
    let all = due(&home.database).await.unwrap();
    assert_eq!(all.get("default"), None);
    assert_eq!(all["other"], RowsByKind { published: 2, processed: 1, ..RowsByKind::default() });
}

/// Two of three million primary keys are in use by no row, as after many were deleted.
pub(crate) async fn in_very_long_tables_what_is_done_with_is_estimated(home: Home) {
    configure(&home, &[]).await;
    let (rows, old) = (60_000, home.seconds_from_now(-40 * DAY));
    // An error that is kept for ever, long before the others.
    ended(&home, "error", 400).await;
    ended_message(&home, "error", 400).await;
    let state = |ended: &str| {
        format!(
            "CASE WHEN n % 20000 = 0 THEN 'error' WHEN n % 10000 = 0 THEN 'pending' ELSE '{ended}' END"
        )
    };
    let numbers = home.numbers(rows);
    home.execute(&format!(
        "INSERT INTO outbound_event (seq, topic, payload, ordering_key, status, published_at) \
         SELECT 500000 + n * 50, 't', '{{}}', CASE WHEN n % 30000 = 0 THEN 'k' END, {}, \
             CASE WHEN n <= 30000 THEN {old} ELSE {} END FROM {numbers} AS numbers",
        state("published"),
        home.seconds_from_now(0),
    ))
    .await;
    home.execute(&format!(
        "INSERT INTO inbound_event (seq, topic, message_id, message_type, payload, status, processed_at) \
         SELECT 500000 + n * 50, 't', concat('m', n), 'event', '{{}}', {}, {old} FROM {numbers} AS numbers",
        state("processed"),
    ))
    .await;
    let near = |found: i64, expected: i64| (found - expected).abs() <= expected / 20;
    let told = status(&home.database, None).await.unwrap().configs.remove(0);
    let (outbound, inbound, cleaning) = (told.outbound, told.inbound, told.maintenance);
    assert_eq!((outbound.pending, outbound.error, outbound.invalid), (3, 4, 0));
    assert!(outbound.oldest_pending_seconds.is_some() && outbound.published_estimated);
    assert!(near(outbound.published, 59_994), "{outbound:?}");
    assert_eq!((inbound.pending, inbound.error), (3, 4));
    assert!(inbound.processed_estimated && near(inbound.processed, 59_994), "{inbound:?}");
    assert!(cleaning.rows_left_estimated);
    assert!(near(cleaning.rows_left.try_into().unwrap(), 90_000), "{cleaning:?}");
    // What is asked for to be deleted is known to the row.
    let rows = due(&home.database).await.unwrap().remove("default").unwrap();
    assert_eq!((rows.published, rows.processed, rows.error), (29_997, 59_994, 0));
}

pub(crate) async fn what_is_due_is_counted_and_told(home: Home) {
    configure(&home, &["retention_days_invalid=1"]).await;
    let told = async || status(&home.database, None).await.unwrap().configs.remove(0).maintenance;
    let before = told().await;
    assert_eq!((before.rows_left, before.last_started_at, before.overdue), (0, None, false));
    for days in [2, 8, 9] {
        ended(&home, "published", days).await;
        ended(&home, "invalid", days).await;
    }
    let expected = RowsByKind { published: 2, invalid: 3, ..RowsByKind::default() };
    assert_eq!(due(&home.database).await.unwrap()["default"], expected);
    assert_eq!(told().await.rows_left, 5);
    let store = home.store();
    let mut run = begun(&store, Occasion::ByHand).await;
    // One of the first two is too young.
    store.clean(&mut run, 3, LEASE).await.unwrap();
    let during = told().await;
    assert_eq!(during.last_result.as_deref(), Some("running"));
    assert_eq!((during.rows_left, during.deleted.total()), (3, 2));
    through(&store, &mut run, 3).await;
    let after = told().await;
    assert_eq!(after.last_result.as_deref(), Some("complete"));
    assert_eq!((after.rows_left, after.deleted), (0, expected));
    assert!(after.last_finished_at >= after.last_started_at && after.last_started_at.is_some());
    assert!(after.next_run_at > after.last_finished_at);

    let kept = older_than(&home.database, "default").await.unwrap().unwrap();
    assert_eq!((kept.error, kept.quarantined), (None, None));
    for time in [kept.published, kept.processed, kept.invalid, kept.dedupe].map(Option::unwrap) {
        assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{time}");
    }
    assert_eq!(older_than(&home.database, "nobody").await.unwrap(), None);
}

pub(crate) async fn a_published_row_is_deleted_at_once_where_that_is_wanted(home: Home) {
    configure(&home, &[]).await;
    for _ in 0..5 {
        ended(&home, "pending", 0).await;
    }
    let store = home.store().delete_on_publish(true);
    let held = store.claim(100, LEASE).await.unwrap();
    let settle = |seq, outcome| Settlement { seq, outcome };
    let settlements = [
        settle(1, Outcome::Published),
        settle(2, Outcome::Unacknowledged),
        settle(3, Outcome::Failed("refused".to_owned())),
        settle(4, Outcome::Invalid("bad".to_owned())),
    ];
    assert_eq!(store.settle("somebody else's", &settlements).await.unwrap(), 0);
    assert_eq!(store.settle(&held.token, &settlements).await.unwrap(), 4);
    assert_eq!(store.settle(&held.token, &settlements).await.unwrap(), 0);
    let expected = [("error", 1), ("invalid", 1), ("pending", 1)];
    assert_eq!(left(&home, "outbound_event").await, expected);
}

pub(crate) async fn a_skipped_head_lets_the_next_row_go(home: Home) {
    for _ in 0..2 {
        home.execute("INSERT INTO outbound_event (topic, payload, ordering_key) VALUES ('event.a.b.c', '1', 'k')")
            .await;
    }
    let far = home.seconds_from_now(DAY);
    home.execute(&format!(
        "UPDATE outbound_event SET next_retry_at = {far}, last_error = 'no route' WHERE seq = 1"
    ))
    .await;
    let (store, db) = (home.store(), &home.database);
    let rows = home.rows("SELECT * FROM outbound_event ORDER BY seq").await;
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert!(store.claim(100, LEASE).await.unwrap().rows.is_empty());
    assert_eq!(skip(db, ids[0]).await.unwrap(), Skipped::Done);
    let row = home.rows("SELECT * FROM outbound_event WHERE seq = 1").await.remove(0);
    assert_eq!(row["status"], "error");
    assert_eq!(row["last_error"], "skipped by a person; before: no route");
    assert_eq!(skip(db, ids[0]).await.unwrap(), Skipped::Ended("error".to_owned()));

    let held = store.claim(100, LEASE).await.unwrap();
    assert_eq!(held.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [2]);
    let Skipped::Held(until) = skip(db, ids[1]).await.unwrap() else { panic!("it was skipped") };
    assert!(until.ends_with('Z') && until.len() == 24, "{until}");
    let published = [Settlement { seq: 2, outcome: Outcome::Published }];
    assert_eq!(store.settle(&held.token, &published).await.unwrap(), 1);
    assert_eq!(skip(db, ids[1]).await.unwrap(), Skipped::Ended("published".to_owned()));
    assert_eq!(skip(db, "nobody").await.unwrap(), Skipped::Unknown);

    // A lease that is over is nobody's.
    home.execute("INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.c', '1')").await;
    let held = store.claim(100, LEASE).await.unwrap();
    let past = home.seconds_from_now(-1);
    home.execute(&format!("UPDATE outbound_event SET claimed_until = {past} WHERE seq = 3")).await;
    let id = home.rows("SELECT * FROM outbound_event WHERE seq = 3").await.remove(0);
    assert_eq!(skip(db, id["id"].as_str().unwrap()).await.unwrap(), Skipped::Done);
    let late = [Settlement { seq: 3, outcome: Outcome::Published }];
    assert_eq!(store.settle(&held.token, &late).await.unwrap(), 0);
    let skipped = home.rows("SELECT last_error FROM outbound_event WHERE seq = 3").await;
    assert_eq!(skipped[0]["last_error"], "skipped by a person");
}

pub(crate) async fn cleaning_goes_on_beside_the_work(home: Home) {
    configure(&home, &[]).await;
    let then = home.seconds_from_now(-8 * DAY);
    let numbers = home.numbers(3_000);
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, status, published, published_at, enqueued_at) \
         SELECT 't', '{{}}', 'published', true, {then}, {then} FROM {numbers} AS n"
    ))
    .await;
    let old: Vec<_> = (0..300).map(|number| message(&format!("old-{number}"), "1")).collect();
    home.store().store(&old).await.unwrap();
    home.execute("DELETE FROM inbound_event").await;
    home.execute(&format!(
        "UPDATE inbound_dedupe SET created_at = {}",
        home.seconds_from_now(-15 * DAY)
    ))
    .await;
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload) SELECT 'event.a.b.c', '{{}}' FROM {} AS n",
        home.numbers(600)
    ))
    .await;
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let store = SqlStore::new(home.neighbour().await, "default");
        work.spawn(async move {
            loop {
                let held = store.claim(20, LEASE).await.unwrap();
                let settle = |seq| Settlement { seq, outcome: Outcome::Published };
                let settlements: Vec<_> = held.rows.iter().map(|row| settle(row.seq)).collect();
                if settlements.is_empty() {
                    return;
                }
                let settled = store.settle(&held.token, &settlements).await.unwrap();
                assert_eq!(settled, settlements.len());
            }
        });
    }
    // What is forgotten at this very moment comes again.
    let intake = SqlStore::new(home.neighbour().await, "default");
    work.spawn(async move {
        for batch in old.chunks(10) {
            intake.store(batch).await.unwrap();
        }
    });
    let store = home.store();
    let mut run = begun(&store, Occasion::ByHand).await;
    let began = Instant::now();
    let (deleted, _) = through(&store, &mut run, 100).await;
    work.join_all().await;
    assert_eq!(deleted.published, 3_000, "after {:?}", began.elapsed());
    assert_eq!(left(&home, "outbound_event").await, [("published", 600)]);
    let twice = "SELECT count(*) - count(DISTINCT message_id) FROM inbound_event";
    assert_eq!(home.count(twice).await, 0);
}
