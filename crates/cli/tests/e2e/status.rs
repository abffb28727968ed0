//! `postroad status` with no server at hand.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Home;

#[tokio::test]
async fn an_active_config_without_a_live_worker_is_unhealthy() {
    let home = Home::migrated().await;
    home.postroad.run(&["status"]).exits(0);
    home.postroad.import("[config.default]\nsource_service = 'ebmr'\n");
    let ran = home.postroad.run(&["status"]).exits(1);
    assert!(ran.err.contains("`default` is active and has no live worker"), "{ran:?}");
    home.postroad.run(&["status", "--json"]).exits(1).json();
    home.postroad.done(&["config", "deactivate", "default"]);
    home.postroad.run(&["status"]).exits(0);
}

#[tokio::test]
async fn every_row_is_counted_by_its_state() {
    let home = Home::configured().await;
    home.sql
        .execute(
            "INSERT INTO outbound_event (topic, payload, status, next_retry_at, created_at) VALUES \
             ('event.a.b.c', '1', 'pending', '2100-01-01T00:00:00.000Z', '2020-01-01T00:00:00.000Z'), \
             ('event.a.b.c', '1', 'pending', NULL, '2021-01-01T00:00:00.000Z'), \
             ('event.a.b.c', '1', 'published', NULL, '2019-01-01T00:00:00.000Z'), \
             ('event.a.b.c', '1', 'invalid', NULL, '2019-01-01T00:00:00.000Z'), \
             ('event.a.b.c', '1', 'error', NULL, '2019-01-01T00:00:00.000Z'), \
             ('event.a.b.c', '1', 'error', NULL, '2019-01-01T00:00:00.000Z')",
        )
        .await;
    home.sql
        .execute(
            "INSERT INTO inbound_event (message_id, topic, message_type, payload, status) VALUES \
             ('1', 'event.a.b.c', 'event', '1', 'pending'), ('2', 'event.a.b.c', 'event', '1', 'processed'), \
             ('3', 'event.a.b.c', 'event', '1', 'processed'), ('4', 'event.a.b.c', 'event', '1', 'error')",
        )
        .await;
    home.sql
        .execute("INSERT INTO quarantined_message (topic, reason, body) VALUES ('a', 'invalid_json', X'00')")
        .await;
    let status = home.postroad.run(&["status", "--json"]).exits(1).json();
    let config = &status["configs"][0];
    for (path, count) in [
        ("/outbound/pending", 2),
        ("/outbound/published", 1),
        ("/outbound/invalid", 1),
        ("/outbound/error", 2),
        ("/inbound/pending", 1),
        ("/inbound/processed", 2),
        ("/inbound/error", 1),
        ("/quarantined", 1),
    ] {
        assert_eq!(config.pointer(path).unwrap(), count, "{path}");
    }
    assert_eq!(config["outbound"]["next_retry_at"], "2100-01-01T00:00:00.000Z");
    let years = config["outbound"]["oldest_pending_seconds"].as_i64().unwrap() / (365 * 86_400);
    assert!((6..1_000).contains(&years), "{config}");
}

#[tokio::test]
async fn the_json_has_the_shape_of_the_contract() {
    let home = Home::configured().await;
    let worker = home.postroad.worker(&[]);
    home.postroad.until_status("default", "running").await;
    let status = home.postroad.json(&["status", "--config-key", "default"]);
    has(&status, &["configs"]);
    let config = &status["configs"][0];
    has(
        config,
        &[
            "config_key",
            "broker_type",
            "is_active",
            "worker_status",
            "workers",
            "outbound",
            "inbound",
            "quarantined",
        ],
    );
    assert_eq!(config["config_key"], "default");
    assert_eq!(config["broker_type"], "memory");
    assert_eq!(config["is_active"], true);
    assert_eq!(config["worker_status"], "running");
    has(
        &config["outbound"],
        &["pending", "published", "invalid", "error", "oldest_pending_seconds", "next_retry_at"],
    );
    has(&config["inbound"], &["pending", "processed", "error"]);
    let entry = &config["workers"][0];
    has(entry, &["id", "host", "pid", "status", "started_at", "last_heartbeat_at", "stale"]);
    assert_eq!(entry["pid"], worker.pid());
    assert_eq!(entry["status"], "running");
    assert_eq!(entry["stale"], false);
    for time in ["started_at", "last_heartbeat_at"] {
        assert!(entry[time].as_str().unwrap().ends_with('Z'), "{time}: {entry}");
    }
    worker.stop().await;
}

/// Nothing of the contract is missing; more may be there.
#[track_caller]
fn has(value: &Value, names: &[&str]) {
    let found: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}
