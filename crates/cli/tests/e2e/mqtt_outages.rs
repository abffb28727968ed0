//! Servers that go away while messages come over MQTT cost nothing but time.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;

use crate::support::{Device, Plant, Server, on_plant, on_plant_with, until};

/// What Mosquitto acknowledged less than so long before it was killed may be nowhere: it writes its queues now and then.
const UNWRITTEN: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_database_that_was_away_is_made_up_for_by_the_spool() {
    on_plant(&[], async |plant| {
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let device = Device::start(plant.mosquitto.address);
        until("it is at work", async || plant.received().await >= 100).await;
        plant.database.refuse(true);
        plant.database.cut();
        worker.says("database not available").await;
        let before = device.sent();
        tokio::time::sleep(Duration::from_secs(5)).await;
        until("1,000 are sent without a database", async || device.sent() >= before + 1_000).await;
        let sent = device.stop().await;
        assert!(plant.stored().await.len() < sent.len() - 500, "there was a database");
        plant.database.refuse(false);
        until("all is stored", async || plant.stored().await == sent).await;
        assert_eq!(plant.received().await, i64::try_from(sent.len()).unwrap());
        until("the spool is empty", async || plant.spooled() == 0).await;
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn what_status_shows_in_the_spool_outlives_the_worker_and_the_broker() {
    // The lock is PostgreSQL's.
    on_plant_with(Server::Postgres, &[], async |plant| {
        let mut worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let device = Device::start(plant.mosquitto.address);
        let work = async {
            until("nothing is stored any more", async || plant.locked().await).await;
            let before = device.sent();
            until("much is sent", async || device.sent() >= before + 500).await;
            let sent = device.stop().await;
            let waiting = i64::try_from(sent.len()).unwrap() - plant.received().await;
            assert!(waiting >= 500, "{waiting}");
            until("all the rest is in the spool", async || plant.spooled() == waiting).await;
            worker.kill();
            assert!(plant.locked().await);
            sent
        };
        // The inbox takes nothing for a while; the rest of the database works.
        let lock = plant.sql.begin().await;
        let lasting = "SET LOCAL idle_in_transaction_session_timeout = 0; \
            LOCK TABLE inbound_event IN SHARE MODE";
        lock.execute_unprepared(lasting).await.unwrap();
        let sent = work.await;
        lock.rollback().await.unwrap();
        plant.mosquitto.kill();
        let worker = plant.postroad.worker(&[]);
        until("all is stored", async || plant.stored().await == sent).await;
        assert_eq!(plant.received().await, i64::try_from(sent.len()).unwrap());
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_broker_that_was_stopped_and_killed_loses_nothing_that_it_acknowledged() {
    on_plant(&[], async |plant| {
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let device = Device::start(plant.mosquitto.address);
        let mut killed_at = Instant::now();
        for killed in [false, true] {
            let before = plant.received().await;
            until("it is at work", async || plant.received().await >= before + 200).await;
            if killed {
                killed_at = Instant::now();
                plant.mosquitto.kill();
            } else {
                plant.mosquitto.stop().await;
            }
            worker.says("broker not available").await;
            plant.mosquitto.run().await;
        }
        let before = device.sent();
        until("the device goes on", async || device.sent() >= before + 500).await;
        // It acknowledges what it has not written yet; and what it had no time to acknowledge may be there too.
        let lost = killed_at.checked_sub(UNWRITTEN).unwrap()..killed_at + UNWRITTEN;
        let sent = device.stop_without(&lost).await;
        until("all is stored", async || sent.is_subset(&plant.stored().await)).await;
        let distinct = i64::try_from(plant.stored().await.len()).unwrap();
        assert_eq!(plant.received().await, distinct);
        assert_eq!(plant.postroad.status("default")["workers"][0]["possible_gaps"], 0);
        worker.stop().await;
    })
    .await;
}

impl Plant {
    /// Whether somebody keeps the inbox from being written to.
    async fn locked(&self) -> bool {
        let locks = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'ShareLock' \
            AND relation = 'inbound_event'::regclass";
        self.sql.count(locks).await > 0
    }
}
