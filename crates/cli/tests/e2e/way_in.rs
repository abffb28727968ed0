//! From RabbitMQ to rows.

use serde_json::{Value, json};

use crate::support::{Bus, on_servers, until};

const TOPIC: &str = "event.machine.spindle.started";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_thousand_envelopes_come_in_once_each_however_often_they_are_sent() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        publish(bus, 1_000).await;
        bus.until_received("default", 1_000).await;

        publish(bus, 1_000).await;
        let counted = "SELECT duplicates FROM event_bus_worker WHERE received = 1000";
        until("each is known as a duplicate", async || {
            bus.sql.rows(counted).await.first().is_some_and(|row| row["duplicates"] == 1_000)
        })
        .await;
        bus.until_received("default", 1_000).await;
        assert_eq!(bus.sql.count("SELECT count(*) FROM quarantined_message").await, 0);

        let row = bus.sql.row("SELECT * FROM inbound_event WHERE message_id = 'm-7'").await;
        let expected = json!({
            "config_key": "default", "topic": TOPIC, "message_type": "event", "event_type": "started",
            "source_service": "lathe", "payload": { "n": 7 }, "status": "pending", "processed": false,
            "chain_depth": 0, "request_id": null, "message_status": null, "retry_count": 0,
            "headers": { "extra": { "colour": "red" } },
        });
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(row[column], *value, "{column}");
        }

        // What was not acknowledged would be back in the queue now.
        worker.stop().await;
        until("the queue is empty", async || bus.rabbit.depth(&bus.inbox("default")).await == 0)
            .await;
    })
    .await;
}

async fn publish(bus: &Bus, messages: u32) {
    for n in 0..messages {
        bus.rabbit.publish(TOPIC, envelope(n).to_string()).await;
    }
}

fn envelope(n: u32) -> Value {
    json!({
        "schema": "interservice.envelope.v1", "message_id": format!("m-{n}"), "message_type": "event",
        "topic": TOPIC, "source_service": "lathe", "event_type": "started", "payload": { "n": n },
        "colour": "red",
    })
}
