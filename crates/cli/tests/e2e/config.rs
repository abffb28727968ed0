//! `postroad config`.

use crate::support::Home;

const FILE: &str = r#"
[config.billing]
source_service = "billing"
host = "rabbit-1,rabbit-2:5673"
tls_enabled = true
username = "billing"
password = "env:BILLING_PASSWORD"
batch_size = 200

[config.billing.rabbitmq]
exchange = "bus"
binding_keys = ["event.invoice.#"]

[config.shop]
source_service = "shop"
broker_type = "memory"
is_active = false
"#;

#[tokio::test]
async fn a_file_imported_twice_changes_nothing() {
    let home = Home::migrated().await;
    let all = "SELECT * FROM event_bus_runtime_config ORDER BY config_key";
    assert_eq!(home.postroad.import(FILE), "created billing\ncreated shop\n");
    let before = home.sql.rows(all).await;
    assert_eq!(home.postroad.import(FILE), "unchanged billing\nunchanged shop\n");
    assert_eq!(home.sql.rows(all).await, before);
    let changed = FILE.replace("batch_size = 200", "batch_size = 300");
    assert_eq!(home.postroad.import(&changed), "updated billing\nunchanged shop\n");
}

#[tokio::test]
async fn what_was_imported_is_shown() {
    let home = Home::migrated().await;
    home.postroad.import(FILE);
    let config = home.postroad.json(&["config", "show", "billing"]);
    assert_eq!(config["host"], "rabbit-1,rabbit-2:5673");
    assert_eq!(config["batch_size"], 200);
    assert_eq!(config["retry_backoff_max_seconds"], 300);
    assert_eq!(config["rabbitmq"]["exchange"], "bus");
    assert_eq!(config["rabbitmq"]["binding_keys"][0], "event.invoice.#");
    assert_eq!(config["rabbitmq"]["queue_type"], "quorum");
    let text = home.postroad.done(&["config", "show", "billing"]);
    let line = text.lines().find(|line| line.starts_with("rabbitmq.exchange ")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("bus"));

    let list = home.postroad.json(&["config", "list"]);
    let keys: Vec<_> = list.as_array().unwrap().iter().map(|it| &it["config_key"]).collect();
    assert_eq!(keys, ["billing", "shop"]);
    assert!(home.postroad.done(&["config", "list"]).contains("not active"));
}

#[tokio::test]
async fn a_file_with_a_mistake_is_not_imported_at_all() {
    let home = Home::migrated().await;
    let check = |mistake: &str, parts: &[&str]| {
        let file = home.postroad.file("mistake.toml", format!("{FILE}{mistake}"));
        home.postroad.run(&["config", "import", &file]).fails_saying(parts);
    };
    check("queeu = 'x'", &["`mistake.toml`", "`config.shop.queeu`"]);
    check("[config.shop.rabbitmq]\nqueeu = 'x'", &["`config.shop.rabbitmq.queeu`", "queue_type"]);
    check("[confg.x]", &["`confg`"]);
    check("batch_size = 0", &["`config.shop.batch_size`", "1 to 10000"]);
    check("port = '5672'", &["`config.shop.port`", "whole number"]);
    check("is_active = true", &["`mistake.toml` is not TOML"]);
    check("[config.x]\nsource_service = 'a.b'", &["`config.x.source_service`", "segment"]);
    assert_eq!(home.sql.count("SELECT count(*) FROM event_bus_runtime_config").await, 0);
}

#[tokio::test]
async fn single_settings_are_changed_by_name() {
    let home = Home::configured().await;
    let set =
        |values: &[&str]| home.postroad.run(&[&["config", "set", "default"], values].concat());
    let values = ["port=5673", "rabbitmq.binding_keys=event.#, ebmr.request.#", "rabbitmq.queue=q"];
    assert_eq!(set(&values).exits(0).out, "default: changed\n");
    assert_eq!(set(&values).exits(0).out, "default: nothing to change\n");
    let config = home.postroad.json(&["config", "show", "default"]);
    assert_eq!(config["port"], 5_673);
    assert_eq!(config["rabbitmq"]["binding_keys"][1], "ebmr.request.#");
    assert_eq!(set(&["port="]).exits(0).out, "default: changed\n");
    assert!(home.postroad.json(&["config", "show", "default"])["port"].is_null());

    // All or nothing.
    set(&["port=5674", "hearbeat=1"]).fails_saying(&["`hearbeat`", "heartbeat_interval_seconds"]);
    set(&["port=many"]).fails_saying(&["`port`", "1 to 65535"]);
    set(&["broker_type=kafka"]).fails_saying(&["`broker_type`", "`rabbitmq`"]);
    assert!(set(&["port"]).exits(2).err.contains("NAME=VALUE"));
    assert!(home.postroad.json(&["config", "show", "default"])["port"].is_null());

    // What each value is alone says little of all together.
    assert_eq!(set(&["batch_size=100"]).exits(0).err, "");
    let useless = set(&["broker_type=mqtt", "mqtt.inbound_topics=a/#/b"]).exits(0);
    assert!(useless.err.contains("no worker can start by it yet"), "{useless:?}");
    assert!(useless.err.contains("a/#/b"), "{useless:?}");
}

#[tokio::test]
async fn a_config_is_activated_and_deactivated() {
    let home = Home::configured().await;
    let run = |action| home.postroad.done(&["config", action, "default"]);
    assert_eq!(run("activate"), "default: was active already\n");
    assert_eq!(run("deactivate"), "default: not active\n");
    assert_eq!(home.postroad.json(&["config", "show", "default"])["is_active"], false);
    assert_eq!(run("deactivate"), "default: was not active\n");
    assert_eq!(run("activate"), "default: active\n");
    assert_eq!(home.postroad.json(&["config", "show", "default"])["is_active"], true);
}
