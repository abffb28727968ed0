//! `postroad doctor` with no server at hand.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Home, Postroad, Ran};

/// What `doctor` promises, with something to spare for a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

impl Ran {
    /// The line of `doctor --json` about this.
    #[track_caller]
    pub(crate) fn line(&self, subject: &str, check: &str) -> Value {
        let report = self.json();
        let lines = report["checks"].as_array().unwrap();
        let line = lines.iter().find(|it| it["subject"] == subject && it["check"] == check);
        line.unwrap_or_else(|| panic!("no `{check}` of `{subject}` in {report:#}")).clone()
    }

    /// The lines that are not ok, as `check: result`.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let report = self.json();
        let lines = report["checks"].as_array().unwrap();
        let bad = lines.iter().filter(|line| line["result"] != "ok");
        bad.map(|line| {
            let word = |name: &str| line[name].as_str().unwrap().to_owned();
            assert!(!word("advice").is_empty(), "it says what to do: {line:#}");
            format!("{}: {}", word("check"), word("result"))
        })
        .collect()
    }
}

#[tokio::test]
async fn a_healthy_database_is_told_line_by_line() {
    let home = Home::configured().await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(0);
    assert_eq!(ran.complaints(), ["broker: warning"], "{ran:?}");
    for check in ["connection", "schema", "version", "journal mode", "durability", "indexes"] {
        let line = ran.line("database", check);
        assert_eq!(line["result"], "ok", "{line:#}");
        assert!(!line["found"].as_str().unwrap().is_empty(), "{line:#}");
    }
    let broker = ran.line("config default", "broker");
    assert!(broker["found"].as_str().unwrap().contains("broker_type = memory"), "{broker:#}");
    let table = home.postroad.done(&["doctor"]);
    assert!(table.contains("what to do") && table.contains("SQLite 3."), "{table}");
}

#[tokio::test]
async fn a_missing_index_and_a_missing_schema_are_failures_with_what_to_do() {
    let home = Home::configured().await;
    home.sql.execute("DROP INDEX outbound_event_due").await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(1);
    let line = ran.line("database", "indexes");
    assert_eq!(line["result"], "failure");
    assert!(line["found"].as_str().unwrap().contains("outbound_event_due"), "{line:#}");
    home.sql.execute(line["advice"].as_str().unwrap()).await;
    home.postroad.run(&["doctor"]).exits(0);

    let home = Home::empty().await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(1);
    let line = ran.line("database", "schema");
    assert_eq!(line["advice"], "run `postroad migrate up`", "{line:#}");

    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("bus.db");
    let postroad = Postroad::new(format!("sqlite://{}?mode=rwc", file.display()), folder.path());
    let ran = postroad.run(&["doctor", "--json"]).exits(1);
    let line = ran.line("database", "connection");
    assert!(line["advice"].as_str().unwrap().contains("`postroad migrate up` makes"), "{line:#}");
    assert!(!file.exists(), "looking makes nothing");
}

#[tokio::test]
async fn rows_that_nobody_sends_are_told_by_doctor_and_status() {
    let home = Home::configured().await;
    for (key, ordering) in [("default", "NULL"), ("Default", "NULL"), ("default ", "'k'")] {
        let insert = format!(
            "INSERT INTO outbound_event (config_key, topic, event_type, payload, ordering_key) \
             VALUES ('{key}', 'event.a.b.c', 'c', '1', {ordering})"
        );
        home.sql.execute(&insert).await;
    }
    let line = home.postroad.run(&["doctor", "--json"]).exits(0).line("database", "config keys");
    assert_eq!(line["result"], "warning", "{line:#}");
    assert!(line["found"].as_str().unwrap().ends_with("`Default`, `default `"), "{line:#}");
    let told = home.postroad.run(&["status"]).err;
    assert!(told.contains("`Default`") && told.contains("`default `"), "{told}");
    home.sql.execute("UPDATE outbound_event SET config_key = 'default'").await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(0);
    assert_eq!(ran.line("database", "config keys")["result"], "ok", "{ran:?}");
    assert!(!home.postroad.run(&["status"]).err.contains("no config"), "{ran:?}");
}

#[tokio::test]
async fn a_config_that_is_not_there_or_cannot_be_used_is_told() {
    let home = Home::migrated().await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(0);
    assert_eq!(ran.complaints(), ["configs: warning"]);
    let ran = home.postroad.run(&["doctor", "--config-key", "nobody", "--json"]).exits(1);
    assert!(ran.line("database", "configs")["found"].as_str().unwrap().contains("`nobody`"));
    home.postroad.import(
        "[config.a]\npassword = 'env:POSTROAD_TEST_NOT_SET'\nsource_service='a'\nis_active=false\n",
    );
    // Who asks for it by name gets it.
    let ran = home.postroad.run(&["doctor", "--config-key", "a", "--json"]).exits(1);
    let line = ran.line("config a", "settings");
    assert!(line["found"].as_str().unwrap().contains("POSTROAD_TEST_NOT_SET"), "{line:#}");
}

