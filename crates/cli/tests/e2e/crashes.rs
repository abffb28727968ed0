//! Workers that end in the middle of their work.

use std::time::{Duration, Instant};

use postroad_transport::testing::Proxy;

use crate::support::{Bus, Ear, Heard, Worker, copies, on_servers, until};

/// The most that may go out twice for each worker killed: what is published and not settled.
const WINDOW: usize = 256;
/// How long a clean stop may take; more than usual, as a busy machine that gives up a confirm would send its row again.
const GRACE: Duration = Duration::from_mins(1);
const LEASE: [&str; 2] = ["--lease-seconds", "5"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_killed_at_work_loses_nothing_and_repeats_little() {
    on_servers(async |bus| {
        let (mut ear, _second) = two_services(bus).await;
        let mut worker = bus.postroad.worker(&LEASE);
        bus.enqueue(5_000).await;
        until("it is in the middle", async || bus.published().await >= 500).await;
        worker.kill();
        assert!(bus.published().await < 5_000, "it was killed too late");
        finish(bus, &mut ear, 5_000).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_killed_before_any_confirm_repeats_no_more_than_its_window() {
    killed_in_silence(|bus| &bus.broker, Proxy::hold_replies).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_killed_before_it_could_settle_repeats_no_more_than_its_window() {
    killed_in_silence(|bus| &bus.database, Proxy::blackhole).await;
}

/// The worst moment: no answer comes from one server, until all that can go out without one has gone out.
async fn killed_in_silence(server: impl Fn(&Bus) -> &Proxy, hold: impl Fn(&Proxy, bool)) {
    on_servers(async |bus| {
        let (mut ear, _second) = two_services(bus).await;
        let mut worker = bus.postroad.worker(&LEASE);
        bus.until_status("default", "running").await;
        bus.enqueue(3_000).await;
        until("it has begun", async || bus.published().await > 0).await;
        hold(server(bus), true);
        // However fast it was.
        bus.enqueue(1_000).await;
        // Until nothing more goes out; well before the lease ends.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        worker.kill();
        server(bus).cut();
        hold(server(bus), false);
        assert!(bus.published().await < 4_000, "it was killed too late");
        finish(bus, &mut ear, 4_000).await;
    })
    .await;
}

/// `default` sends; `second`, which a worker runs for, receives.
async fn two_services(bus: &Bus) -> (Ear, Worker) {
    bus.configure("default", &["rabbitmq.binding_keys=[]"]);
    bus.configure("second", &[]);
    let ear = bus.rabbit.listen("event.#").await;
    let second = bus.postroad.worker(&["--config-key", "second"]);
    bus.until_status("second", "running").await;
    (ear, second)
}

/// Lets another worker do the rest, and counts what came of the first one's end.
async fn finish(bus: &Bus, ear: &mut Ear, rows: usize) {
    let worker = bus.postroad.worker(&LEASE);
    bus.sql.until_sent().await;
    assert_eq!(bus.published().await, i64::try_from(rows).unwrap());
    bus.until_received("second", i64::try_from(rows).unwrap()).await;
    let heard = ear.up_to_now().await;
    assert_eq!(copies(&heard).len(), rows);
    let repeated = heard.len() - rows;
    assert!(repeated <= WINDOW, "{repeated} messages went out twice");
    same_bytes(&heard);
    worker.stop().await;
}

/// Every copy of a message is the same to the byte.
fn same_bytes(heard: &[Heard]) {
    let mut sorted: Vec<_> = heard.iter().collect();
    sorted.sort_by_key(|message| message.message_id());
    for pair in sorted.windows(2).filter(|pair| pair[0].message_id() == pair[1].message_id()) {
        assert_eq!(pair[0].body, pair[1].body);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_told_to_stop_under_load_leaves_nothing_claimed_and_repeats_nothing() {
    on_servers(async |bus| {
        let (mut ear, _second) = two_services(bus).await;
        let mut worker = bus.postroad.worker(&["--grace-seconds", "60"]);
        bus.enqueue(5_000).await;
        until("it is in the middle", async || bus.published().await >= 500).await;
        let told = Instant::now();
        worker.terminate();
        assert_eq!(worker.ended().await, 0, "{}", worker.log());
        assert!(told.elapsed() < GRACE, "{:?}", told.elapsed());
        assert!(bus.published().await < 5_000, "it was told too late");
        let left = "SELECT count(*) FROM outbound_event WHERE status = 'pending' \
            AND (claim_token IS NOT NULL OR claimed_until > now())";
        assert_eq!(bus.sql.count(left).await, 0);
        assert_eq!(bus.status("default")["worker_status"], "stopped");

        let next = bus.postroad.worker(&[]);
        bus.sql.until_sent().await;
        bus.until_received("second", 5_000).await;
        let heard = ear.up_to_now().await;
        assert_eq!((heard.len(), copies(&heard).len()), (5_000, 5_000));
        next.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_stops_in_its_grace_time_though_the_broker_is_silent() {
    stopped_in_silence(|bus| &bus.broker).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_stops_in_its_grace_time_though_the_database_is_silent() {
    stopped_in_silence(|bus| &bus.database).await;
}

async fn stopped_in_silence(server: impl Fn(&Bus) -> &Proxy) {
    on_servers(async |bus| {
        let (mut ear, _second) = two_services(bus).await;
        let mut worker = bus.postroad.worker(&[&LEASE[..], &["--grace-seconds", "2"]].concat());
        bus.until_status("default", "running").await;
        bus.enqueue(4_000).await;
        until("it has begun", async || bus.published().await > 0).await;
        server(bus).blackhole(true);
        let told = Instant::now();
        worker.terminate();
        assert_eq!(worker.ended().await, 0, "{}", worker.log());
        let took = told.elapsed();
        // Two seconds of grace, two for the last heartbeat, and a while for a busy machine.
        assert!(took < Duration::from_secs(20), "{took:?}: {}", worker.log());
        server(bus).cut();
        server(bus).blackhole(false);
        finish(bus, &mut ear, 4_000).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_second_signal_ends_a_worker_at_once() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let mut worker = bus.postroad.worker(&["--grace-seconds", "60"]);
        bus.until_status("default", "running").await;
        bus.broker.blackhole(true);
        bus.enqueue(10).await;
        let claimed = "SELECT count(*) FROM outbound_event WHERE claim_token IS NOT NULL";
        bus.sql.until_count(10, claimed).await;
        worker.terminate();
        bus.until_status("default", "stopping").await;
        let told = Instant::now();
        worker.terminate();
        assert_eq!(worker.ended().await, 130, "{}", worker.log());
        assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
    })
    .await;
}
