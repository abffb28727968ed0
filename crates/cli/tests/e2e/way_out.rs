//! From rows to RabbitMQ.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Bus, Server, copies, on_server, on_servers, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_thousand_rows_come_out_once_each_and_are_published() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let mut ear = bus.rabbit.listen("#").await;
        let worker = bus.postroad.worker(&[]);
        bus.enqueue(1_000).await;
        bus.sql.until_sent().await;

        let heard = ear.up_to_now().await;
        assert_eq!(heard.len(), 1_000);
        assert_eq!(copies(&heard).len(), 1_000);
        let settled = "SELECT count(*) FROM outbound_event WHERE status = 'published' AND published \
            AND published_at >= created_at AND retry_count = 0 AND last_error IS NULL \
            AND claim_token IS NULL";
        assert_eq!(bus.sql.count(settled).await, 1_000);
        for message in &heard {
            let row = "SELECT payload FROM outbound_event WHERE id =";
            let row = bus.sql.row(&format!("{row} '{}'", message.message_id())).await;
            let envelope: Value = serde_json::from_slice(&message.body).unwrap();
            assert_eq!(envelope["payload"], row["payload"]);
        }
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_message_carries_the_properties_of_the_contract() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let (ours, theirs) = (bus.service("default"), bus.service("other"));
        let topic = format!("{theirs}.request.machine.read");
        let reply_to = format!("{ours}.response.machine.read");
        let mut ear = bus.rabbit.listen(&topic).await;
        let worker = bus.postroad.worker(&[]);
        bus.sql
            .execute(&format!(
                "INSERT INTO outbound_event \
                 (message_id, topic, request_id, parent_request_id, chain_depth, reply_to, payload, headers) \
                 VALUES ('m-1', '{topic}', 'r-2', 'r-1', 1, '{reply_to}', '{{\"machine\": \"press-4\"}}', \
                 '{{\"line\": 4, \"shift\": \"late\", \"tags\": [\"a\", null]}}')"
            ))
            .await;

        let heard = ear.next().await;
        assert_eq!(heard.topic, topic);
        let properties = &heard.properties;
        assert_eq!(properties.content_type().unwrap(), "application/json");
        assert_eq!(properties.delivery_mode(), Some(2));
        assert_eq!(properties.message_id().unwrap(), "m-1");
        assert_eq!(properties.correlation_id().unwrap(), "r-2");
        assert_eq!(properties.reply_to().unwrap(), &reply_to);
        assert_eq!(properties.message_type().unwrap(), "request");
        assert_eq!(properties.app_id().unwrap(), &ours);
        let created = bus.sql.epoch_of("created_at");
        let created = u64::try_from(bus.sql.count(&created).await).unwrap();
        assert_eq!(properties.timestamp(), Some(created));
        let headers = properties.headers().unwrap();
        let header = |name: &str| headers.get(&name.try_into().unwrap()).unwrap().to_string();
        assert!(header("line").contains('4'), "{}", header("line"));
        assert!(header("shift").contains("late"), "{}", header("shift"));
        assert!(header("tags").contains('a'), "{}", header("tags"));

        let envelope: Value = serde_json::from_slice(&heard.body).unwrap();
        let expected = json!({
            "schema": "interservice.envelope.v1", "message_id": "m-1", "message_type": "request",
            "topic": topic, "source_service": ours, "request_id": "r-2", "parent_request_id": "r-1",
            "chain_depth": 1, "reply_to": reply_to, "payload": { "machine": "press-4" },
        });
        assert_eq!(envelope, expected);
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_request_nobody_takes_is_tried_with_growing_gaps_until_it_is_an_error() {
    on_servers(async |bus| {
        bus.configure("default", &["max_retry_count=3", "rabbitmq.binding_keys=[]"]);
        let worker = bus.postroad.worker(&[]);
        let (ours, nobody) = (bus.service("default"), bus.service("nobody"));
        bus.sql
            .execute(&format!(
                "INSERT INTO outbound_event (topic, request_id, reply_to, payload) VALUES \
                 ('{nobody}.request.machine.read', 'r-1', '{ours}.response.machine.read', '{{}}')"
            ))
            .await;
        // An event nobody listens to is well all the same.
        bus.enqueue(1).await;

        let gaps = watch_retries(bus).await;
        // 1, 2 and 4 seconds, less up to a quarter.
        assert!(gaps.contains_key(&3), "{gaps:?}");
        for (retry, gap) in &gaps {
            let nominal = [1.0, 2.0, 4.0][retry - 1];
            assert!((nominal * 0.74..=nominal * 1.01).contains(gap), "{gaps:?}");
        }
        let request =
            bus.sql.row("SELECT * FROM outbound_event WHERE request_id IS NOT NULL").await;
        assert_eq!(request["status"], "error");
        assert_eq!(request["retry_count"], 3);
        assert_eq!(request["published"], false);
        let error = request["last_error"].as_str().unwrap();
        assert!(error.contains("no queue is bound"), "{error}");
        let event = bus.sql.row("SELECT * FROM outbound_event WHERE request_id IS NULL").await;
        assert_eq!(event["status"], "published");
        assert_eq!(event["retry_count"], 0);

        // Once there is somebody to take it, a person sends it again.
        let mut ear = bus.rabbit.listen(&format!("{nobody}.#")).await;
        let ran = bus.postroad.done(&["outbox", "retry", "--status", "error"]);
        assert_eq!(ran, "1 to be sent again\n");
        assert_eq!(ear.next().await.properties.correlation_id().unwrap(), "r-1");
        bus.sql.until_sent().await;
        assert_eq!(bus.published().await, 2);
        worker.stop().await;
    })
    .await;
}

/// The delays that the row itself was given for each retry, in seconds, until it ends as an error.
async fn watch_retries(bus: &Bus) -> BTreeMap<usize, f64> {
    let mut gaps = BTreeMap::new();
    until("the request ends as an error", async || {
        let row = bus
            .sql
            .row(&format!(
                "SELECT status, retry_count, {} AS gap \
                 FROM outbound_event WHERE request_id IS NOT NULL",
                bus.sql.seconds("updated_at", "next_retry_at")
            ))
            .await;
        let retry = row["retry_count"].as_u64().unwrap();
        if row["status"] == "pending" && retry > 0 {
            gaps.insert(usize::try_from(retry).unwrap(), row["gap"].as_f64().unwrap());
        }
        row["status"] == "error"
    })
    .await;
    gaps
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn postgresql_tells_a_worker_of_new_rows_that_it_would_look_for_much_later() {
    on_server(Server::Postgres, async |bus| {
        bus.configure("default", &["poll_interval_ms=3600000"]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        for rows in 1..=3 {
            bus.enqueue(1).await;
            bus.sql
                .until_count(rows, "SELECT count(*) FROM outbound_event WHERE status = 'published'")
                .await;
        }
        worker.stop().await;
    })
    .await;
}
