//! A network that loses packets, answers or connections.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;
use postroad_transport::testing::{Proxy, Speaker};

use crate::cell::{Fault, Needs, always};
use crate::traffic::Pace;
use crate::world::{HEARTBEAT, World, tail};

/// Two heartbeats without a sign of life, and a second.
const DETECT: Duration = Duration::from_secs(2 * HEARTBEAT + 1);
/// What a machine that runs three cells at a time may add to that.
const BUSY: Duration = Duration::from_secs(10);
/// To stop while nobody answers.
const STOP: Duration = Duration::from_secs(5);
/// Bytes a second.
const TRICKLE: u64 = 12_000;
/// So many connections are cut after a number of bytes,
const CUTS: u64 = 500;
/// in at most so long: Mosquitto is slow to take them up again.
const CUTTING: Duration = Duration::from_mins(15);
/// Messages that may wait meanwhile.
const WAITING: u64 = 500;
/// Between two of those numbers.
const OFFSET: Duration = Duration::from_millis(50);
/// They connect again side by side.
const WORKERS: usize = 4;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F8",
        title: "half-open: every packet is lost, the broker is paused, a stop meanwhile",
        needs: Needs::BROKER,
        applies: always,
        inject: half_open,
    },
    Fault {
        id: "F9",
        title: "the broker's answers are lost, then the worker's requests, then what is on a slow line",
        needs: Needs::NOTHING,
        applies: always,
        inject: one_way,
    },
    Fault {
        id: "F10",
        title: "RST, FIN, and a cut after each of many numbers of bytes",
        // What it may leave behind at a Mosquitto would slow down all that follows there.
        needs: Needs { broker: true, ..Needs::GROUP },
        applies: always,
        inject: cut,
    },
];

fn half_open(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(40).await?;
        let began = Instant::now();
        world.network.blackhole(true);
        world.incidents(1);
        world.until_status(DETECT + BUSY, "reconnecting").await?;
        world.notes.push(format!("noticed after {:.1} s", began.elapsed().as_secs_f64()));
        heal(world);
        world.moved(40).await?;

        world.broker.freeze();
        world.incidents(1);
        let noticed = world.until_status(DETECT + BUSY, "reconnecting").await;
        world.broker.go_on();
        noticed?;
        world.until_status(DETECT + BUSY, "running").await?;
        world.moved(40).await?;

        world.network.blackhole(true);
        world.incidents(1);
        world.until_claimed(STOP).await?;
        let mut worker = world.workers.remove(0);
        let told = Instant::now();
        worker.terminate();
        let code = worker.ended().await;
        let took = told.elapsed();
        ensure!(code == 0, "exit code {code}: {}", tail(&worker.log()));
        world.notes.push(format!("stopped within {:.1} s", took.as_secs_f64()));
        ensure!(took < STOP * world.patience(), "it took {took:?} to stop");
        heal(world);
        world.start_worker();
        world.moved(40).await
    })
}

fn heal(world: &World) {
    // What was held back would else arrive late.
    world.network.cut();
    world.network.blackhole(false);
}

fn one_way(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        let lose: [fn(&Proxy, bool); 3] = [Proxy::drop_replies, Proxy::hold_requests, trickle];
        for _ in 0..2 {
            for lose in lose {
                world.moved(40).await?;
                lose(&world.network, true);
                world.incidents(1);
                tokio::time::sleep(Duration::from_millis(world.dice.u64(300..1_500))).await;
                world.network.cut();
                lose(&world.network, false);
            }
        }
        world.moved(40).await
    })
}

/// So slow that one message is confirmed before the next one has arrived.
fn trickle(network: &Proxy, on: bool) {
    network.throttle(if on { TRICKLE } else { 0 });
}

fn cut(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(40).await?;
        for end in [Proxy::cut, Proxy::finish] {
            end(&world.network);
            world.incidents(1);
            world.moved(40).await?;
        }
        for _ in 1..WORKERS {
            world.start_worker();
        }
        // A connection is cut when it has carried enough, which takes traffic.
        let pace = Pace::free(5, Duration::from_millis(50));
        world.set_pace(Pace { most_waiting: WAITING, ..pace }).await?;
        let began = Instant::now();
        while world.network.limited() < CUTS && began.elapsed() < CUTTING {
            let bytes = world.dice.u64(1..2_000);
            let speaker = if world.dice.bool() { Speaker::Client } else { Speaker::Server };
            world.network.cut_after(Some((bytes, speaker)));
            tokio::time::sleep(OFFSET).await;
        }
        let made = world.network.limited();
        world.notes.push(format!("{made} connections were cut"));
        ensure!(made >= CUTS, "only {made} connections were cut");
        world.incidents(made);
        world.network.cut_after(None);
        world.network.cut();
        world.moved(40).await
    })
}
