//! Brokers that die, restart and close connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cell::{Fault, Needs, always};
use crate::ids::Way;
use crate::servers::{Broker, Kind};
use crate::traffic::Pace;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);
/// After the broker is back, for messages to go on.
const RESUME: f64 = 5.0;
/// What a machine that runs three cells at a time may add to that.
const BUSY: f64 = 10.0;
/// So many messages wait at most while a broker is away.
const WAITING: u64 = 500;
const CLOSES: u32 = 10;
const BETWEEN_CLOSES: Duration = Duration::from_millis(700);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F4",
        title: "broker killed and started again, twice",
        needs: Needs::BROKER,
        applies: always,
        inject: killed,
    },
    Fault {
        id: "F5",
        title: "broker restarted in good order",
        needs: Needs::BROKER,
        applies: always,
        inject: restarted,
    },
    Fault {
        id: "F6",
        title: "broker closes every connection, again and again",
        needs: Needs::BROKER,
        applies: always,
        inject: closed,
    },
];

fn killed(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        // What waits goes before what is awaited, and a broker may take long to come back.
        let pace = Pace::free(12, Duration::from_millis(50));
        world.set_pace(Pace { most_waiting: WAITING, ..pace }).await?;
        for _ in 0..2 {
            world.moved(60).await?;
            kill(world)?;
            tokio::time::sleep(Duration::from_millis(world.dice.u64(100..1_500))).await;
            world.broker.own()?.run().await;
            resumed(world).await?;
        }
        world.moved(60).await
    })
}

fn kill(world: &mut World) -> Result<()> {
    if world.cell.broker == Kind::Mqtt {
        // Mosquitto acknowledges before it writes. Its sessions come back as they were last written, so that what
        // it delivered since then is delivered again.
        world.terms.duplicates += 4 * crate::world::WINDOW;
        world.ledger.broker_killed();
    }
    world.broker.own()?.kill();
    world.incidents(1);
    Ok(())
}

fn restarted(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        for _ in 0..2 {
            world.moved(60).await?;
            match world.broker.own()? {
                Broker::Rabbitmq(_) => {
                    world.broker.control(&["stop_app"])?;
                    world.broker.control(&["start_app"])?;
                }
                broker @ Broker::Mosquitto(_) => {
                    broker.stop().await;
                    broker.run().await;
                }
            }
            world.incidents(1);
            resumed(world).await?;
        }
        world.moved(60).await
    })
}

/// Waits until messages that are put in from now on cross the wire again, which is to be soon.
async fn resumed(world: &mut World) -> Result<()> {
    world.ledger.await_resume(Way::Outbox);
    let before = world.ledger.lock().outbox.resumed.len();
    world
        .until(world.drain, "messages cross the wire again", async || {
            Ok(world.ledger.lock().outbox.resumed.len() > before)
        })
        .await?;
    let took = *world.ledger.lock().outbox.resumed.last().context("it was just noted")?;
    world.notes.push(format!("resumed after {took:.1} s"));
    let limit = (RESUME + BUSY) * f64::from(world.launch.options.patience);
    ensure!(took < limit, "it took {took:.1} s until messages went on");
    Ok(())
}

fn closed(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(60).await?;
        match &*world.broker {
            Broker::Rabbitmq(_) => {
                let close = format!(
                    "lists:foreach(fun(_) -> [catch rabbit_networking:close_connection(P, \"fault\") \
                     || P <- rabbit_networking:connections()], timer:sleep({}) end, lists:seq(1, {CLOSES})).",
                    BETWEEN_CLOSES.as_millis()
                );
                world.broker.control(&["eval", &close])?;
            }
            Broker::Mosquitto(mosquitto) => {
                for _ in 0..CLOSES {
                    kick(mosquitto.address, &world.tag).await?;
                    tokio::time::sleep(BETWEEN_CLOSES).await;
                }
            }
        }
        world.incidents(u64::from(CLOSES));
        let began = Instant::now();
        world.until_status(SOON, "running").await?;
        world.notes.push(format!("running after {:.1} s", began.elapsed().as_secs_f64()));
        world.moved(60).await
    })
}

/// Takes over a session, as a second client of the same name does, and acknowledges nothing.
async fn kick(address: std::net::SocketAddr, client_id: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut connect = vec![0, 4];
    connect.extend(b"MQTT");
    // 3.1.1, not a clean session, and no keep alive.
    connect.extend([4, 0, 0, 0]);
    connect.extend(u16::try_from(client_id.len())?.to_be_bytes());
    connect.extend(client_id.as_bytes());
    let mut packet = vec![0x10, u8::try_from(connect.len())?];
    packet.extend(connect);
    stream.write_all(&packet).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    ensure!(answer[0] == 0x20 && answer[3] == 0, "Mosquitto refused it: {answer:?}");
    Ok(())
}
