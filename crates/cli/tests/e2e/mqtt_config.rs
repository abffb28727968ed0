//! What of MQTT is seen without a broker.

use serde_json::json;

use crate::support::{Home, TOPIC, event};

const CONFIG: &str = r#"
[config.default]
broker_type = "mqtt"
host = "127.0.0.1:1"
source_service = "ebmr"
[config.default.mqtt]
qos = 0
"#;

#[tokio::test]
async fn a_qos_of_0_is_refused_unless_it_is_asked_for_by_name() {
    let home = Home::migrated().await;
    let file = home.postroad.file("qos.toml", CONFIG);
    let parts = ["qos", "allow_unacknowledged"];
    home.postroad.run(&["config", "import", &file]).fails_saying(&parts);
    home.postroad.import(&CONFIG.replace("qos = 0", ""));
    home.postroad.run(&["config", "set", "default", "mqtt.qos=0"]).fails_saying(&parts);
    let allowed = ["config", "set", "default", "mqtt.qos=0", "mqtt.allow_unacknowledged=true"];
    home.postroad.done(&allowed);
    let back = ["config", "set", "default", "mqtt.allow_unacknowledged=false"];
    home.postroad.run(&back).fails_saying(&parts);
}

#[tokio::test]
async fn a_worker_does_not_start_with_a_qos_of_0_that_was_not_asked_for() {
    let home = Home::migrated().await;
    home.postroad.import(&CONFIG.replace("qos = 0", ""));
    // By SQL, past the command line.
    let insert = "INSERT INTO event_bus_mqtt_settings (config_key, qos) VALUES ('default', 0)";
    home.sql.execute(insert).await;
    let mut worker = home.postroad.worker(&[]);
    assert_eq!(worker.ended().await, 1, "{}", worker.log());
    let log = worker.log();
    let error = log.lines().find(|line| line.starts_with("error: ")).expect("it says why");
    assert!(
        error.contains("config `default`") && error.contains("allow_unacknowledged"),
        "{error}"
    );
}

#[tokio::test]
async fn edgex_decode_prints_what_a_message_would_become() {
    let home = Home::empty().await;
    let decode = ["edgex", "decode", "--json", "--topic"];
    let id = "0192f0c1-7c7c-7000-8000-000000000001";
    let file = home.postroad.file("event.json", event(id).payload);
    let shown = home.postroad.done(&[&decode[..], &[TOPIC, &file]].concat());
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["stored_in"], "inbound_event");
    let row = &shown["row"];
    assert_eq!(row["message_id"], id);
    assert_eq!(row["message_type"], "event");
    assert_eq!(row["event_type"], "edgex.event");
    assert_eq!(row["source_service"], "device-press");
    assert_eq!(row["payload"]["data"]["origin"], json!(1_764_500_000_123_456_789_u64));
    assert_eq!(row["payload"]["mqtt"]["qos"], 1);

    let broken =
        home.postroad.run_with_input(&[&decode[..], &[TOPIC, "-"]].concat(), b"{").exits(0);
    let broken = broken.json();
    assert_eq!(broken["stored_in"], "quarantined_message");
    assert_eq!(broken["reason"], "edgex.malformed");
    assert_eq!(broken["row"], json!(null));
}
