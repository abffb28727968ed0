//! The worker with SQLite and the broker inside it.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Home, until};

const INSERT: &str = "INSERT INTO outbound_event (topic, event_type, payload) \
    VALUES ('event.machine.spindle.started', 'started', '{\"rpm\": 900}')";
const RECEIVED: &str = "SELECT count(*) FROM inbound_event";

#[tokio::test]
async fn a_plain_insert_goes_out_and_comes_back_in() {
    let home = Home::configured().await;
    let worker = home.postroad.worker(&[]);
    home.sql.execute(INSERT).await;
    home.sql.until_sent().await;
    home.sql.until_count(1, RECEIVED).await;
    let sent = home.sql.row("SELECT id, status, published, published_at FROM outbound_event").await;
    assert_eq!(sent["status"], "published");
    assert!(sent["published_at"].is_string(), "{sent}");
    let received = home.sql.row("SELECT * FROM inbound_event").await;
    assert_eq!(received["message_id"], sent["id"]);
    assert_eq!(received["source_service"], "ebmr");
    let payload: Value = serde_json::from_str(received["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["rpm"], 900);
    worker.stop().await;
}

#[tokio::test]
async fn the_broker_of_the_config_is_overridden_at_the_command_line() {
    let home = Home::configured().await;
    // Port 1 is nobody's.
    home.postroad.done(&["config", "set", "default", "broker_type=rabbitmq", "host=127.0.0.1:1"]);
    home.sql.execute(INSERT).await;
    let worker = home.postroad.worker(&["--broker-type", "memory"]);
    home.sql.until_sent().await;
    home.sql.until_count(1, RECEIVED).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_only_publishes_takes_nothing_in() {
    let home = Home::configured().await;
    let worker = home.postroad.worker(&["--only", "outbound"]);
    home.sql.execute(INSERT).await;
    home.sql.until_sent().await;
    worker.stop().await;
    assert_eq!(home.sql.count(RECEIVED).await, 0);
}

#[tokio::test]
async fn a_worker_of_an_inactive_config_waits_until_it_is_active() {
    let home = Home::configured().await;
    home.postroad.done(&["config", "deactivate", "default"]);
    home.sql.execute(INSERT).await;
    let worker = home.postroad.worker(&[]);
    worker.says("config is not active").await;
    home.postroad.done(&["config", "activate", "default"]);
    home.sql.until_sent().await;

    // And back again, without a restart.
    home.postroad.done(&["config", "deactivate", "default"]);
    until("it waits again", async || worker.said("config is not active") == 2).await;
    assert_eq!(home.postroad.status("default")["worker_status"], "stopped");
    home.sql.execute(INSERT).await;
    // The point is that nothing happens.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
    assert_eq!(home.sql.count(pending).await, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_changed_config_is_taken_up_without_a_restart() {
    let home = Home::configured().await;
    let worker = home.postroad.worker(&[]);
    let from = "SELECT count(*) FROM inbound_event WHERE source_service";
    home.sql.execute(INSERT).await;
    home.sql.until_count(1, &format!("{from} = 'ebmr'")).await;
    home.postroad.done(&["config", "set", "default", "source_service=erp"]);
    worker.says("config changed").await;
    // Until then rows may still go out as they were configured.
    until("it starts anew", async || worker.said("worker started") == 2).await;
    home.sql.execute(INSERT).await;
    home.sql.until_count(1, &format!("{from} = 'erp'")).await;
    // It is one process, which goes on counting.
    let counts = "SELECT count(*) FROM event_bus_worker WHERE status = 'running' AND published = 2 AND received = 2";
    home.sql.until_count(1, counts).await;
    worker.stop().await;
    assert_eq!(home.postroad.status("default")["worker_status"], "stopped");
}

#[tokio::test]
async fn a_log_of_json_has_one_object_a_line() {
    let home = Home::configured().await;
    let worker = home.postroad.worker(&["--log-format", "json"]);
    home.sql.execute("INSERT INTO outbound_event (topic, payload) VALUES ('nonsense', '1')").await;
    home.sql.until_sent().await;
    worker.says("row can never be sent").await;
    for line in worker.log().lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
    worker.stop().await;
}
