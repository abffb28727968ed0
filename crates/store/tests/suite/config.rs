//! The runtime configuration.

use postroad_store::StringList;
use postroad_store::config::{Changes, ConfigError, activate, deactivate, import, list, load, set};
use serde_json::json;

use super::home::Home;

fn one(name: &str, value: &str) -> [(String, String); 1] {
    [(name.to_owned(), value.to_owned())]
}

pub(crate) async fn a_new_config_has_the_contracts_defaults(home: Home) {
    let db = &home.database;
    assert_eq!(load(db, "default").await.unwrap(), None);
    import(db, &json!({ "config": { "default": {} } })).await.unwrap();
    let config = load(db, "default").await.unwrap().unwrap();
    let runtime = &config.runtime;
    assert_eq!((runtime.is_active, runtime.broker_type.as_str()), (true, "rabbitmq"));
    assert_eq!(
        (runtime.host.as_str(), runtime.port, &runtime.password),
        ("localhost", None, &None)
    );
    assert_eq!((runtime.connect_timeout, runtime.retry_interval_seconds), (10, 5));
    assert_eq!(
        (runtime.outbound_enabled, runtime.inbound_enabled, runtime.tls_enabled),
        (true, true, false)
    );
    assert_eq!((runtime.max_retry_count, runtime.max_chain_depth), (10, 32));
    assert_eq!((runtime.retry_backoff_base_seconds, runtime.retry_backoff_max_seconds), (1, 300));
    assert_eq!((runtime.max_message_bytes, runtime.batch_size), (1_048_576, 500));
    assert_eq!((runtime.poll_interval_ms, runtime.heartbeat_interval_seconds), (1000, 10));

    assert_eq!(
        (runtime.retention_days_published, runtime.retention_days_processed),
        (Some(7), Some(30))
    );
    assert_eq!((runtime.retention_days_error, runtime.retention_days_invalid), (None, None));
    assert_eq!(
        (runtime.retention_days_quarantined, runtime.retention_days_dedupe),
        (None, Some(14))
    );
    assert!(!runtime.delete_on_publish);

    // The defaults in the program are those in the database.
    home.execute("INSERT INTO event_bus_rabbitmq_settings (config_key) VALUES ('default')").await;
    home.execute("INSERT INTO event_bus_mqtt_settings (config_key) VALUES ('default')").await;
    let stored = load(db, "default").await.unwrap().unwrap();
    assert_eq!((stored.rabbitmq.id, stored.mqtt.id), (1, 1));
    let mut expected = config.clone();
    (expected.rabbitmq.id, expected.mqtt.id) = (1, 1);
    assert_eq!(stored, expected);
}

pub(crate) async fn importing_twice_changes_nothing(home: Home) {
    let db = &home.database;
    let file = json!({ "config": {
        "default": {
            "broker_type": "rabbitmq", "host": "one:5672,two", "port": 5672, "password": "env:SECRET",
            "source_service": "orders", "tls_enabled": true,
            "rabbitmq": { "queue": "orders.inbox", "binding_keys": ["event.#", "a.*"], "prefetch_count": 100 },
        },
        "edge": { "broker_type": "mqtt", "mqtt": { "qos": 2, "inbound_topics": ["edgex/#"] } },
    } });
    let first = import(db, &file).await.unwrap();
    assert_eq!(first.created, ["default", "edge"]);
    let everything = || async {
        let mut tables = Vec::new();
        for table in
            ["event_bus_runtime_config", "event_bus_rabbitmq_settings", "event_bus_mqtt_settings"]
        {
            tables.push(home.rows(&format!("SELECT * FROM {table} ORDER BY id")).await);
        }
        tables
    };
    let before = everything().await;
    let second = import(db, &file).await.unwrap();
    let unchanged = vec!["default".to_owned(), "edge".to_owned()];
    assert_eq!(second, Changes { unchanged, ..Changes::default() });
    assert_eq!(everything().await, before);

    let third =
        import(db, &json!({ "config": { "edge": { "mqtt": { "qos": 1 } } } })).await.unwrap();
    assert_eq!(third.updated, ["edge"]);
    let config = load(db, "edge").await.unwrap().unwrap();
    assert_eq!(
        (config.mqtt.qos, config.mqtt.inbound_topics),
        (1, StringList(vec!["edgex/#".to_owned()]))
    );
    let config = load(db, "default").await.unwrap().unwrap();
    assert_eq!(
        config.rabbitmq.binding_keys,
        Some(StringList(vec!["event.#".to_owned(), "a.*".to_owned()]))
    );
    assert_eq!(list(db).await.unwrap().len(), 2);
}

