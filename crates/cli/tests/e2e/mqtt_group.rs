//! Workers that share their subscriptions, and come and go.

use std::time::Duration;

use crate::support::{Crowd, Device, Plant, dice, on_plant, scaled_time, show, until};

const GROUP: [&str; 1] = ["mqtt.shared_group=ebmr"];
const TROUBLE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn two_members_killed_and_started_at_random_store_each_message_once() {
    in_trouble(2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn four_members_killed_and_started_at_random_store_each_message_once() {
    in_trouble(4).await;
}

async fn in_trouble(members: usize) {
    on_plant(&GROUP, async |plant| {
        let mut dice = dice();
        let mut crowd = Crowd::start(&plant.postroad, members, &[]);
        until_all_run(plant, members).await;
        let device = Device::start(plant.mosquitto.address);
        crowd.trouble(scaled_time(TROUBLE), &mut dice).await;
        let sent = plant.until_stored_once(device).await;
        show(&format!("{sent} messages, {} killed, {} stopped", crowd.kills, crowd.stops));
        assert!(sent >= 200 && crowd.kills > 0, "nothing happened");
        crowd.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_member_stopped_for_good_takes_no_message_with_it() {
    on_plant(&GROUP, async |plant| {
        let arguments = [&["--grace-seconds", "60"][..], &[], &[]];
        let [leaver, first, second] = arguments.map(|arguments| plant.postroad.worker(arguments));
        let device = at_work(plant, 3).await;
        // It waits for a sign of life of the others, which takes a heartbeat.
        let log = leaver.stop().await;
        assert!(log.contains("left the group"), "{log}");
        let before = device.sent();
        until("much is sent without it", async || device.sent() >= before + 500).await;
        plant.until_stored_once(device).await;
        for worker in [first, second] {
            worker.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_member_stopped_right_after_another_began_leaves_the_group_to_it() {
    let rare = [GROUP[0], "heartbeat_interval_seconds=4"];
    on_plant(&rare, async |plant| {
        let stayer = plant.postroad.worker(&[]);
        until_all_run(plant, 1).await;
        let device = Device::start(plant.mosquitto.address);
        until("it takes messages in", async || plant.received().await > 0).await;
        let leaver = plant.postroad.worker(&["--grace-seconds", "60"]);
        until_all_run(plant, 2).await;
        let log = leaver.stop().await;
        assert!(log.contains("left the group"), "{log}");
        let before = device.sent();
        until("much is sent without it", async || device.sent() >= before + 500).await;
        plant.until_stored_once(device).await;
        stayer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn members_that_all_stop_at_once_get_what_is_sent_while_nobody_is_there() {
    on_plant(&GROUP, async |plant| {
        let mut members = [(), (), ()].map(|()| plant.postroad.worker(&[]));
        let device = at_work(plant, 3).await;
        for member in &mut members {
            member.terminate();
        }
        for member in &mut members {
            assert_eq!(member.ended().await, 0, "{}", member.log());
        }
        let before = device.sent();
        until("much is sent to nobody", async || device.sent() >= before + 500).await;
        let members = members.map(|_| plant.postroad.worker(&[]));
        plant.until_stored_once(device).await;
        for member in members {
            member.stop().await;
        }
    })
    .await;
}

/// Waits until so many members are known to take messages in, and leaves a device that sends more.
async fn at_work(plant: &Plant, members: usize) -> Device {
    until_all_run(plant, members).await;
    let device = Device::start(plant.mosquitto.address);
    let busy = "SELECT count(*) FROM event_bus_worker WHERE status = 'running' AND received > 0";
    plant.sql.until_count(i64::try_from(members).unwrap(), busy).await;
    device
}

async fn until_all_run(plant: &Plant, members: usize) {
    let running = "SELECT count(*) FROM event_bus_worker WHERE status = 'running'";
    let what = format!("{members} members run");
    until(&what, async || plant.sql.count(running).await >= i64::try_from(members).unwrap()).await;
}
