//! From MQTT into the inbox: each message once.

use crate::support::{Device, Letter, Publisher, TOPIC, event, on_plant, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_worker_killed_three_times_stores_every_message_once() {
    on_plant(&[], async |plant| {
        let mut worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let device = Device::start(plant.mosquitto.address);
        for _ in 0..3 {
            let before = plant.received().await;
            until("it is at work", async || plant.received().await >= before + 200).await;
            worker.kill();
            worker = plant.postroad.worker(&[]);
        }
        until("2,000 are sent", async || device.sent() >= 2_000).await;
        plant.until_stored_once(device).await;
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn workers_in_a_shared_group_store_each_message_once_under_mqtt_3_1_1() {
    shared("4").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn workers_in_a_shared_group_store_each_message_once_under_mqtt_5() {
    shared("5").await;
}

async fn shared(protocol_version: &str) {
    let protocol_version = format!("mqtt.protocol_version={protocol_version}");
    on_plant(&["mqtt.shared_group=ebmr", &protocol_version], async |plant| {
        let workers = [plant.postroad.worker(&[]), plant.postroad.worker(&[])];
        let running = "SELECT count(*) FROM event_bus_worker WHERE status = 'running'";
        plant.sql.until_count(2, running).await;
        let device = Device::start(plant.mosquitto.address);
        until("500 are sent", async || device.sent() >= 500).await;
        let sent = i64::try_from(plant.until_stored_once(device).await).unwrap();
        // A last heartbeat is given up where the database is slow.
        let sum = "SELECT sum(received) AS told FROM event_bus_worker";
        let all = format!("SELECT count(*) FROM ({sum}) AS sums WHERE told = {sent}");
        plant.sql.until_count(1, &all).await;
        for worker in workers {
            worker.stop().await;
        }
        let shares = plant.sql.rows("SELECT received, duplicates FROM event_bus_worker").await;
        let received = shares.iter().map(|row| row["received"].as_i64().unwrap());
        let received: Vec<_> = received.collect();
        assert_eq!(received.iter().sum::<i64>(), sent, "{shares:?}");
        assert!(received.iter().all(|share| *share > 0), "{shares:?}");
        assert!(shares.iter().all(|row| row["duplicates"] == 0), "{shares:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn an_event_sent_twice_is_one_row_and_equal_messages_without_an_id_are_two() {
    on_plant(&[r#"mqtt.inbound_topics=["edgex/events/#", "hall/#"]"#], async |plant| {
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let twice = event("0192f0c1-7c7c-7000-8000-000000000001");
        let tick = Letter::new("hall/7/temperature", "21.5");
        // What is behind all others has come when they have.
        let last = event("0192f0c1-7c7c-7000-8000-000000000002");
        let mut publisher = Publisher::connect(plant.mosquitto.address).await.unwrap();
        let letters = [twice.clone(), tick.clone(), twice, tick, last];
        publisher.publish(&letters).await.unwrap();
        plant.sql.until_count(4, "SELECT count(*) FROM inbound_event").await;
        let on = |topic: &str| {
            format!("SELECT count(DISTINCT message_id) FROM inbound_event WHERE topic = '{topic}'")
        };
        assert_eq!(plant.sql.count(&on(TOPIC)).await, 2);
        assert_eq!(plant.sql.count(&on("hall/7/temperature")).await, 2);
        assert_eq!(plant.sql.count("SELECT count(*) FROM quarantined_message").await, 0);
        let counted = "SELECT count(*) FROM event_bus_worker WHERE received = 4 AND duplicates = 1";
        plant.sql.until_count(1, counted).await;
        worker.stop().await;
    })
    .await;
}
