//! Workers that end: killed at random, at named points, or told to stop.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Fault, Needs, always};
use crate::world::{World, tail};

/// Exit code of a crash point.
const CRASHED: i32 = 137;
/// Exit code after a second signal.
const INTERRUPTED: i32 = 130;
/// How long a clean stop may take.
const GRACE: Duration = Duration::from_secs(10);
/// For a point to be reached.
const REACHED: Duration = Duration::from_mins(1);
const KILLS: usize = 5;
/// Where a worker can be made to crash; the last is reached when it is told to stop.
pub(crate) const POINTS: [&str; 9] = [
    "after_claim",
    "before_publish",
    "after_write_before_confirm",
    "after_confirm_before_settle",
    "in_settle",
    "after_insert_before_commit",
    "after_commit_before_ack",
    "after_ack",
    "in_shutdown",
];

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F1",
        title: "worker killed at random, one of two",
        needs: Needs::GROUP,
        applies: always,
        inject: killed,
    },
    Fault {
        id: "F2",
        title: "worker crashes at each of nine named points",
        needs: Needs::NOTHING,
        applies: always,
        inject: crashed,
    },
    Fault {
        id: "F25",
        title: "SIGTERM under load, then a second one",
        needs: Needs::NOTHING,
        applies: always,
        inject: terminated,
    },
];

fn killed(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.start_worker();
        world.moved(30).await?;
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(world.dice.u64(50..700))).await;
            let place = world.dice.usize(..world.workers.len());
            world.workers[place].kill();
            world.incidents(1);
            world.workers[place] = world.worker(&[]);
            world.moved(10).await?;
        }
        Ok(())
    })
}

fn crashed(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        for point in POINTS {
            let hit = world.dice.u32(1..4);
            let at = format!("{point}:{}", if point == "in_shutdown" { 1 } else { hit });
            let mut worker = world.worker(&[("POSTROAD_CRASH_AT", &at)]);
            world.incidents(1);
            if point == "in_shutdown" {
                world.until_status(REACHED, "running").await?;
                world.moved(10).await?;
                worker.terminate();
            }
            let what = format!("the worker reaches `{at}`");
            world.until(REACHED, &what, async || Ok(!worker.runs())).await?;
            let code = worker.code();
            ensure!(
                code == Some(CRASHED),
                "at `{at}`: exit code {code:?}: {}",
                tail(&worker.log())
            );
        }
        world.start_worker();
        world.moved(10).await
    })
}

fn terminated(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        let mut worker = world.worker(&[]);
        world.moved(50).await?;
        let told = Instant::now();
        worker.terminate();
        let code = worker.ended().await;
        ensure!(code == 0, "exit code {code}: {}", tail(&worker.log()));
        let took = told.elapsed();
        ensure!(took < GRACE * world.patience(), "it took {took:?} to stop");
        let left = "SELECT count(*) FROM outbound_event WHERE status = 'pending' AND claim_token IS NOT NULL";
        let left = world.sql.count(left).await?;
        ensure!(left == 0, "{left} rows are still claimed");

        // Nobody answers it, so that it has something to wait for.
        let mut worker = world.worker(&[]);
        world.moved(50).await?;
        world.network.blackhole(true);
        tokio::time::sleep(Duration::from_millis(300)).await;
        worker.terminate();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if worker.runs() {
            worker.terminate();
            let told = Instant::now();
            let code = worker.ended().await;
            ensure!(
                code == INTERRUPTED,
                "exit code {code} after two signals: {}",
                tail(&worker.log())
            );
            ensure!(
                told.elapsed() < Duration::from_secs(3) * world.patience(),
                "a second signal did not end it at once"
            );
        }
        world.incidents(1);
        world.network.cut();
        world.network.blackhole(false);
        world.start_worker();
        world.moved(30).await
    })
}
