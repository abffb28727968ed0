//! Clocks that jump, disks that are full, too few files, passwords that change.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Applies, Fault, Needs};
use crate::servers::{Db, Kind};
use crate::world::World;

/// Where distributions put it.
const FAKETIMES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];
const SOON: Duration = Duration::from_secs(40);
const FULL: Duration = Duration::from_secs(6);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F20",
        title: "disk full, then not any more",
        needs: Needs::SMALL_DISK,
        applies: small_disk,
        inject: full,
    },
    Fault {
        id: "F21",
        title: "the worker's clock two days ahead, then back",
        needs: Needs::NOTHING,
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
    match faketime() {
        Some(_) => Applies::Yes,
        None => Applies::Skipped("libfaketime is not installed".to_owned()),
    }
}

fn faketime() -> Option<&'static str> {
    FAKETIMES.into_iter().find(|file| Path::new(file).is_file())
}

fn small_disk(db: Db, _: Kind) -> Applies {
    match db {
        Db::Sqlite if !rustix::process::geteuid().is_root() => {
            Applies::Skipped("only root can mount a small disk".to_owned())
        }
        Db::Sqlite => Applies::Yes,
        Db::Postgres | Db::Mariadb => {
            Applies::Skipped("a server's own disk is not filled here; to the worker it is a database that is away, F16".to_owned())
        }
    }
}

/// The database and the spool are on it.
fn full(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        for _ in 0..2 {
            world.moved(30).await?;
            let ballast = world.folder().join("ballast");
            let mut file = fs::File::create(&ballast)?;
            // To the last byte.
            while file.write_all(&[7; 8_192]).is_ok() {}
            while file.write_all(&[7]).is_ok() {}
            // Open, it would keep its space.
            drop(file);
            tokio::time::sleep(FULL).await;
            fs::remove_file(&ballast)?;
            world.incidents(1);
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
        let clock = world.folder().join("clock");
        fs::write(&clock, "+0")?;
        let environment = [
            ("LD_PRELOAD", faketime().context("libfaketime is not installed")?),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().context("it is text")?),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let worker = world.worker(&environment);
        world.workers.push(worker);
        world.moved(30).await?;
        // Only what is between a publish and its settle may be sent again.
        for jump in ["+2d", "+0", "+3600", "+0"] {
            // Not in two steps: an empty file is no time.
            let next = world.folder().join("next");
            fs::write(&next, jump)?;
            fs::rename(&next, &clock)?;
            world.incidents(1);
            world.moved(30).await?;
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
