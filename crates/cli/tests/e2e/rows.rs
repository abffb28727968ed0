//! `postroad outbox` and `postroad inbox`.

use serde_json::json;

use crate::support::Home;

const TOPIC: &str = "event.machine.spindle.started";

#[tokio::test]
async fn a_message_is_written_as_a_row_and_shown() {
    let home = Home::configured().await;
    let id = home.postroad.done(&[
        "outbox",
        "send",
        "--topic",
        "edgenexus.request.machine.read",
        "--request-id",
        "r-1",
        "--reply-to",
        "ebmr.response.machine.read",
        "--payload",
        r#"{"rpm": 900}"#,
        "--headers",
        r#"{"line": 4}"#,
        "--ordering-key",
        "press-4",
        "--message-id",
        "m-1",
    ]);
    let row = home.postroad.json(&["outbox", "show", id.trim()]);
    let expected = json!({
        "id": id.trim(), "config_key": "default", "topic": "edgenexus.request.machine.read",
        "message_id": "m-1", "request_id": "r-1", "reply_to": "ebmr.response.machine.read",
        "payload": { "rpm": 900 }, "headers": { "line": 4 }, "ordering_key": "press-4",
        "status": "pending", "published": false, "retry_count": 0, "last_error": null,
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(row[column], *value, "{column}");
    }
    let text = home.postroad.done(&["outbox", "show", id.trim()]);
    assert!(
        text.lines().any(|line| line.starts_with("ordering_key ") && line.ends_with("press-4"))
    );
    assert!(!text.contains("last_error"), "{text}");
}

#[tokio::test]
async fn a_payload_comes_from_a_file_or_from_standard_input() {
    let home = Home::configured().await;
    let file = home.postroad.file("payload.json", r#"{"from": "file"}"#);
    let send =
        ["outbox", "send", "--topic", TOPIC, "--event-type", "started", "--json", "--payload"];
    let from_file =
        home.postroad.run(&[&send[..], &[&format!("@{file}")]].concat()).exits(0).json();
    let from_input =
        home.postroad.run_with_input(&[&send[..], &["-"]].concat(), br#"{"from": "input"}"#);
    let from_input = from_input.exits(0).json();
    for (sent, from) in [(from_file, "file"), (from_input, "input")] {
        let row = home.postroad.json(&["outbox", "show", sent["id"].as_str().unwrap()]);
        assert_eq!(row["payload"], json!({ "from": from }));
    }
}

#[tokio::test]
async fn a_message_that_could_never_be_sent_is_not_written() {
    let home = Home::configured().await;
    let check = |arguments: &[&str], part: &str| {
        let send = [&["outbox", "send", "--payload", "{}"], arguments].concat();
        home.postroad.run(&send).fails_saying(&["not sent", part]);
    };
    check(&["--topic", TOPIC], "event_type");
    check(&["--topic", "event.machine", "--event-type", "x"], "topic");
    check(&["--topic", "a.request.b.c", "--request-id", "r"], "reply_to");
    check(&["--topic", "ebmr.response.b.c", "--request-id", "r"], "status");
    let send = ["outbox", "send", "--topic", TOPIC, "--event-type", "x", "--payload", "{"];
    home.postroad.run(&send).fails_saying(&["payload", "not JSON"]);
    let send = ["outbox", "send", "--topic", TOPIC, "--event-type", "x", "--payload", "1"];
    let headers = [&send[..], &["--headers", "[1]"]].concat();
    home.postroad.run(&headers).fails_saying(&["--headers"]);
    let nobody = [&send[..], &["--config-key", "nobody"]].concat();
    home.postroad.run(&nobody).fails_saying(&["`nobody`"]);
    assert_eq!(home.sql.count("SELECT count(*) FROM outbound_event").await, 0);
}

#[tokio::test]
async fn rows_are_listed_newest_first_by_state() {
    let home = Home::configured().await;
    home.sql
        .execute(
            "INSERT INTO outbound_event (topic, payload, status, config_key, retry_count, last_error) VALUES \
             ('event.a.b.one', '1', 'error', 'default', 10, 'no queue is bound'), \
             ('event.a.b.two', '2', 'invalid', 'default', 0, 'event_type: missing'), \
             ('event.a.b.three', '3', 'pending', 'other', 0, NULL)",
        )
        .await;
    let topics = |arguments: &[&str]| {
        let rows = home.postroad.json(&[&["outbox", "list"], arguments].concat());
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(topics(&[]), ["event.a.b.three", "event.a.b.two", "event.a.b.one"]);
    assert_eq!(topics(&["--limit", "1"]), ["event.a.b.three"]);
    assert_eq!(topics(&["--status", "error"]), ["event.a.b.one"]);
    assert_eq!(topics(&["--config-key", "other"]), ["event.a.b.three"]);
    assert_eq!(topics(&["--status", "published"]), Vec::<String>::new());
    let table = home.postroad.done(&["outbox", "list", "--status", "error"]);
    assert!(table.contains("event.a.b.one") && table.contains("no queue is bound"), "{table}");
    assert_eq!(home.postroad.done(&["outbox", "list", "--status", "published"]), "no rows\n");
}

#[tokio::test]
async fn rows_that_ended_badly_are_sent_again_and_published_ones_are_not() {
    let home = Home::configured().await;
    home.sql
        .execute(
            "INSERT INTO outbound_event (topic, payload, status, published, retry_count) VALUES \
             ('event.a.b.c', '1', 'error', 0, 10), ('event.a.b.c', '2', 'error', 0, 10), \
             ('event.a.b.c', '3', 'invalid', 0, 0), ('event.a.b.c', '4', 'published', 1, 0)",
        )
        .await;
    let pending =
        "SELECT count(*) FROM outbound_event WHERE status = 'pending' AND retry_count = 0";
    assert_eq!(
        home.postroad.done(&["outbox", "retry", "--status", "error"]),
        "2 to be sent again\n"
    );
    assert_eq!(home.sql.count(pending).await, 2);
    let id = |payload: u32| format!("SELECT id FROM outbound_event WHERE payload = '{payload}'");
    let invalid = home.sql.row(&id(3)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(home.postroad.done(&["outbox", "retry", &invalid]), "1 to be sent again\n");
    assert_eq!(home.sql.count(pending).await, 3);
    let published = home.sql.row(&id(4)).await["id"].as_str().unwrap().to_owned();
    home.postroad.run(&["outbox", "retry", &published]).fails_saying(&[&published]);
    assert_eq!(home.sql.count(pending).await, 3);
}

#[tokio::test]
async fn a_received_message_is_marked_as_done_or_failed() {
    let home = Home::configured().await;
    home.sql
        .execute(
            "INSERT INTO inbound_event (message_id, topic, message_type, payload) VALUES \
             ('m-1', 'event.a.b.c', 'event', '{\"n\": 1}'), ('m-2', 'event.a.b.c', 'event', '{\"n\": 2}')",
        )
        .await;
    let rows = home.postroad.json(&["inbox", "list", "--status", "pending"]);
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["message_id"], "m-2");
    let (second, first) = (rows[0]["id"].as_str().unwrap(), rows[1]["id"].as_str().unwrap());

    assert_eq!(home.postroad.done(&["inbox", "done", first]), format!("{first}: processed\n"));
    let row = home.postroad.json(&["inbox", "show", first]);
    assert_eq!((&row["status"], &row["processed"]), (&json!("processed"), &json!(true)));
    assert_eq!(row["payload"], json!({ "n": 1 }));
    assert!(row["processed_at"].is_string());

    let fail = ["inbox", "fail", second, "--error", "no such machine"];
    assert_eq!(home.postroad.done(&fail), format!("{second}: error\n"));
    let row = home.postroad.json(&["inbox", "show", second]);
    assert_eq!((&row["status"], &row["processed"]), (&json!("error"), &json!(false)));
    assert_eq!(row["last_error"], "no such machine");
    let table = home.postroad.done(&["inbox", "list", "--status", "error"]);
    assert!(table.contains("no such machine"), "{table}");
}
