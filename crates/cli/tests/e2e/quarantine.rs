//! `postroad quarantine`.

use serde_json::json;

use crate::support::{Home, hex};

const TOPIC: &str = "event.machine.spindle.started";
const GOOD: &str = r#"{"schema":"interservice.envelope.v1","message_id":"m-1","message_type":"event",
    "topic":"event.machine.spindle.started","source_service":"lathe","event_type":"started","payload":{"n":1}}"#;

/// Puts a body into quarantine as the worker does, and returns its id.
async fn keep(home: &Home, body: &[u8], reason: &str) -> String {
    let hex = hex(body);
    let row = home
        .sql
        .row(&format!(
            "INSERT INTO quarantined_message (topic, reason, detail, body) \
             VALUES ('{TOPIC}', '{reason}', 'what was wrong', X'{hex}') RETURNING id"
        ))
        .await;
    row["id"].as_str().unwrap().to_owned()
}

async fn left(home: &Home) -> i64 {
    home.sql.count("SELECT count(*) FROM quarantined_message").await
}

#[tokio::test]
async fn kept_messages_are_listed_and_shown_with_their_body() {
    let home = Home::configured().await;
    assert_eq!(home.postroad.done(&["quarantine", "list"]), "nothing in quarantine\n");
    let text = keep(&home, b"hello", "invalid_json").await;
    let bytes = keep(&home, b"\xff\x00", "invalid_json").await;
    let table = home.postroad.done(&["quarantine", "list"]);
    assert!(table.contains(&text) && table.contains(&bytes), "{table}");
    assert!(table.contains("invalid_json") && table.contains("what was wrong"), "{table}");
    assert_eq!(home.postroad.json(&["quarantine", "list"]).as_array().unwrap().len(), 2);

    let shown = home.postroad.json(&["quarantine", "show", &text]);
    assert_eq!(shown["body"], "hello");
    assert_eq!(shown["topic"], TOPIC);
    let shown = home.postroad.json(&["quarantine", "show", &bytes]);
    assert_eq!(shown["body"], json!({ "hex": "ff00" }));
    assert_eq!(shown["body_base64"], "/wA=");
    assert!(home.postroad.done(&["quarantine", "show", &text]).contains("hello"));
    let evil = keep(&home, b"\x1b[2Jcleared", "invalid_json").await;
    let shown = home.postroad.done(&["quarantine", "show", &evil]);
    assert!(shown.contains("cleared") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[tokio::test]
async fn a_mended_message_becomes_an_inbox_row_and_leaves_quarantine() {
    let home = Home::configured().await;
    let id = keep(&home, b"{}", "invalid_envelope").await;
    let replay = ["quarantine", "replay", &id];
    home.postroad.run(&replay).fails_saying(&[
        "stays in quarantine",
        "invalid_envelope",
        "message_id",
    ]);
    assert_eq!(left(&home).await, 1);

    let file = home.postroad.file("mended.json", GOOD);
    let mended = [&replay[..], &["--body", &file]].concat();
    assert_eq!(home.postroad.done(&mended), "stored in the inbox\n");
    assert_eq!(left(&home).await, 0);
    let row = home.sql.row("SELECT message_id, topic, status FROM inbound_event").await;
    assert_eq!(row, json!({ "message_id": "m-1", "topic": TOPIC, "status": "pending" }));
}

#[tokio::test]
async fn topic_and_headers_can_be_mended_too() {
    let home = Home::configured().await;
    let good = GOOD.replace("\"topic\":\"event.machine.spindle.started\",", "");
    let id = keep(&home, good.as_bytes(), "invalid_envelope").await;
    home.sql.execute("UPDATE quarantined_message SET topic = 'event.\u{fffd}'").await;
    let replay = ["quarantine", "replay", &id];
    home.postroad.run(&replay).fails_saying(&["stays in quarantine", "topic"]);
    let bad = [&replay[..], &["--topic", TOPIC, "--headers", "[1]"]].concat();
    home.postroad.run(&bad).fails_saying(&["--headers is not a JSON object"]);
    let mended = [&replay[..], &["--topic", TOPIC, "--headers", r#"{"line": 4}"#]].concat();
    assert_eq!(home.postroad.done(&mended), "stored in the inbox\n");
    let row = home.sql.row("SELECT topic, headers FROM inbound_event").await;
    assert_eq!(row["topic"], TOPIC);
    assert!(row["headers"].to_string().contains("line"), "{row}");
}

#[tokio::test]
async fn a_replayed_message_is_stored_once_however_often_it_was_kept() {
    let home = Home::configured().await;
    let first = keep(&home, GOOD.as_bytes(), "unstorable").await;
    let second = keep(&home, GOOD.as_bytes(), "unstorable").await;
    assert_eq!(home.postroad.done(&["quarantine", "replay", &first]), "stored in the inbox\n");
    let said = home.postroad.done(&["quarantine", "replay", &second]);
    assert_eq!(said, "was in the inbox already\n");
    assert_eq!(home.sql.count("SELECT count(*) FROM inbound_event").await, 1);
    assert_eq!(left(&home).await, 0);

    let other = GOOD.replace("{\"n\":1}", "{\"n\":2}");
    let third = keep(&home, other.as_bytes(), "id_conflict").await;
    home.postroad.run(&["quarantine", "replay", &third]).fails_saying(&[
        "stays in quarantine",
        "id_conflict",
        "m-1",
    ]);
    assert_eq!(left(&home).await, 1);
    assert_eq!(home.postroad.json(&["quarantine", "show", &third])["reason"], "id_conflict");
    assert_eq!(home.sql.count("SELECT count(*) FROM inbound_event").await, 1);
}

#[tokio::test]
async fn kept_messages_are_thrown_away_one_by_one_by_age_or_all() {
    let home = Home::configured().await;
    let first = keep(&home, b"1", "invalid_json").await;
    for body in [b"2", b"3", b"4"] {
        keep(&home, body, "invalid_json").await;
    }
    home.sql
        .execute(
            "UPDATE quarantined_message SET received_at = '2020-01-01T00:00:00.000Z' WHERE body = X'32'",
        )
        .await;
    let purge =
        |arguments: &[&str]| home.postroad.done(&[&["quarantine", "purge"], arguments].concat());
    assert_eq!(purge(&[&first]), "1 deleted\n");
    home.postroad.run(&["quarantine", "purge", &first]).fails_saying(&[&first]);
    assert_eq!(purge(&["--older-than-days", "30"]), "1 deleted\n");
    assert_eq!(purge(&["--all", "--config-key", "other"]), "0 deleted\n");
    assert_eq!(left(&home).await, 2);
    assert_eq!(purge(&["--all"]), "2 deleted\n");
    assert_eq!(left(&home).await, 0);
}
