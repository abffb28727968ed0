//! Brokers that are there and refuse: alarms, full queues, permissions, queues and sessions that are gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Applies, Fault, Needs, mqtt_only, rabbitmq_only};
use crate::ids::Way;
use crate::servers::{Broker, Db, Kind};
use crate::world::World;

/// Shorter than the time after which messages without a confirm are sent again,
const ALARM: Duration = Duration::from_secs(50);
/// and longer.
const LONG_ALARM: Duration = Duration::from_secs(90);
/// Messages in the queue when a worker starts.
const WAITING: u64 = 100;
const REFUSED: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(30);
/// How long RabbitMQ waits for an acknowledgement, and how often it looks, where it is hurried,
const IMPATIENT: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(500);
/// and otherwise.
const PATIENT: Duration = Duration::from_mins(30);
const PATIENT_TICK: Duration = Duration::from_mins(1);
/// Far more than the broker keeps.
const OVERFLOW: u64 = 600;
/// What its log says then.
const TIMED_OUT: &str = "has timed out waiting for";
/// To notice that a queue is gone, and to make another one.
const RESUBSCRIBE: Duration = Duration::from_secs(5 + 5);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F7",
        title: "publishes refused: a full queue, then permissions revoked",
        needs: Needs::BROKER,
        applies: channel_closes,
        inject: refused,
    },
    Fault {
        id: "F11",
        title: "memory and disk alarms",
        needs: Needs::BROKER,
        applies: rabbitmq_only,
        inject: alarmed,
    },
    Fault {
        id: "F13",
        title: "queue deleted under its consumer; acknowledgements too late for the broker's patience",
        needs: Needs::BROKER,
        applies: rabbitmq_only,
        inject: deleted,
    },
    Fault {
        id: "F26",
        title: "broker that keeps too few messages for a subscriber that is away",
        needs: Needs::SHORT_QUEUES,
        applies: mqtt_only,
        inject: overflowing,
    },
    Fault {
        id: "F27",
        title: "session lost: the broker forgot everything",
        needs: Needs::BROKER,
        applies: mqtt_only,
        inject: forgotten,
    },
];

fn channel_closes(_: Db, broker: Kind) -> Applies {
    match broker {
        Kind::Rabbitmq => Applies::Yes,
        Kind::Mqtt => Applies::Covered(
            "postroad-cli e2e `privileges` (Mosquitto with an ACL), postroad-transport-mqtt `mosquitto`",
        ),
    }
}

fn refused(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        let full = format!("full-{}", world.tag);
        let mut client = world.client().await?;
        client.declare_full_queue(&full).await?;
        client.bind(&full, &world.exchange(), "#").await?;
        tokio::time::sleep(REFUSED).await;
        let retried =
            "SELECT count(*) FROM outbound_event WHERE retry_count > 0 AND last_error IS NOT NULL";
        let retried = world.sql.count(retried).await?;
        ensure!(retried > 0, "no row was refused");
        client.delete_queue(&full).await?;
        // The other queues have got what this one refused, each time.
        world.terms.duplicates += 10 * world.ledger.attempted(crate::ids::Way::Outbox);
        world.moved(30).await?;

        let user = world.broker.rabbitmq()?.url().username;
        let set = |world: &World, write: &str| {
            world.broker.control(&["set_permissions", &user, ".*", write, ".*"]).map(drop)
        };
        set(world, "^$")?;
        world.broker.control(&["close_all_connections", "fault"])?;
        world.incidents(1);
        tokio::time::sleep(REFUSED).await;
        set(world, ".*")?;
        world.notes.push(format!("{retried} rows were refused"));
        world.moved(30).await
    })
}

fn alarmed(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        let memory = ["set_vm_memory_high_watermark", "0.0000001", "0.4"];
        let disk = ["set_disk_free_limit", "100000GB", "50MB"];
        // No incident: nothing is sent again while the broker only takes its time.
        alarm(world, memory, ALARM).await?;
        alarm(world, disk, ALARM).await?;
        // Given up once, and then tried with one message at a time.
        world.incidents(2);
        alarm(world, memory, LONG_ALARM).await?;
        alarm(world, disk, LONG_ALARM).await?;

        // What has arrived is taken in all the same.
        world.workers.remove(0).kill();
        world.incidents(1);
        let enough = world.ledger.committed(Way::Sender) + WAITING;
        world
            .until(
                SOON,
                "messages wait",
                async || Ok(world.ledger.committed(Way::Sender) >= enough),
            )
            .await?;
        let [name, on, off] = memory;
        world.broker.control(&[name, on])?;
        world.start_worker();
        world.moved(WAITING / 2).await?;
        world.broker.control(&[name, off])?;
        world.moved(60).await
    })
}

