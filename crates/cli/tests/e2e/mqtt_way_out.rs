//! From the outbox to an MQTT subscriber that knows nothing of Postroad.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Letter, Listener, on_plant, until};

const ROWS: i64 = 2_000;
const ENVELOPES: &str = "event.machine.spindle.started";
/// No broker but MQTT's would take it.
const BARE: &str = "/Halle 4/Öfen/set";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn every_row_reaches_a_persistent_subscriber_though_the_broker_is_restarted() {
    on_plant(&["inbound_enabled=false"], async |plant| {
        let listener = Listener::start(plant.mosquitto.address, "#").await;
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let insert = |topic: &str, message_type: &str| {
            format!(
                "INSERT INTO outbound_event (topic, message_type, event_type, payload) \
                 SELECT '{topic}', {message_type}, 'started', {} FROM {}",
                plant.sql.object(),
                plant.sql.numbers(usize::try_from(ROWS / 2).unwrap())
            )
        };
        plant.sql.execute(&insert(ENVELOPES, "'event'")).await;
        let published = "SELECT count(*) FROM outbound_event WHERE status = 'published'";
        until("it is in the middle", async || plant.sql.count(published).await >= 200).await;
        plant.mosquitto.stop().await;
        plant.sql.execute(&insert(BARE, "NULL")).await;
        worker.says("broker not available").await;
        plant.mosquitto.run().await;
        plant.sql.until_count(ROWS, published).await;
        let tried =
            "SELECT count(*) FROM outbound_event WHERE retry_count > 0 OR last_error IS NOT NULL";
        assert_eq!(plant.sql.count(tried).await, 0, "the broker's absence is no row's fault");
        worker.stop().await;

        let every: BTreeSet<_> = (1..=ROWS / 2).collect();
        until("every row is heard", async || {
            let heard = listener.heard();
            numbers(&heard, ENVELOPES, enveloped) == every && numbers(&heard, BARE, bare) == every
        })
        .await;
        let strange = listener.heard().into_iter();
        let strange: Vec<_> =
            strange.filter(|letter| ![ENVELOPES, BARE].contains(&&*letter.topic)).collect();
        assert!(strange.is_empty(), "{strange:?}");
    })
    .await;
}

fn numbers(heard: &[Letter], topic: &str, number: impl Fn(&Value) -> i64) -> BTreeSet<i64> {
    let letters = heard.iter().filter(|letter| letter.topic == topic);
    letters.map(|letter| number(&serde_json::from_slice(&letter.payload).unwrap())).collect()
}

fn enveloped(message: &Value) -> i64 {
    assert_eq!(message["schema"], "interservice.envelope.v1");
    assert_eq!(message["message_type"], "event");
    assert_eq!(message["topic"], ENVELOPES);
    assert_eq!(message["source_service"], "ebmr");
    bare(&message["payload"])
}

fn bare(payload: &Value) -> i64 {
    let number = payload["n"].as_i64().unwrap();
    assert_eq!(*payload, json!({ "n": number }));
    number
}
