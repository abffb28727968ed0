//! `postroad prune`, cleaning by a worker, and what else makes rows go.

use serde_json::{Value, json};

use crate::support::{Home, Sql, on_servers, until};

/// So many days before now.
fn ago(sql: &Sql, days: u32) -> String {
    if sql.is_postgres() {
        format!("now() - {days} * interval '1 day'")
    } else {
        format!("utc_timestamp(6) - INTERVAL {days} DAY")
    }
}

/// The same in SQLite.
fn days_ago(days: u32) -> String {
    format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{days} days')")
}

/// Two rows of each kind that have been done with for 40 days, one only of which was made long ago too.
async fn fill(home: &Home) {
    let (then, now) = (days_ago(40), days_ago(0));
    for enqueued_at in [&then, &now] {
        for (status, published_at) in [
            ("published", then.as_str()),
            ("error", "NULL"),
            ("invalid", "NULL"),
            ("pending", "NULL"),
        ] {
            home.sql
                .execute(&format!(
                    "INSERT INTO outbound_event (topic, payload, status, published_at, enqueued_at, updated_at) \
                     VALUES ('event.a.b.c', '1', '{status}', {published_at}, {enqueued_at}, {then})"
                ))
                .await;
        }
        home.sql
            .execute(&format!(
                "INSERT INTO inbound_event (message_id, topic, message_type, payload, status, processed_at, enqueued_at) \
                 VALUES ('m', 'event.a.b.c', 'event', '1', 'processed', {then}, {enqueued_at})"
            ))
            .await;
        home.sql
            .execute(&format!(
                "INSERT INTO quarantined_message (topic, reason, body, received_at) VALUES ('t', 'r', X'00', {then})"
            ))
            .await;
        home.sql
            .execute(&format!(
                "INSERT INTO inbound_dedupe (dedupe_key, payload_digest, inbound_id, config_key, created_at) \
                 VALUES (randomblob(32), zeroblob(32), 'gone', 'default', {then})"
            ))
            .await;
    }
}

/// How many rows of each kind, as `prune --json` tells it.
fn kinds(said: &Value, done: &str) -> Vec<(String, i64)> {
    let kinds = said["configs"][0]["kinds"].as_array().unwrap().iter();
    kinds
        .map(|kind| (kind["kind"].as_str().unwrap().to_owned(), kind[done].as_i64().unwrap()))
        .collect()
}

fn expected(rows: [i64; 6]) -> Vec<(String, i64)> {
    let kinds = ["published", "processed", "error", "invalid", "quarantined", "dedupe"];
    kinds.map(str::to_owned).into_iter().zip(rows).collect()
}

const ROWS: &str = "SELECT (SELECT count(*) FROM outbound_event) + (SELECT count(*) FROM inbound_event) \
     + (SELECT count(*) FROM quarantined_message) + (SELECT count(*) FROM inbound_dedupe)";

#[tokio::test]
async fn a_dry_run_counts_what_a_prune_deletes() {
    let home = Home::configured().await;
    fill(&home).await;
    let due = expected([2, 2, 0, 0, 0, 2]);
    let said = home.postroad.json(&["prune", "--dry-run"]);
    assert_eq!((&said["dry_run"], kinds(&said, "would_delete")), (&json!(true), due.clone()));
    let cutoffs = said["configs"][0]["kinds"].as_array().unwrap();
    assert!(cutoffs[0]["older_than"].as_str().unwrap().ends_with('Z'), "{said}");
    assert!(cutoffs[2]["older_than"].is_null(), "{said}");
    assert_eq!(home.sql.count(ROWS).await, 14);
    assert_eq!(home.postroad.status("default")["maintenance"]["rows_left"], 6);
    let table = home.postroad.done(&["prune", "--dry-run", "--config-key", "default"]);
    assert!(table.contains("would delete") && table.contains("never"), "{table}");

    let said = home.postroad.json(&["prune"]);
    assert_eq!((&said["dry_run"], kinds(&said, "deleted")), (&json!(false), due));
    assert_eq!(home.sql.count(ROWS).await, 8);
    let days = ["retention_days_error=30", "retention_days_quarantined=39"];
    home.postroad.done(&[&["config", "set", "default"], &days[..]].concat());
    let table = home.postroad.done(&["prune"]);
    let row = |kind: &str| {
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|line| line.get(1) == Some(&kind)).unwrap();
        line[2].parse::<u32>().unwrap()
    };
    assert_eq!((row("error"), row("quarantined"), row("published")), (2, 2, 0), "{table}");
    assert_eq!(home.sql.count(ROWS).await, 4);
}