#[tokio::test]
async fn a_database_that_is_down_or_says_nothing_is_a_failure_in_time_and_its_password_is_not_shown()
 {
    let home = Home::empty().await;
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    for url in [
        "postgres://ebmr:hunter2@127.0.0.1:1/bus".to_owned(),
        "mysql://ebmr:hunter2@127.0.0.1:1/bus".to_owned(),
        format!("postgres://ebmr:hunter2@127.0.0.1:{port}/bus"),
        format!("mysql://ebmr:hunter2@127.0.0.1:{port}/bus"),
        "oracle://ebmr:hunter2@127.0.0.1/bus".to_owned(),
    ] {
        let began = Instant::now();
        let ran = Postroad::new(&*url, home.postroad.folder()).run(&["doctor", "--json"]).exits(1);
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
        assert_eq!(ran.complaints(), ["connection: failure"], "{ran:?}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_down_or_says_nothing_is_a_failure_in_time() {
    let home = Home::migrated().await;
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    for broker in ["rabbitmq", "mqtt"] {
        for (name, port) in [("down", 1), ("deaf", port)] {
            home.postroad.import(&format!(
                "[config.{broker}-{name}]\nbroker_type = '{broker}'\nhost = '127.0.0.1:{port}'\n\
                 source_service = 'ebmr'\nusername = 'ebmr'\npassword = 'hunter2'\nconnect_timeout = 300\n"
            ));
        }
    }
    let began = Instant::now();
    let ran = home.postroad.run(&["doctor", "--json"]).exits(1);
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    for config in ["rabbitmq-down", "rabbitmq-deaf", "mqtt-down", "mqtt-deaf"] {
        let line = ran.line(&format!("config {config}"), "broker");
        assert_eq!(line["result"], "failure", "{line:#}");
        assert!(line["found"].as_str().unwrap().contains("127.0.0.1:"), "{line:#}");
    }
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
}

#[tokio::test]
async fn workers_that_push_each_other_off_the_broker_are_told() {
    let home = Home::migrated().await;
    home.postroad.import(
        "[config.m]\nbroker_type = 'mqtt'\nhost = '127.0.0.1:1'\nsource_service = 'a'\nconnect_timeout = 1\n",
    );
    let worker = |id: u8, status: &str| {
        format!(
            "INSERT INTO event_bus_worker (id, config_key, host, pid, version, status, last_heartbeat_at) \
             VALUES ('00000000-0000-4000-8000-00000000000{id}', 'm', 'h', {id}, '0', '{status}', \
             strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
        )
    };
    home.sql.execute(&worker(1, "running")).await;
    home.sql.execute(&worker(2, "stopped")).await;
    let complaints = || home.postroad.run(&["doctor", "--json"]).exits(1).complaints();
    let told = |complaints: &[String]| complaints.iter().any(|line| line == "workers: warning");
    assert!(!told(&complaints()), "one is alone");
    home.sql.execute(&worker(3, "reconnecting")).await;
    assert!(told(&complaints()));
    let line = home.postroad.run(&["doctor", "--json"]).line("config m", "workers");
    assert!(line["found"].as_str().unwrap().starts_with("2 workers"), "{line:#}");
    assert!(line["advice"].as_str().unwrap().contains("mqtt.shared_group"), "{line:#}");
    home.postroad.done(&["config", "set", "m", "mqtt.shared_group=g"]);
    assert!(!told(&complaints()));
}

#[tokio::test]
async fn dangerous_settings_are_named() {
    let home = Home::migrated().await;
    home.postroad.import(
        "[config.m]\nbroker_type = 'mqtt'\nhost = '127.0.0.1:1'\nsource_service = 'a'\n\
         [config.m.mqtt]\nqos = 0\nallow_unacknowledged = true\nclean_session = true\n\
         allow_clean_session = true\nprotocol_version = 4\n\
         [config.r]\nhost = 'rabbit.invalid'\nsource_service = 'a'\nconnect_timeout = 1\nallow_plaintext = true\n\
         [config.r.rabbitmq]\nqueue_type = 'classic'\n",
    );
    let ran = home.postroad.run(&["doctor", "--json"]).exits(1);
    let report = ran.json();
    let said: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["result"] == "warning")
        .map(|line| line["found"].as_str().unwrap())
        .collect();
    for danger in [
        "mqtt.qos = 0",
        "mqtt.clean_session = true",
        "mqtt.protocol_version = 4",
        "rabbitmq.queue_type = classic",
        "plain text",
    ] {
        assert!(said.iter().any(|found| found.contains(danger)), "no `{danger}` in {said:#?}");
    }
}
