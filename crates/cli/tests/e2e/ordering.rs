//! Rows with one ordering key go out in the order in which they were written.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;

use crate::support::{
    Bus, Crowd, Recorder, Sql, dice, on_servers, scaled, scaled_time, show, until_in,
};

/// The most that may go out twice for each worker killed.
const WINDOW: usize = 256;
const ARGUMENTS: [&str; 2] = ["--lease-seconds", "5"];
const TROUBLE: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_mins(10);
/// Services that write at the same time.
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn rows_with_one_key_go_out_in_order_though_workers_die_and_rows_are_committed_late() {
    on_servers(async |bus| {
        let mut dice = dice();
        bus.configure("default", &["inbound_enabled=false"]);
        let recorder = bus.rabbit.listen("event.#").await.record();
        let mut crowd = Crowd::start(&bus.postroad, 4, &ARGUMENTS);
        let writers = (0..WRITERS).map(|_| dice.fork()).collect::<Vec<_>>();
        let keys = scaled(20);
        tokio::select! {
            () = crowd.trouble(scaled_time(TROUBLE), &mut dice) => {}
            _ = join_all(writers.into_iter().map(|dice| write(&bus.sql, dice, keys))) => {}
        }
        finish(bus, recorder, crowd, keys).await;
    })
    .await;
}

/// A service that takes its time to commit, and sometimes does not.
async fn write(sql: &Sql, mut dice: fastrand::Rng, keys: usize) {
    loop {
        let transaction = sql.begin().await;
        for _ in 0..dice.u8(1..5) {
            let key = dice.usize(..keys);
            let insert = format!(
                "INSERT INTO outbound_event (topic, event_type, payload, ordering_key) \
                 VALUES ('event.machine.spindle.started', 'started', '{{}}', 'key-{key}')"
            );
            transaction.execute_unprepared(&insert).await.unwrap();
            tokio::time::sleep(Duration::from_millis(dice.u64(..30))).await;
        }
        if dice.u8(..10) == 0 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn many_keys_with_many_rows_each_keep_their_order_under_kills() {
    on_servers(async |bus| {
        let mut dice = dice();
        bus.configure("default", &["inbound_enabled=false"]);
        let recorder = bus.rabbit.listen("event.#").await.record();
        let (keys, rows) = (scaled(100), scaled(20).min(100));
        for _ in 0..rows {
            let insert = format!(
                "INSERT INTO outbound_event (topic, event_type, payload, ordering_key) \
                 SELECT 'event.machine.spindle.started', 'started', '{{}}', concat('key-', n) FROM {}",
                bus.sql.numbers(keys)
            );
            bus.sql.execute(&insert).await;
        }
        let mut crowd = Crowd::start(&bus.postroad, 4, &ARGUMENTS);
        crowd.trouble(scaled_time(TROUBLE), &mut dice).await;
        finish(bus, recorder, crowd, keys).await;
    })
    .await;
}

/// Waits until all is sent, and counts what the kills cost.
async fn finish(bus: &Bus, recorder: Recorder, crowd: Crowd<'_>, keys: usize) {
    let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
    until_in(CALM, "all rows are sent", async || bus.sql.count(pending).await == 0).await;
    let tally = recorder.compare(&bus.sql).await;
    let kills = crowd.kills;
    show(&format!("{tally:?}, {kills} workers killed"));
    assert!(kills > 0 && tally.keys == keys, "nothing happened: {tally:?}");
    assert!(tally.repeated <= kills * WINDOW, "{tally:?} by {kills} kills");
    crowd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_failing_row_holds_its_own_key_back_and_no_other() {
    on_servers(async |bus| {
        bus.configure("default", &["inbound_enabled=false"]);
        let mut ear = bus.rabbit.listen("event.#").await;
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        let nobody = format!("nobody_{}", bus.service("default"));
        let insert = |topic: &str, key: &str| {
            format!(
                "INSERT INTO outbound_event (topic, request_id, reply_to, event_type, payload, ordering_key) \
                 VALUES ('{topic}', 'r', '{}.response.a.b', 'e', '{{}}', '{key}')",
                bus.service("default")
            )
        };
        // A request that no queue takes is refused until one does.
        bus.sql.execute(&insert(&format!("{nobody}.request.a.b"), "a")).await;
        for key in ["a", "b", "a", "b"] {
            bus.sql.execute(&insert("event.a.b.c", key)).await;
        }
        let of = |key: &str| {
            format!(
                "SELECT count(*) FROM outbound_event WHERE ordering_key = '{key}' AND status = 'published'"
            )
        };
        bus.sql.until_count(2, &of("b")).await;
        let refused = "SELECT count(*) FROM outbound_event WHERE retry_count >= 2";
        bus.sql.until_count(1, refused).await;
        assert_eq!(bus.sql.count(&of("a")).await, 0, "the first of its key was not sent yet");
        let mut late = bus.rabbit.listen(&format!("{nobody}.#")).await;
        bus.sql.until_count(3, &of("a")).await;
        assert_eq!((late.up_to_now().await.len(), ear.up_to_now().await.len()), (1, 4));
        worker.stop().await;
    })
    .await;
}