#[tokio::test]
async fn status_tells_how_cleaning_went() {
    let home = Home::configured().await;
    let fresh = home.postroad.status("default")["maintenance"].take();
    for name in ["last_started_at", "last_finished_at", "last_result", "next_run_at"] {
        assert!(fresh[name].is_null(), "{fresh}");
    }
    assert_eq!((&fresh["rows_left"], &fresh["overdue"]), (&json!(0), &json!(false)));
    fill(&home).await;
    let table = home.postroad.run(&["status"]).exits(1).out;
    assert!(table.contains("rows left"), "{table}");
    home.postroad.done(&["prune"]);
    let run = home.postroad.status("default")["maintenance"].take();
    assert_eq!((&run["last_result"], &run["rows_left"]), (&json!("complete"), &json!(0)));
    assert_eq!(run["deleted"]["published"], 2);
    assert!(run["last_started_at"].as_str() <= run["last_finished_at"].as_str());
    let table = home.postroad.run(&["status"]).exits(1).out;
    assert!(table.contains("complete"), "{table}");
    home.sql
        .execute(&format!("UPDATE event_bus_maintenance SET next_run_at = {}", days_ago(1)))
        .await;
    assert_eq!(home.postroad.status("default")["maintenance"]["overdue"], true);
}

#[tokio::test]
async fn who_finds_another_at_it_says_so() {
    let home = Home::configured().await;
    fill(&home).await;
    home.sql
        .execute(
            "INSERT INTO event_bus_maintenance (config_key, next_run_at, lease_token, leased_until) \
             VALUES ('default', '2020-01-01T00:00:00.000Z', 'other', '2100-01-01T00:00:00.000Z')",
        )
        .await;
    let ran = home.postroad.run(&["prune"]).exits(1);
    assert!(ran.err.contains("another process is cleaning `default` now"), "{ran:?}");
    assert_eq!(home.sql.count(ROWS).await, 14);
    home.postroad.done(&["prune", "--dry-run"]);
    home.sql
        .execute("UPDATE event_bus_maintenance SET leased_until = '2020-01-01T00:00:00.000Z'")
        .await;
    home.postroad.done(&["prune"]);
    assert_eq!(home.sql.count(ROWS).await, 8);
}

#[tokio::test]
async fn a_worker_cleans_when_it_is_time() {
    let home = Home::configured().await;
    fill(&home).await;
    home.sql
        .execute(
            "INSERT INTO event_bus_maintenance (config_key, next_run_at) \
             VALUES ('default', '2020-01-01T00:00:00.000Z')",
        )
        .await;
    let worker = home.postroad.worker(&[]);
    until("it is cleaned up", async || {
        home.postroad.status("default")["maintenance"]["last_result"] == "complete"
    })
    .await;
    let run = home.postroad.status("default")["maintenance"].take();
    assert_eq!((&run["deleted"]["processed"], &run["overdue"]), (&json!(2), &json!(false)));
    let log = worker.stop().await;
    assert!(log.contains("cleaned up") && log.contains("rows=6"), "{log}");
}

