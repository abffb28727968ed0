//! What is wrong ends where the contract says, with a reason that a person can read, and stops nothing else.

use amqprs::BasicProperties;
use serde_json::{Value, json};

use crate::support::{hex, on_servers, until};

const EVENT: &str = "event.machine.spindle.started";

/// Rows as SQL, whether they can be sent, and what `last_error` says where not.
const ROWS: &[(&str, Result<(), &[&str]>)] = &[
    (
        "(topic, request_id, payload) VALUES ('a.request.machine.read', 'r', '{}')",
        Err(&["reply_to", "missing"]),
    ),
    (
        "(topic, message_type, request_id, reply_to, payload) \
         VALUES ('event.machine.spindle.started', 'request', 'r', 'a.response.b.c', '{}')",
        Err(&["topic", "request"]),
    ),
    (
        "(topic, event_type, payload) VALUES ('event.machine', 'started', '{}')",
        Err(&["topic", "event.machine"]),
    ),
    (
        "(topic, event_type, payload) VALUES ('event.machine.*.started', 'started', '{}')",
        Err(&["topic"]),
    ),
    (
        "(topic, request_id, payload) VALUES ('a.response.machine.read', 'r', '{}')",
        Err(&["status", "missing"]),
    ),
    (
        "(topic, payload) VALUES ('event.machine.spindle.started', '{}')",
        Err(&["event_type", "missing"]),
    ),
    (
        "(topic, event_type, payload, headers) \
         VALUES ('event.machine.spindle.started', 'started', '{}', '[1]')",
        Err(&["headers", "object"]),
    ),
    (
        "(topic, event_type, chain_depth, payload) \
         VALUES ('event.machine.spindle.started', 'started', 33, '{}')",
        Err(&["chain_depth", "33"]),
    ),
    (
        "(topic, event_type, payload) VALUES ('event.machine.spindle.started', 'started', '\"LONG\"')",
        Err(&["payload", "1048576"]),
    ),
    (
        "(topic, event_type, payload) VALUES ('event.machine.spindle.started', 'stopped', \
         '{\"schema\": \"interservice.envelope.v1\", \"event_type\": \"started\", \"payload\": 1}')",
        Err(&["event_type", "\"stopped\"", "\"started\""]),
    ),
    (
        "(topic, payload) VALUES ('event.machine.spindle.started', '{\"schema\": \"interservice.envelope.v1\", \
         \"message_id\": \"embedded\", \"event_type\": \"started\", \"payload\": {\"n\": 1}}')",
        Ok(()),
    ),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn rows_that_can_never_be_sent_are_invalid_and_say_why() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let mut ear = bus.rabbit.listen("#").await;
        for (row, _) in ROWS {
            let row = row.replace("LONG", &"x".repeat(1 << 20));
            bus.sql.execute(&format!("INSERT INTO outbound_event {row}")).await;
        }
        let worker = bus.postroad.worker(&[]);
        bus.sql.until_sent().await;

        let rows = bus.sql.rows("SELECT * FROM outbound_event ORDER BY seq").await;
        assert_eq!(rows.len(), ROWS.len());
        for ((sql, expected), row) in ROWS.iter().zip(&rows) {
            assert_eq!(row["retry_count"], 0, "{sql}");
            assert_eq!(row["published"], expected.is_ok(), "{sql}");
            match expected {
                Ok(()) => assert_eq!(row["status"], "published", "{sql}"),
                Err(parts) => {
                    assert_eq!(row["status"], "invalid", "{sql}");
                    let error = row["last_error"].as_str().unwrap();
                    let missing: Vec<_> =
                        parts.iter().filter(|part| !error.contains(**part)).collect();
                    assert!(missing.is_empty(), "{sql}: `{error}` says nothing of {missing:?}");
                }
            }
        }
        let heard = ear.up_to_now().await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].message_id(), "embedded");
        let envelope: Value = serde_json::from_slice(&heard[0].body).unwrap();
        assert_eq!(envelope["payload"], json!({ "n": 1 }));
        assert_eq!(envelope["source_service"], bus.service("default"));
        worker.stop().await;
    })
    .await;
}

