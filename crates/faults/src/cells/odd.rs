//! Clocks that jump, disks that are full, too few files, passwords that change.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Applies, Fault, Needs};
use crate::clock::{self, Clock};
use crate::servers::{Db, Kind};
use crate::world::World;

const SOON: Duration = Duration::from_secs(40);
const FULL: Duration = Duration::from_secs(6);
/// Bytes that are left to RabbitMQ, which wants 50 MB.
const ROOM: u64 = 24 << 20;
/// What its log says then.
const ALARM: &str = "disk resource limit alarm set";
/// So long a clock is wrong: a worker looks at the database's every fifteen seconds.
const WRONG: Duration = Duration::from_secs(17);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F20",
        title: "the disk of worker, broker and database full, then not any more",
        needs: Needs::SMALL_DISK,
        applies: small_disk,
        inject: full,
    },
    Fault {
        id: "F21",
        title: "the clocks of worker and database two days ahead, then back",
        needs: Needs::CLOCK,
        applies: fake_time,
        inject: jumped,
    },
    Fault {
        id: "F24",
        title: "few open files; a password changed under the worker and back",
        needs: Needs::BROKER,
        applies: |_, _| Applies::Yes,
        inject: short,
    },
];

fn fake_time(_: Db, _: Kind) -> Applies {
    match clock::library() {
        Some(_) => Applies::Yes,
        None => Applies::Skipped("libfaketime is not installed".to_owned()),
    }
}

fn small_disk(_: Db, _: Kind) -> Applies {
    if rustix::process::geteuid().is_root() {
        Applies::Yes
    } else {
        Applies::Skipped("only root can mount a small disk".to_owned())
    }
}

/// Database, Mosquitto's files, config and spool are on one, full to the last byte. RabbitMQ has another one, where it finds
/// that too little is left, as its operators have to arrange: version 3.10 may never open a queue again whose segments it
/// could not write (`gap_between_snapshot_and_first_index`).
fn full(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        for time in 1..=2 {
            world.moved(30).await?;
            let mut ballast = Vec::new();
            for (disk, room) in world.disks.iter().rev().zip([0, ROOM]) {
                ballast.push(disk.fill(room)?);
            }
            tokio::time::sleep(FULL).await;
            if let Ok(node) = world.broker.rabbitmq() {
                let alarm = async || Ok(node.log().matches(ALARM).count() >= time);
                world.until(SOON, "RabbitMQ raises an alarm", alarm).await?;
            }
            for file in ballast {
                fs::remove_file(file)?;
            }
            world.incidents(1);
            // Some of them end when they cannot write, and whoever frees the disk starts them again.
            world.broker.own()?.revive().await;
            if let Some(server) = &mut world.server {
                server.own()?.run().await;
            }
            world.moved(30).await?;
        }
        let invalid = "SELECT count(*) FROM outbound_event WHERE status IN ('invalid', 'error')";
        let invalid = world.sql.count(invalid).await?;
        ensure!(invalid == 0, "{invalid} rows were given up");
        Ok(())
    })
}

fn jumped(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        let clock = Clock::new(world.folder(), "clock")?;
        let start = |world: &mut World| {
            let worker = world.worker(&clock.environment()?);
            world.workers.push(worker);
            anyhow::Ok(())
        };
        // A SQLite file goes by the clocks of those who use it.
        let both = world.clock.clone().filter(|_| world.server.is_some());
        let set = |jump: &str| {
            both.iter().try_for_each(|database| database.set(jump))?;
            clock.set(jump)
        };
        start(world)?;
        world.moved(30).await?;
        // Only what is between a publish and its settle may be sent again.
        for jump in ["+2d", "+0", "+3600", "+0"] {
            clock.set(jump)?;
            world.incidents(1);
            world.moved(30).await?;
        }
        // What was enqueued and claimed by the time that was must not wait until it comes again, whether or not its worker lives.
        for killed in [false, true] {
            set("+2d")?;
            world.incidents(2);
            world.moved(30).await?;
            tokio::time::sleep(WRONG).await;
            world.network.blackhole(true);
            world.until_claimed(SOON).await?;
            if killed {
                world.workers.remove(0).kill();
            }
            set("+0")?;
            world.network.cut();
            world.network.blackhole(false);
            if killed {
                start(world)?;
            }
            world.moved(30).await?;
            world.calm().await?;
            world.traffic.pause(false);
        }
        let deduped = "SELECT count(*) FROM inbound_dedupe";
        let (kept, rows) = (world.sql.count(deduped).await?, world.received().await?);
        ensure!(kept >= rows.min(30), "only {kept} of {rows} messages are remembered");
        Ok(())
    })
}

fn short(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        let worker = world.worker_with_files(64);
        world.workers.push(worker);
        world.moved(30).await?;
        if world.cell.broker == Kind::Mqtt {
            world.notes.push("passwords of MQTT: e2e `secrets`, `tls`".to_owned());
            return world.moved(30).await;
        }
        let url = world.broker.rabbitmq()?.url();
        let change = |world: &World, password: &str| {
            world.broker.control(&["change_password", &url.username, password]).map(drop)
        };
        change(world, "another")?;
        world.broker.control(&["close_all_connections", "fault"])?;
        world.incidents(1);
        let away = world.until_status(SOON, "reconnecting").await;
        change(world, &url.password)?;
        away?;
        world.until_status(SOON, "running").await?;
        world.moved(30).await
    })
}