#[tokio::test]
async fn a_published_row_is_gone_where_that_is_wanted() {
    let home = Home::configured().await;
    home.postroad.done(&["config", "set", "default", "delete_on_publish=true"]);
    home.sql
        .execute(
            "INSERT INTO outbound_event (topic, event_type, payload) VALUES ('event.a.b.c', 'c', '1'), \
             ('event.a.b', 'c', '2'), ('event.a.b.c', 'c', '3')",
        )
        .await;
    let worker = home.postroad.worker(&[]);
    home.sql.until_sent().await;
    let row = home.sql.row("SELECT topic, status FROM outbound_event").await;
    assert_eq!(row, json!({ "topic": "event.a.b", "status": "invalid" }));
    home.sql.until_count(2, "SELECT count(*) FROM inbound_event").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_skipped_head_lets_the_next_row_go() {
    let home = Home::configured().await;
    home.sql
        .execute(
            "INSERT INTO outbound_event (topic, event_type, payload, ordering_key, next_retry_at, last_error) VALUES \
             ('event.a.b.c', 'c', '1', 'k', '2100-01-01T00:00:00.000Z', 'no route'), \
             ('event.a.b.c', 'c', '2', 'k', NULL, NULL), ('event.a.b.c', 'c', '3', NULL, NULL, NULL)",
        )
        .await;
    let published = "SELECT count(*) FROM outbound_event WHERE status = 'published'";
    let worker = home.postroad.worker(&[]);
    home.sql.until_count(1, published).await;
    let head = home.sql.row("SELECT id FROM outbound_event WHERE payload = '1'").await;
    let id = head["id"].as_str().unwrap();
    assert_eq!(home.postroad.done(&["outbox", "skip", id]), format!("{id}: skipped\n"));
    home.sql.until_count(2, published).await;
    worker.stop().await;
    let row = home.postroad.json(&["outbox", "show", id]);
    assert_eq!(row["status"], "error");
    assert_eq!(row["last_error"], "skipped by a person; before: no route");
    home.postroad.run(&["outbox", "skip", id]).fails_saying(&[id, "error", "holds nothing back"]);
    let sent = home.sql.row("SELECT id FROM outbound_event WHERE payload = '2'").await;
    let sent = sent["id"].as_str().unwrap();
    home.postroad.run(&["outbox", "skip", sent]).fails_saying(&[sent, "published"]);
    // It can be sent all the same, later.
    assert_eq!(home.postroad.done(&["outbox", "retry", id]), "1 to be sent again\n");

    home.sql
        .execute("UPDATE outbound_event SET claim_token = 't', claimed_until = '2100-01-01T00:00:00.000Z' WHERE payload = '1'")
        .await;
    home.postroad.run(&["outbox", "skip", id]).fails_saying(&[id, "held by a worker", "2100"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn rows_go_out_and_old_ones_go_away_at_the_same_time() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let then = ago(&bus.sql, 8);
        let old = format!(
            "INSERT INTO outbound_event (topic, payload, status, published, published_at, enqueued_at) \
             SELECT 't', '1', 'published', true, {then}, {then} FROM {}",
            bus.sql.numbers(20_000)
        );
        bus.sql.execute(&old).await;
        let workers = [bus.postroad.worker(&[]), bus.postroad.worker(&[])];
        bus.until_status("default", "running").await;
        bus.enqueue(2_000).await;
        let said = bus.postroad.json(&["prune", "--config-key", "default"]);
        assert_eq!(kinds(&said, "deleted"), expected([20_000, 0, 0, 0, 0, 0]));
        bus.sql.until_sent().await;
        assert_eq!(bus.published().await, 2_000);
        bus.until_received("default", 2_000).await;
        for worker in workers {
            worker.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn published_rows_are_deleted_and_a_head_is_skipped_on_a_server() {
    on_servers(async |bus| {
        bus.configure("default", &["delete_on_publish=true"]);
        let worker = bus.postroad.worker(&[]);
        bus.enqueue(500).await;
        bus.sql.until_count(0, "SELECT count(*) FROM outbound_event").await;
        bus.until_received("default", 500).await;
        let far = ago(&bus.sql, 0);
        bus.sql
            .execute(&format!(
                "INSERT INTO outbound_event (topic, event_type, payload, ordering_key, next_retry_at) VALUES \
                 ('event.a.b.c', 'c', '1', 'k', {far}{}), ('event.a.b.c', 'c', '2', 'k', NULL)",
                if bus.sql.is_postgres() { " + interval '1 day'" } else { " + INTERVAL 1 DAY" }
            ))
            .await;
        let rows = "SELECT * FROM outbound_event ORDER BY seq";
        let head = bus.sql.rows(rows).await.remove(0);
        let shown = bus.postroad.json(&["outbox", "list"]);
        assert_eq!(shown.as_array().unwrap().len(), 2);
        bus.postroad.done(&["outbox", "skip", shown[1]["id"].as_str().unwrap()]);
        bus.sql.until_count(1, "SELECT count(*) FROM outbound_event").await;
        let left = bus.sql.row(rows).await;
        assert_eq!((&left["seq"], &left["status"]), (&head["seq"], &json!("error")));
        worker.stop().await;
    })
    .await;
}
