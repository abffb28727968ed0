//! Rows that no broker takes, written by SQL past every check: each ends as `invalid`, and no connection ends over it.

use crate::support::{Postroad, Server, Sql, Worker, on_plant, on_server, on_servers, until};

/// Topics, and what `last_error` says beside `topic`. NUL is for databases that take it.
fn topics() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), ""),
        ("event.machine.#".into(), ""),
        ("event.machine.*.started".into(), ""),
        ("event.machine.+.started".into(), ""),
        ("event.machine..started".into(), ""),
        ("event.machine.spindle.st\u{1}rted".into(), ""),
        ("event.machine.spindle.st\u{85}rted".into(), ""),
        ("event.machine.spindle.\u{fffe}".into(), ""),
        ("event.machine.spindle.\u{1f980}".into(), ""),
        (format!("event.machine.spindle.{}", "x".repeat(256 - 22)), "255"),
    ]
}

/// By MQTT a topic may be almost anything.
fn mqtt_topics() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), "empty"),
        ("hall/#".into(), "wildcard"),
        ("hall/+/set".into(), "wildcard"),
        ("hall/\u{1}".into(), "control character"),
        ("hall/\u{9f}".into(), "control character"),
        ("hall/\u{fffe}".into(), "U+FFFE"),
        ("hall/\u{fdd0}".into(), "no character"),
        ("x".repeat(65_536), "65535"),
        ("x/".repeat(201), "levels"),
    ]
}

/// Other columns that make a row impossible, with the field that `last_error` names.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("event_type, payload", "'t', '\"LONG\"'", "payload"),
    ("message_id, event_type, payload", "'LONGID', 't', '1'", "message_id"),
    ("message_id, event_type, payload", "'', 't', '1'", "message_id"),
    ("source_service, event_type, payload", "'not a service', 't', '1'", "source_service"),
    ("reply_to, event_type, payload", "'no.topic', 't', '1'", "reply_to"),
    ("headers, event_type, payload", "'MANY', 't', '1'", "headers"),
    ("headers, event_type, payload", "'{\"h\":\"HEAVY\"}', 't', '1'", "headers"),
];

async fn poison(sql: &Sql, topics: &[(String, &str)]) {
    for (topic, _) in topics {
        sql.execute(&format!(
            "INSERT INTO outbound_event (topic, message_type, event_type, payload) VALUES ('{topic}', NULL, 't', '1')"
        ))
        .await;
    }
    let many: Vec<_> = (0..65).map(|n| format!("\"h{n}\":1")).collect();
    for (columns, values, _) in COLUMNS {
        let values = values
            .replace("LONGID", &"i".repeat(256))
            .replace("LONG", &"x".repeat(1 << 20))
            .replace("MANY", &format!("{{{}}}", many.join(",")))
            .replace("HEAVY", &"x".repeat(16 << 10));
        sql.execute(&format!(
            "INSERT INTO outbound_event (topic, message_type, {columns}) \
             VALUES ('event.machine.spindle.started', 'event', {values})"
        ))
        .await;
    }
}

async fn check(
    sql: &Sql,
    postroad: &Postroad,
    worker: Worker,
    topics: &[(String, &str)],
    good: i64,
) {
    sql.until_sent().await;
    let rows =
        sql.rows("SELECT * FROM outbound_event WHERE status <> 'published' ORDER BY seq").await;
    assert_eq!(rows.len(), topics.len() + COLUMNS.len(), "{rows:#?}");
    let expected = topics.iter().map(|(_, part)| ("topic", *part));
    let expected = expected.chain(COLUMNS.iter().map(|(_, _, field)| (*field, "")));
    for ((field, part), row) in expected.zip(&rows) {
        let topic = row["topic"].as_str().unwrap().chars().take(60).collect::<String>();
        let error = row["last_error"].as_str().unwrap();
        assert_eq!(
            (&row["status"], &row["retry_count"]),
            (&"invalid".into(), &0.into()),
            "{topic}"
        );
        assert!(error.contains(field) && error.contains(part), "{topic}: {error}");
    }
    let published = "SELECT count(*) FROM outbound_event WHERE status = 'published'";
    assert_eq!(sql.count(published).await, good);
    // One connection did it all.
    let counted = "SELECT count(*) FROM event_bus_worker WHERE disconnects = 0 AND published > 0";
    until("the heartbeat tells", async || sql.count(counted).await == 1).await;
    assert_eq!(postroad.status("default")["worker_status"], "running");
    let log = worker.stop().await;
    assert_eq!(log.matches("connected for publishing").count(), 1, "{log}");
    assert!(!log.contains("panicked") && !log.contains("not available"), "{log}");
}

/// As many good rows, before and after.
async fn good(sql: &Sql) -> i64 {
    let insert = format!(
        "INSERT INTO outbound_event (topic, message_type, event_type, payload) \
         SELECT 'event.machine.spindle.started', 'event', 't', '1' FROM {}",
        sql.numbers(20)
    );
    let payload = if sql.is_postgres() { "'1'::jsonb FROM" } else { "'1' FROM" };
    sql.execute(&insert.replace("'1' FROM", payload)).await;
    20
}

async fn run(sql: &Sql, postroad: &Postroad, topics: &[(String, &str)]) {
    let worker = postroad.worker(&[]);
    postroad.until_status("default", "running").await;
    let before = good(sql).await;
    poison(sql, topics).await;
    let after = good(sql).await;
    check(sql, postroad, worker, topics, before + after).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_row_that_rabbitmq_cannot_take_is_invalid_and_costs_no_connection() {
    on_servers(async |bus| {
        bus.configure("default", &["inbound_enabled=false"]);
        let mut topics = topics();
        if !bus.sql.is_postgres() {
            topics.push(("event.machine.spindle.\\0".into(), ""));
        }
        run(&bus.sql, &bus.postroad, &topics).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn nor_does_it_with_sqlite() {
    on_server(Server::Postgres, async |bus| {
        let (_folder, postroad, sql) = bus.on_sqlite().await;
        postroad.done(&["config", "set", "default", "inbound_enabled=false"]);
        run(&sql, &postroad, &topics()).await;
        bus.rabbit.delete_queue(&bus.inbox("default")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_row_that_mqtt_cannot_take_is_invalid_and_costs_no_connection() {
    on_plant(&["inbound_enabled=false"], async |plant| {
        let mut topics = mqtt_topics();
        if !plant.sql.is_postgres() {
            topics.push(("hall/\\0".into(), "control character"));
        }
        run(&plant.sql, &plant.postroad, &topics).await;
    })
    .await;
}
