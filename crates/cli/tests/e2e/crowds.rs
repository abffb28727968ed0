//! Eight workers of one config that share its rows, whatever happens to some of them.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::support::{
    Bus, Crowd, Home, Rabbit, Recorder, Tally, Url, dice, on_servers, scaled_time, show, until,
    until_in,
};

/// The most that may go out twice for each worker killed: what is published and not settled.
const WINDOW: usize = 256;
/// The shortest there is, so that nobody waits long.
const LEASE: Duration = Duration::from_secs(5);
const ARGUMENTS: [&str; 2] = ["--lease-seconds", "5"];
/// After a lease has ended, its rows are with another worker before so long.
const TAKEOVER: Duration = Duration::from_secs(5);
/// The machine may be busy with something else, so it is tried so often.
const TAKEOVERS: usize = 3;
/// How long workers come to grief; everything else of such a test takes about as long.
const TROUBLE: Duration = Duration::from_secs(5);
/// For the last leases to end and the rest to be sent.
const CALM: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn eight_workers_killed_and_started_at_random_publish_every_row_and_repeat_little() {
    on_servers(async |bus| {
        let mut dice = dice();
        bus.configure("default", &[]);
        let recorder = bus.rabbit.listen("event.#").await.record();
        let mut crowd = Crowd::start(&bus.postroad, 8, &ARGUMENTS);
        let mut feeding = dice.fork();
        tokio::select! {
            () = crowd.trouble(scaled_time(TROUBLE), &mut dice) => {}
            () = feed(bus, &mut feeding) => {}
        }
        finish(bus, recorder, crowd).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn four_workers_on_one_sqlite_file_publish_every_row_and_repeat_little() {
    let mut dice = dice();
    let home = Home::migrated().await;
    let url = Url::from_environment();
    let tag = Uuid::new_v4().simple().to_string();
    let rabbit = Rabbit::connect(&url, &format!("e2e-{tag}")).await;
    home.postroad.import(&config_of(&url, &tag));
    let recorder = rabbit.listen("event.#").await.record();
    let mut crowd = Crowd::start(&home.postroad, 4, &ARGUMENTS);
    let insert = format!(
        "INSERT INTO outbound_event (topic, event_type, payload) \
         SELECT 'event.machine.spindle.started', 'started', json_object('n', n) FROM {}",
        home.sql.numbers(20)
    );
    let feeding = async {
        loop {
            // Waits for its turn as the workers do.
            let transaction = home.sql.begin().await;
            transaction.execute_unprepared(&insert).await.unwrap();
            transaction.commit().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = crowd.trouble(scaled_time(TROUBLE), &mut dice) => {}
        () = feeding => {}
    }
    let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
    until_in(CALM, "all rows are sent", async || home.sql.count(pending).await == 0).await;
    let rows =
        home.sql.count("SELECT count(*) FROM outbound_event WHERE status = 'published'").await;
    let received = "SELECT count(DISTINCT message_id) FROM inbound_event";
    until_in(CALM, "all is received", async || home.sql.count(received).await == rows).await;
    assert_eq!(home.sql.count("SELECT count(*) FROM inbound_event").await, rows);
    let tally = recorder.compare(&home.sql).await;
    let kills = crowd.kills;
    crowd.stop().await;
    rabbit.delete_queue(&format!("ebmr_{tag}.inbox")).await;
    rabbit.delete_exchange().await;
    show(&format!("{tally:?}, {kills} workers killed"));
    assert!(kills > 0 && tally.rows >= 200, "nothing happened");
    assert!(tally.repeated <= kills * WINDOW, "{tally:?} by {kills} kills");
}

fn config_of(url: &Url, tag: &str) -> String {
    let Url { host, port, username, password, virtual_host } = url;
    format!(
        r#"
        [config.default]
        host = "{host}:{port}"
        username = "{username}"
        password = "{password}"
        source_service = "ebmr_{tag}"
        retry_interval_seconds = 1
        poll_interval_ms = 50
        heartbeat_interval_seconds = 1
        [config.default.rabbitmq]
        virtual_host = "{virtual_host}"
        exchange = "e2e-{tag}"
        "#
    )
}

/// Writes rows without pause.
async fn feed(bus: &Bus, dice: &mut fastrand::Rng) {
    loop {
        bus.enqueue(dice.u32(1..80)).await;
        tokio::time::sleep(Duration::from_millis(dice.u64(1..40))).await;
    }
}

/// Waits until all is sent and received, and counts what the kills cost.
async fn finish(bus: &Bus, recorder: Recorder, crowd: Crowd<'_>) -> Tally {
    let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
    until_in(CALM, "all rows are sent", async || bus.sql.count(pending).await == 0).await;
    let tally = recorder.compare(&bus.sql).await;
    let rows = i64::try_from(tally.rows).unwrap();
    assert_eq!(bus.published().await, rows);
    let received = "SELECT count(*) FROM inbound_event";
    until_in(CALM, "all is received", async || bus.sql.count(received).await >= rows).await;
    bus.until_received("default", rows).await;
    let (kills, stops) = (crowd.kills, crowd.stops);
    show(&format!("{tally:?}, {kills} workers killed, {stops} stopped"));
    assert!(kills > 0 && tally.rows >= 200, "nothing happened");
    assert!(tally.repeated <= kills * WINDOW, "{tally:?} by {kills} kills");
    crowd.stop().await;
    tally
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn the_rows_of_a_killed_worker_are_with_another_soon_after_their_lease() {
    on_servers(async |bus| {
        let lease = scaled_time(LEASE);
        // As slow as an idle worker comes to look.
        bus.configure("default", &["poll_interval_ms=1000"]);
        let mut all = Vec::new();
        for _ in 0..TAKEOVERS {
            all.push(takeover(bus, lease).await);
            if all.iter().any(|took| *took < lease + TAKEOVER) {
                return;
            }
        }
        panic!("not once in {lease:?} and {TAKEOVER:?}: {all:?}");
    })
    .await;
}

/// Kills a worker in the middle, and returns how long it took another one to send all.
async fn takeover(bus: &Bus, lease: Duration) -> Duration {
    let arguments = ["--lease-seconds", &lease.as_secs().to_string()];
    let mut killed = bus.postroad.worker(&arguments);
    bus.until_status("default", "running").await;
    hold_in_the_middle(bus).await;
    killed.kill();
    let at = Instant::now();
    bus.broker.cut();
    bus.broker.hold_replies(false);
    let left = held(bus).await;
    assert!(left > 0, "it was killed at a bad time");
    let other = bus.postroad.worker(&arguments);
    let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
    until_in(CALM, "all is sent", async || bus.sql.count(pending).await == 0).await;
    let took = at.elapsed();
    show(&format!("{left} rows were with another {took:?} after the kill"));
    other.stop().await;
    took
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_frozen_for_longer_than_its_lease_settles_nothing_that_is_no_longer_its_own() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let recorder = bus.rabbit.listen("event.#").await.record();
        let mut frozen = bus.postroad.worker(&ARGUMENTS);
        bus.until_status("default", "running").await;
        hold_in_the_middle(bus).await;
        frozen.freeze();
        bus.broker.hold_replies(false);
        let other = bus.postroad.worker(&ARGUMENTS);
        bus.sql.until_sent().await;
        let before = traces(bus).await;

        frozen.go_on();
        let lost = format!("SELECT lease_lost FROM event_bus_worker WHERE pid = {}", frozen.pid());
        until("it finds out", async || bus.sql.count(&lost).await > 0).await;
        frozen.says("no longer ours").await;
        assert_eq!(traces(bus).await, before, "it settled what another had settled");
        other.stop().await;
        // It is as good as any other from then on.
        bus.enqueue(300).await;
        bus.sql.until_sent().await;
        frozen.stop().await;
        let published = "SELECT CAST(sum(published) AS char(20)) AS total FROM event_bus_worker";
        let published = bus.sql.row(published).await["total"].as_str().unwrap().trim().to_owned();
        // No row is counted twice; of a settle that was frozen in the middle nobody knows how it went.
        let published: usize = published.parse().unwrap();
        assert!((3_300 - WINDOW..=3_300).contains(&published), "{published}");
        let tally = recorder.compare(&bus.sql).await;
        show(&format!("{tally:?}"));
        assert!(tally.repeated <= WINDOW, "{tally:?}");
    })
    .await;
}

/// Gives the only worker much to do, and leaves it without the broker's confirms when it is at it.
async fn hold_in_the_middle(bus: &Bus) {
    let before = bus.published().await;
    bus.enqueue(2_000).await;
    until("it is in the middle", async || bus.published().await >= before + 500).await;
    bus.broker.hold_replies(true);
    // However fast it was.
    bus.enqueue(1_000).await;
    until("it waits for confirms", async || held(bus).await >= 300).await;
}

/// How many rows some worker has claimed and not settled.
async fn held(bus: &Bus) -> i64 {
    let held =
        "SELECT count(*) FROM outbound_event WHERE status = 'pending' AND claim_token IS NOT NULL";
    bus.sql.count(held).await
}

/// When and how each row was settled.
async fn traces(bus: &Bus) -> Vec<serde_json::Value> {
    let traces = "SELECT seq, status, published_at, updated_at, retry_count, last_error FROM outbound_event ORDER BY seq";
    bus.sql.rows(traces).await
}