pub(crate) async fn an_unknown_setting_is_named_and_nothing_is_changed(home: Home) {
    let db = &home.database;
    for (file, name) in [
        (
            json!({ "config": { "good": {}, "wrong": { "hots": "localhost" } } }),
            "`config.wrong.hots`",
        ),
        (
            json!({ "config": { "wrong": { "rabbitmq": { "que": "q" } } } }),
            "`config.wrong.rabbitmq.que`",
        ),
        (json!({ "config": { "wrong": { "mqtt": [] } } }), "`config.wrong.mqtt`"),
        (json!({ "config": { "wrong": { "id": 1 } } }), "`config.wrong.id`"),
        (json!({ "configs": {} }), "`configs`"),
        (json!({ "config": { "wrong": { "port": 0 } } }), "`config.wrong.port`"),
        (
            json!({ "config": { "wrong": { "rabbitmq": { "heartbeat_seconds": 3 } } } }),
            "`config.wrong.rabbitmq.heartb",
        ),
    ] {
        let error = import(db, &file).await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(list(db).await.unwrap().is_empty());
    }
    import(db, &json!({ "config": { "default": {} } })).await.unwrap();
    let error = set(db, "default", &one("hots", "x")).await.unwrap_err().to_string();
    assert!(error.contains("`hots`") && error.contains("host, port"), "{error}");
    assert!(matches!(
        set(db, "nobody", &one("host", "x")).await,
        Err(ConfigError::UnknownConfig(_))
    ));
}

pub(crate) async fn a_value_out_of_range_is_refused(home: Home) {
    let db = &home.database;
    import(db, &json!({ "config": { "default": {} } })).await.unwrap();
    let before = load(db, "default").await.unwrap();
    for (name, value) in [
        ("port", "65536"),
        ("port", "0"),
        ("port", "http"),
        ("host", ""),
        ("broker_type", "kafka"),
        ("tls_enabled", "maybe"),
        ("source_service", "two.segments"),
        ("source_service", "event"),
        ("batch_size", "1.5"),
        ("retry_backoff_base_seconds", "301"),
        ("rabbitmq.heartbeat_seconds", "61"),
        ("rabbitmq.queue_type", "stream"),
        ("rabbitmq.queue", &"q".repeat(256)),
        ("mqtt.qos", "3"),
        ("mqtt.protocol_version", "3"),
    ] {
        let error = set(db, "default", &one(name, value)).await.unwrap_err();
        assert!(
            matches!(&error, ConfigError::InvalidValue { name: named, .. } if named == name),
            "{error}"
        );
    }
    assert_eq!(load(db, "default").await.unwrap(), before);
}

pub(crate) async fn settings_are_set_from_text(home: Home) {
    let db = &home.database;
    import(db, &json!({ "config": { "default": { "port": 1 } } })).await.unwrap();
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let values = [
        text("port", ""),
        text("username", "12345"),
        text("tls_enabled", "true"),
        text("rabbitmq.queue", "mine"),
        text("rabbitmq.binding_keys", "event.#, mine.request.#"),
        text("mqtt.inbound_topics", r#"["a,b"]"#),
    ];
    assert!(set(db, "default", &values).await.unwrap());
    assert!(!set(db, "default", &values).await.unwrap());
    let config = load(db, "default").await.unwrap().unwrap();
    assert_eq!((config.runtime.port, config.runtime.username.as_deref()), (None, Some("12345")));
    assert_eq!(
        (config.runtime.tls_enabled, config.rabbitmq.queue.as_deref()),
        (true, Some("mine"))
    );
    let keys = ["event.#", "mine.request.#"].map(str::to_owned).to_vec();
    assert_eq!(config.rabbitmq.binding_keys, Some(StringList(keys)));
    assert_eq!(config.mqtt.inbound_topics.0, ["a,b"]);
    assert!(deactivate(db, "default").await.unwrap());
    assert!(!deactivate(db, "default").await.unwrap());
    assert!(!load(db, "default").await.unwrap().unwrap().runtime.is_active);
    assert!(activate(db, "default").await.unwrap());
}

pub(crate) async fn days_are_a_number_or_never(home: Home) {
    let db = &home.database;
    let days = |value: serde_json::Value| json!({ "config": { "default": { "retention_days_published": value, "delete_on_publish": true } } });
    let stored =
        async || load(db, "default").await.unwrap().unwrap().runtime.retention_days_published;
    for (value, expected) in [
        (json!(1), Some(1)),
        (json!("never"), None),
        (json!(36_500), Some(36_500)),
        (json!(""), None),
    ] {
        import(db, &days(value)).await.unwrap();
        assert_eq!(stored().await, expected);
    }
    for (text, expected) in [("3", Some(3)), ("never", None), ("4", Some(4)), ("", None)] {
        assert!(set(db, "default", &one("retention_days_published", text)).await.unwrap());
        assert_eq!(stored().await, expected);
    }
    for value in [json!(0), json!(-1), json!(36_501), json!(1.5), json!("soon")] {
        let error = import(db, &days(value)).await.unwrap_err().to_string();
        assert!(
            error.contains("`config.default.retention_days_published`")
                && error.contains("`never`"),
            "{error}"
        );
    }
    home.execute("UPDATE event_bus_runtime_config SET retention_days_error = 1").await;
    let zero = "UPDATE event_bus_runtime_config SET retention_days_error = 0";
    assert!(sea_orm::ConnectionTrait::execute_unprepared(db.connection(), zero).await.is_err());
}

pub(crate) async fn a_password_is_never_printed(home: Home) {
    let db = &home.database;
    import(db, &json!({ "config": { "default": { "password": "hunter2" } } })).await.unwrap();
    let config = load(db, "default").await.unwrap().unwrap();
    let printed = format!(
        "{config:?} {} {:?}",
        serde_json::to_string(&config).unwrap(),
        list(db).await.unwrap()
    );
    assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    assert_eq!(config.runtime.password.unwrap().expose(), "hunter2");
    let error = set(db, "default", &one("password", "hunter2\n")).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}