/// A good envelope of an event with some members changed; null takes one away.
fn envelope(message_id: &str, changes: Value) -> Vec<u8> {
    let mut envelope = json!({
        "schema": "interservice.envelope.v1", "message_id": message_id, "message_type": "event",
        "topic": EVENT, "source_service": "lathe", "event_type": "started", "payload": { "n": 1 },
    });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        match value {
            Value::Null => drop(envelope.as_object_mut().unwrap().remove(&name)),
            value => envelope[name] = value,
        }
    }
    envelope.to_string().into_bytes()
}

/// Bodies that no inbox row can be made of, with the reason and what the detail says.
fn bad_bodies() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let invalid = "invalid_envelope";
    vec![
        (envelope("no-id", json!({ "message_id": null })), invalid, "message_id"),
        (envelope("no-schema", json!({ "schema": null })), invalid, "schema"),
        (envelope("no-source", json!({ "source_service": null })), invalid, "source_service"),
        (envelope("no-type", json!({ "event_type": null })), invalid, "event_type"),
        (envelope("topic", json!({ "topic": "a.request.b.c" })), invalid, "topic"),
        (envelope("deep", json!({ "chain_depth": 33 })), invalid, "chain_depth"),
        (envelope("number", json!({ "source_service": 7 })), invalid, "source_service"),
        (
            br#"{"schema":"interservice.envelope.v1","message_id":"a","message_id":"b"}"#.to_vec(),
            "invalid_json",
            "message_id",
        ),
        (b"hello".to_vec(), "invalid_json", ""),
        (b"\xff\xfe{}".to_vec(), "invalid_json", ""),
        (Vec::new(), "invalid_json", ""),
        (vec![b' '; (1 << 20) + 1], "too_large", "1048576"),
        (envelope("nul", json!({ "payload": "a\u{0}b" })), "unstorable", ""),
        // The same id came with another payload before.
        (envelope("good", json!({ "payload": { "n": 2 } })), "id_conflict", "good"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn what_is_no_envelope_is_quarantined_with_its_exact_bytes() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        bus.rabbit.publish(EVENT, envelope("good", json!({}))).await;
        bus.until_received("default", 1).await;
        let bad = bad_bodies();
        for (body, _, _) in &bad {
            bus.rabbit.publish(EVENT, body.clone()).await;
        }
        bus.rabbit.publish(EVENT, envelope("last", json!({}))).await;
        bus.until_received("default", 2).await;

        let count = i64::try_from(bad.len()).unwrap();
        bus.sql.until_count(count, "SELECT count(*) FROM quarantined_message").await;
        for (body, reason, part) in &bad {
            let hex = hex(body);
            let found = bus
                .sql
                .row(&format!(
                    "SELECT reason, detail, topic FROM quarantined_message WHERE {} = '{hex}'",
                    bus.sql.hex_of("body")
                ))
                .await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
            assert_eq!(found["reason"], *reason, "{shown}");
            assert_eq!(found["topic"], EVENT, "{shown}");
            let detail = found["detail"].as_str().unwrap();
            assert!(!detail.is_empty() && detail.contains(part), "{shown}: {detail}");
        }
        worker.stop().await;
        until("the queue is empty", async || bus.rabbit.depth(&bus.inbox("default")).await == 0)
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn what_a_body_lacks_is_taken_from_the_properties() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        let ours = bus.service("default");
        let topic = format!("{ours}.request.machine.read");
        let properties = BasicProperties::default()
            .with_message_id("m-1")
            .with_correlation_id("r-1")
            .with_reply_to("lathe.response.machine.read")
            .with_app_id("lathe")
            .with_message_type("request")
            .finish();
        let body = r#"{"schema":"interservice.envelope.v1","payload":{"n":1}}"#;
        bus.rabbit.publish_with(&topic, properties, body).await;
        bus.until_received("default", 1).await;

        let row = bus.sql.row("SELECT * FROM inbound_event").await;
        let expected = json!({
            "message_id": "m-1", "request_id": "r-1", "reply_to": "lathe.response.machine.read",
            "source_service": "lathe", "message_type": "request", "topic": topic, "payload": { "n": 1 },
        });
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(row[column], *value, "{column}");
        }
        assert_eq!(bus.sql.count("SELECT count(*) FROM quarantined_message").await, 0);
        worker.stop().await;
    })
    .await;
}