/// On for that long, while which the worker has to say so, and off again.
async fn alarm(world: &World, [name, on, off]: [&str; 3], time: Duration) -> Result<()> {
    let began = Instant::now();
    world.broker.control(&[name, on])?;
    let told = "SELECT count(*) FROM event_bus_worker WHERE last_error LIKE '%stalled%'";
    world
        .until(time, "the worker says that the broker is stalled", async || {
            Ok(world.sql.count(told).await? > 0)
        })
        .await?;
    tokio::time::sleep(time.saturating_sub(began.elapsed())).await;
    world.broker.control(&[name, off])?;
    world.moved(60).await
}

fn deleted(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        for _ in 0..2 {
            world.moved(30).await?;
            // What is in a queue goes with it, whoever deletes it.
            world.calm().await?;
            let queue = world.queue();
            let mut client = world.client().await?;
            client.delete_queue(&queue).await?;
            let began = Instant::now();
            world
                .until(SOON, "the queue is there again, with its consumer", async || {
                    let mut client = world.client().await?;
                    Ok(client.consumers(&queue).await? > 0)
                })
                .await?;
            let took = began.elapsed();
            world.notes.push(format!("subscribed again after {:.1} s", took.as_secs_f64()));
            ensure!(took < RESUBSCRIBE, "it took {took:?} to subscribe again");
            world.incidents(1);
            world.traffic.pause(false);
        }
        world.moved(30).await?;
        unacknowledged(world).await
    })
}

/// The database is away for longer than RabbitMQ waits for an acknowledgement, which ends the channel then.
async fn unacknowledged(world: &mut World) -> Result<()> {
    let patience = |world: &World, timeout: Duration, tick: Duration| {
        let (timeout, tick) = (timeout.as_millis(), tick.as_millis());
        let set = format!(
            "application:set_env(rabbit, consumer_timeout, {timeout}), application:set_env(rabbit, channel_tick_interval, {tick})."
        );
        world.broker.control(&["eval", &set]).map(drop)
    };
    let timed_out =
        |world: &World| anyhow::Ok(world.broker.rabbitmq()?.log().matches(TIMED_OUT).count());
    let before = timed_out(world)?;
    patience(world, IMPATIENT, TICK)?;
    // A channel reads it when it is opened.
    world.broker.control(&["close_all_connections", "fault"])?;
    world.incidents(2);
    world.moved(30).await?;
    if let Some(database) = &world.database {
        database.blackhole(true);
        tokio::time::sleep(IMPATIENT * 3).await;
        database.cut();
        database.blackhole(false);
    } else {
        world.lock_sqlite(IMPATIENT * 3).await?.await?;
    }
    let after = timed_out(world)?;
    patience(world, PATIENT, PATIENT_TICK)?;
    ensure!(after > before, "RabbitMQ was patient");
    world.moved(60).await
}

/// What the broker throws away nobody can bring back, but somebody has to say so.
fn overflowing(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        let gaps = "SELECT count(*) FROM event_bus_worker WHERE possible_gaps > 0";
        ensure!(world.sql.count(gaps).await? == 0, "a gap before there is any");
        world.workers.remove(0).kill();
        world.incidents(1);
        let enough = world.ledger.committed(Way::Sender) + OVERFLOW;
        world
            .until(SOON * 2, "more was sent than the broker keeps", async || {
                Ok(world.ledger.committed(Way::Sender) >= enough)
            })
            .await?;
        world.start_worker();
        world
            .until(SOON, "the worker tells of a possible gap", async || {
                Ok(world.sql.count(gaps).await? > 0)
            })
            .await?;
        world.traffic.pause(true);
        world.catch_up().await?;
        world.arrive().await?;
        let lost = world.ledger.excuse_missing(Way::Sender);
        ensure!(lost > 0, "the broker kept everything");
        world.notes.push(format!("the broker threw {lost} messages away, and the worker said so"));
        world.traffic.pause(false);
        world.moved(60).await
    })
}

fn forgotten(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        // What it had not delivered goes with it.
        world.calm().await?;
        let broker = world.broker.own()?;
        broker.stop().await;
        if let Broker::Mosquitto(mosquitto) = broker {
            mosquitto.wipe();
        }
        broker.run().await;
        world.incidents(1);
        let gaps = "SELECT count(*) FROM event_bus_worker WHERE possible_gaps > 0";
        world
            .until(SOON, "the worker tells of a possible gap", async || {
                Ok(world.sql.count(gaps).await? > 0)
            })
            .await?;
        world.until_status(SOON, "running").await?;
        world.catch_up().await?;
        world.traffic.pause(false);
        world.moved(60).await
    })
}
