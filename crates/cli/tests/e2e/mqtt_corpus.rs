//! Every message of the EdgeX corpus through a real broker into a real database.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    Home, Letter, Mosquitto, Postroad, Publisher, Sql, configure_mqtt, hex, on_plant,
};

const COLUMNS: [&str; 8] = [
    "event_type",
    "message_type",
    "message_status",
    "source_service",
    "request_id",
    "reply_to",
    "parent_request_id",
    "chain_depth",
];

struct Case {
    letter: Letter,
    expect: Value,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn every_case_of_the_corpus_is_stored_as_it_should_be_in_sqlite() {
    let home = Home::migrated().await;
    let mosquitto = Mosquitto::start().await;
    configure_mqtt(&home.postroad, &mosquitto, &[r##"mqtt.inbound_topics=["#"]"##]);
    check(&home.postroad, &home.sql, &mosquitto, "lower(hex(body))").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn every_case_of_the_corpus_is_stored_as_it_should_be_in_the_servers_too() {
    on_plant(&[r##"mqtt.inbound_topics=["#"]"##], async |plant| {
        check(&plant.postroad, &plant.sql, &plant.mosquitto, &plant.sql.hex_of("body")).await;
    })
    .await;
}

async fn check(postroad: &Postroad, sql: &Sql, mosquitto: &Mosquitto, hex_body: &str) {
    let cases = corpus();
    let mut publisher = Publisher::connect(mosquitto.address).await.unwrap();
    // The flag is seen by those who subscribe later. A broker keeps no empty message.
    let (before, after): (Vec<_>, Vec<_>) =
        cases.iter().map(|case| case.letter.clone()).partition(Letter::stays);
    publisher.publish(&before).await.unwrap();
    let worker = postroad.worker(&[]);
    postroad.until_status("default", "running").await;
    publisher.publish(&after).await.unwrap();
    let all =
        "SELECT (SELECT count(*) FROM inbound_event) + (SELECT count(*) FROM quarantined_message)";
    sql.until_count(i64::try_from(cases.len()).unwrap(), all).await;
    worker.stop().await;
    assert_eq!(sql.count(all).await, i64::try_from(cases.len()).unwrap(), "one row a message");
    let mut left: Vec<_> = cases.iter().collect();
    check_inbox(&mut left, sql).await;
    check_quarantine(&mut left, sql, hex_body).await;
    assert!(left.is_empty());
}

impl Letter {
    /// Whether the broker keeps it for those who come.
    fn stays(&self) -> bool {
        self.retain && !self.payload.is_empty()
    }
}

/// Takes away the case of each row. Several share a topic and have no id, so it is found by all that is known of it.
async fn check_inbox(left: &mut Vec<&Case>, sql: &Sql) {
    for found in sql.rows("SELECT * FROM inbound_event").await {
        let place = left.iter().position(|case| case.is_row(&found));
        let place = place.unwrap_or_else(|| {
            let due = left.iter().filter(|case| case.letter.topic == found["topic"]);
            panic!("{found:#} is none of {:#?}", due.map(|case| &case.expect).collect::<Vec<_>>())
        });
        left.remove(place);
    }
}

/// Takes away the case of each message that was kept apart, to the byte as it was sent.
async fn check_quarantine(left: &mut Vec<&Case>, sql: &Sql, hex_body: &str) {
    let kept = format!("SELECT topic, reason, detail, {hex_body} AS body FROM quarantined_message");
    for found in sql.rows(&kept).await {
        assert_eq!(found["reason"], "edgex.malformed", "{found}");
        assert_ne!(found["detail"], "", "{found}");
        let place = left.iter().position(|case| {
            case.stored_in("quarantined_message")
                && case.letter.topic == found["topic"]
                && hex(&case.letter.payload) == found["body"]
        });
        left.remove(place.unwrap_or_else(|| panic!("{found} is no message that belongs here")));
    }
}

impl Case {
    fn stored_in(&self, table: &str) -> bool {
        let any_of = self.expect["stored_in_any_of"].as_array();
        self.expect["stored_in"] == table
            || any_of.is_some_and(|any_of| any_of.iter().any(|one| one == table))
    }

    fn is_row(&self, found: &Value) -> bool {
        // A database without a type for JSON gives its text.
        let payload = match &found["payload"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            payload => payload.clone(),
        };
        let (expect, data) = (&self.expect, &self.expect["data"]);
        self.stored_in("inbound_event")
            && found["topic"] == self.letter.topic
            && COLUMNS.iter().all(|name| found[name] == expect[name])
            && (expect["message_id"].is_null() || found["message_id"] == expect["message_id"])
            && (!expect.as_object().unwrap().contains_key("data") || payload["data"] == *data)
            && payload["mqtt"]["encoding"] == expect["payload_encoding"]
            && payload["mqtt"]["qos"] == 1
            && payload["mqtt"]["retain"] == json!(self.letter.stays())
    }
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edgex/tests/corpus");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| case(&fs::read(path).unwrap())).collect()
}

fn case(file: &[u8]) -> Case {
    let mut file: Value = serde_json::from_slice(file).unwrap();
    let payload = match file["payload_utf8"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(file["payload_base64"].as_str().unwrap()).unwrap(),
    };
    let letter = Letter {
        topic: file["topic"].as_str().unwrap().to_owned(),
        payload,
        retain: file["mqtt"]["retain"].as_bool().unwrap(),
    };
    Case { letter, expect: file["expect"].take() }
}
