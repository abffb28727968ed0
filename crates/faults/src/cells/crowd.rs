//! Several workers: one that is paused, many that come and go or fight over rows, a backlog.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Fault, Needs, always};
use crate::ids::Way;
use crate::servers::Kind;
use crate::traffic::Pace;
use crate::world::{LEASE, World, tail};

/// What one worker more or less may take to be noticed.
const SOON: Duration = Duration::from_secs(30);
const CROWD: usize = 8;
/// In this time rows are written, where nothing holds the writer up.
const GROWS: Duration = Duration::from_secs(1);
const BACKLOG: u64 = 20_000;
/// The most memory that a worker may have had, whatever waits.
const BUDGET_MIB: u64 = 150;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F3",
        title: "worker paused for three leases, then going on",
        needs: Needs::GROUP,
        applies: always,
        inject: paused,
    },
    Fault {
        id: "F19",
        title: "eight workers and many writers at one database",
        needs: Needs::GROUP,
        applies: always,
        inject: storm,
    },
    Fault {
        id: "F23",
        title: "a backlog, with a bound on the worker's memory",
        needs: Needs::NOTHING,
        applies: always,
        inject: backlog,
    },
    Fault {
        id: "F28",
        title: "one worker, eight, one again",
        needs: Needs::GROUP,
        applies: always,
        inject: scaled,
    },
];

fn paused(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        // Nobody confirms what it publishes, so that it is paused with rows in hand.
        world.network.blackhole(true);
        let claimed = "SELECT count(*) FROM outbound_event WHERE claim_token IS NOT NULL";
        world
            .until(SOON, "rows are claimed", async || Ok(world.sql.count(claimed).await? > 0))
            .await?;
        // Not while it has the lock on a SQLite file, when everybody else would have to wait.
        loop {
            world.workers[0].freeze();
            let before = world.ledger.committed(Way::Outbox);
            tokio::time::sleep(GROWS).await;
            if world.ledger.committed(Way::Outbox) > before {
                break;
            }
            world.workers[0].go_on();
            tokio::time::sleep(Duration::from_millis(world.dice.u64(10..100))).await;
        }
        world.incidents(2);
        world.network.cut();
        world.network.blackhole(false);
        world.start_worker();
        tokio::time::sleep(LEASE * 3).await;
        world.workers[0].go_on();
        world.moved(30).await?;
        let lost = "SELECT max(lease_lost) FROM event_bus_worker";
        let what = "the worker that was paused says that it lost its lease";
        world.until(SOON, what, async || Ok(world.sql.count(lost).await? > 0)).await?;
        let lost = world.sql.count(lost).await?;
        world.notes.push(format!("{lost} rows had been taken over"));
        world.moved(30).await
    })
}

fn storm(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        for _ in 0..CROWD {
            world.start_worker();
        }
        world.moved(30).await?;
        let rate = Pace::free(100, Duration::from_millis(30));
        world.set_pace(rate).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let slow = Pace::free(5, Duration::from_millis(100));
        world.set_pace(slow).await?;
        world.moved(30).await?;
        let stuck = "SELECT count(*) FROM outbound_event WHERE retry_count > 0";
        let stuck = world.sql.count(stuck).await?;
        ensure!(stuck == 0, "{stuck} rows were charged an attempt");
        Ok(())
    })
}

fn scaled(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(30).await?;
        for _ in 1..CROWD {
            world.start_worker();
        }
        world.moved(100).await?;
        while world.workers.len() > 1 {
            let mut worker = world.workers.pop().context("there are several")?;
            worker.terminate();
            let code = worker.ended().await;
            ensure!(code == 0, "a worker stopped with {code}: {}", tail(&worker.log()));
        }
        world.moved(60).await
    })
}

fn backlog(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        // Mosquitto writes its whole database at each change, so that a long queue takes it minutes.
        let (wanted, per_second) = match world.cell.broker {
            Kind::Rabbitmq => (BACKLOG, 4_000.0),
            Kind::Mqtt => (BACKLOG / 20, 200.0),
        };
        let pause = Duration::from_millis(10);
        let rate = Pace { per_second: Some(per_second), ..Pace::free(200, pause) };
        world.set_pace(rate).await?;
        world
            .until(SOON * 3, "the backlog is there", async || {
                Ok(Way::ALL.into_iter().all(|way| world.ledger.committed(way) >= wanted))
            })
            .await?;
        let slow = Pace::free(5, Duration::from_millis(100));
        world.set_pace(slow).await?;
        world.start_worker();
        world.drain *= 3;
        world
            .until(world.drain, "the backlog is gone", async || {
                Ok(world.received().await? >= wanted * 2)
            })
            .await?;
        let status = fs::read_to_string(format!("/proc/{}/status", world.workers[0].pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = peak.context("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
        let peak = peak / 1024;
        world.notes.push(format!("at most {peak} MiB"));
        ensure!(peak <= BUDGET_MIB, "it had {peak} MiB of memory");
        Ok(())
    })
}
