//! Servers that go away and come back cost nothing but time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bus, Server, Worker, copies, on_server, on_servers, until};

const BROKER_GONE: &str = "broker not available, trying again";
const DATABASE_GONE: &str = "database not available, trying again";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_broker_that_was_away_costs_no_row_an_attempt() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let mut ear = bus.rabbit.listen("event.#").await;
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        for outage in 1..=2 {
            bus.broker.refuse(true);
            bus.broker.cut();
            bus.until_status("default", "reconnecting").await;
            bus.enqueue(500).await;
            let before = attempts(bus).await;
            until("it has tried again a few times", async || attempts(bus).await >= before + 6)
                .await;
            // Not `stale` for a moment, as it is on a busy machine.
            bus.until_status("default", "reconnecting").await;
            let status = bus.status("default");
            let error = status["last_error"].as_str().unwrap();
            assert!(error.contains("broker not available"), "{error}");
            assert_eq!(status["outbound"]["pending"], 500);
            bus.broker.refuse(false);
            bus.sql.until_sent().await;
            bus.until_status("default", "running").await;
            until("the error is gone", async || bus.status("default")["last_error"].is_null())
                .await;
            // The second may come within ten seconds, which is one line; a long outage has a second one.
            assert!((1..=outage + 1).contains(&worker.said(BROKER_GONE)), "{}", worker.log());
            assert!(warnings(&worker) <= outage + 1, "{}", worker.log());
        }
        assert_eq!(copies(&ear.up_to_now().await).len(), 1_000);
        bus.until_received("default", 1_000).await;
        assert_eq!(
            bus.sql.count("SELECT count(*) FROM outbound_event WHERE retry_count > 0").await,
            0
        );
        worker.stop().await;
    })
    .await;
}

/// How often the worker failed to connect.
async fn attempts(bus: &Bus) -> i64 {
    bus.sql.count("SELECT disconnects FROM event_bus_worker").await
}

fn warnings(worker: &Worker) -> usize {
    worker.said(" WARN ") + worker.said(" ERROR ")
}

/// Lets the broker come and go for a while, each time with such a pause, and returns the worker's log.
async fn seconds_of(seconds: u64, pause: u64, bus: &Bus, trouble: impl Fn(&Bus)) -> String {
    bus.configure("default", &[]);
    let worker = bus.postroad.worker(&[]);
    bus.until_status("default", "running").await;
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        trouble(bus);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let before = attempts(bus).await;
    assert!(before >= 6, "it lost or missed the broker {before} times only");
    bus.broker.refuse(false);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_broker_that_refuses_or_cuts_every_connection_is_a_few_lines() {
    on_server(Server::Postgres, async |bus| {
        let refusing = |bus: &Bus| {
            bus.broker.refuse(true);
            bus.broker.cut();
        };
        let log = seconds_of(12, 200, bus, refusing).await;
        assert!(log.matches(" WARN ").count() <= 2, "{log}");
        assert!(log.lines().count() <= 20, "{log}");
    })
    .await;
    on_server(Server::Postgres, async |bus| {
        // Long enough for both sides to be there now and then.
        let log = seconds_of(12, 1_100, bus, |bus| bus.broker.cut()).await;
        // One at the beginning, one after ten seconds, one at the end for what was held back.
        assert!(log.matches(BROKER_GONE).count() <= 3, "{log}");
        assert!(log.matches("breaking every connection").count() <= 2, "{log}");
        assert!(log.matches(" WARN ").count() <= 5, "{log}");
        assert!(log.contains("more="), "it says how often more: {log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_database_that_was_away_loses_nothing() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        // In the middle of both ways.
        bus.enqueue(2_000).await;
        bus.database.refuse(true);
        bus.database.cut();
        worker.says(DATABASE_GONE).await;
        for n in 0..500 {
            bus.rabbit.publish("event.machine.spindle.stopped", envelope(n)).await;
        }
        // Long enough for a line of each of many attempts.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(worker.said(DATABASE_GONE), 1, "{}", worker.log());

        bus.database.refuse(false);
        bus.sql.until_sent().await;
        assert_eq!(bus.published().await, 2_000);
        bus.until_received("default", 2_500).await;
        worker.says("database available again").await;
        assert_eq!(worker.said(DATABASE_GONE), 1, "{}", worker.log());
        assert_eq!(
            bus.sql.count("SELECT count(*) FROM outbound_event WHERE retry_count > 0").await,
            0
        );
        assert_eq!(bus.sql.count("SELECT count(*) FROM quarantined_message").await, 0);
        worker.stop().await;
        until("the queue is empty", async || bus.rabbit.depth(&bus.inbox("default")).await == 0)
            .await;
    })
    .await;
}

fn envelope(n: u32) -> String {
    json!({
        "schema": "interservice.envelope.v1", "message_id": format!("m-{n}"), "message_type": "event",
        "topic": "event.machine.spindle.stopped", "source_service": "lathe", "event_type": "stopped",
        "payload": { "n": n },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_that_starts_with_both_servers_down_gets_to_work_when_they_come() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        bus.enqueue(100).await;
        bus.broker.refuse(true);
        bus.database.refuse(true);
        let worker = bus.postroad.worker(&[]);
        worker.says("database not available").await;
        bus.database.refuse(false);
        bus.database.cut();
        worker.says("broker not available").await;
        bus.until_status("default", "reconnecting").await;
        assert_eq!(bus.published().await, 0);
        bus.broker.refuse(false);
        bus.sql.until_sent().await;
        bus.until_received("default", 100).await;
        bus.until_status("default", "running").await;
        assert_eq!(
            bus.sql.count("SELECT count(*) FROM outbound_event WHERE retry_count > 0").await,
            0
        );
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_connection_that_is_half_open_is_noticed_and_replaced() {
    on_servers(async |bus| {
        bus.configure("default", &["rabbitmq.heartbeat_seconds=4"]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        bus.broker.blackhole(true);
        let began = Instant::now();
        bus.enqueue(500).await;
        bus.until_status("default", "reconnecting").await;
        // Two heartbeats, and a while for a busy machine; a confirm would be missed after a minute.
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        assert_eq!(bus.published().await, 0);
        bus.broker.refuse(true);
        bus.broker.blackhole(false);
        bus.broker.cut();
        bus.broker.refuse(false);
        bus.sql.until_sent().await;
        bus.until_received("default", 500).await;
        bus.until_status("default", "running").await;
        assert_eq!(
            bus.sql.count("SELECT count(*) FROM outbound_event WHERE retry_count > 0").await,
            0
        );
        assert_eq!(worker.said(BROKER_GONE), 1, "{}", worker.log());
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_password_that_is_exchanged_in_its_file_is_taken_up_without_a_restart() {
    on_server(Server::Postgres, async |bus| {
        let file = bus.postroad.folder().join("password");
        std::fs::write(&file, "wrong").unwrap();
        bus.configure("default", &[&format!("password=file:{}", file.display())]);
        let worker = bus.postroad.worker(&[]);
        worker.says(BROKER_GONE).await;
        bus.enqueue(10).await;
        std::fs::write(&file, format!("{}\n", bus.url.password)).unwrap();
        bus.until_status("default", "running").await;
        bus.sql.until_sent().await;
        bus.until_received("default", 10).await;
        worker.stop().await;
    })
    .await;
}
