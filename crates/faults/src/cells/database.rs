//! Databases that are away, locked, or do not answer.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::LocalBoxFuture;

use crate::cell::{Fault, Needs, always, server_only};
use crate::servers::Db;
use crate::sql::Sql;
use crate::world::World;

/// How long SQLite's file is locked by somebody else.
const LOCKED: Duration = Duration::from_secs(12);

/// What each packet takes longer, in both directions.
const SLOW: Duration = Duration::from_secs(1);
/// Longer than a statement may take.
const SILENT: Duration = Duration::from_secs(12);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F16",
        title: "database restarted, killed, its sessions ended; SQLite locked",
        needs: Needs::DATABASE,
        applies: always,
        inject: away,
    },
    Fault {
        id: "F17",
        title: "the database's answers are lost, that of COMMIT too",
        needs: Needs::NOTHING,
        applies: server_only,
        inject: ambiguous,
    },
    Fault {
        id: "F18",
        title: "the database is slow, then half-open",
        needs: Needs::NOTHING,
        applies: server_only,
        inject: slow,
    },
];

fn away(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(40).await?;
        if world.cell.db == Db::Sqlite {
            let locked = world.lock_sqlite(LOCKED).await?;
            locked.await?;
            // It lasts for longer than the lease of what was published and not settled.
            world.incidents(1);
            return world.moved(60).await;
        }
        for kill in [false, true] {
            let server = world.server.as_mut().context("there is a server")?.own()?;
            if kill {
                server.kill();
            } else {
                server.stop().await;
            }
            tokio::time::sleep(Duration::from_millis(world.dice.u64(500..2_500))).await;
            let server = world.server.as_mut().context("there is a server")?.own()?;
            server.run().await;
            world.incidents(1);
            world.moved(40).await?;
        }
        end_sessions(world).await?;
        world.incidents(1);
        world.moved(60).await
    })
}

/// Ends every session of the cell's database, ours too.
async fn end_sessions(world: &World) -> Result<()> {
    let admin = Sql::connect(&world.server.as_ref().context("there is a server")?.admin()).await?;
    let name = world.database_name();
    if world.cell.db == Db::Postgres {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        admin.execute(&end).await?;
    } else {
        let list = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}'");
        for row in admin.rows(&list).await? {
            let id = &row["id"];
            // It may have ended by itself.
            admin.execute(&format!("KILL {id}")).await.ok();
        }
    }
    admin.close().await;
    Ok(())
}

fn ambiguous(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        for _ in 0..5 {
            world.moved(40).await?;
            let database = world.database.as_ref().context("there is a network before it")?;
            database.drop_replies(true);
            tokio::time::sleep(Duration::from_millis(world.dice.u64(100..600))).await;
            database.cut();
            database.drop_replies(false);
            world.incidents(1);
        }
        world.moved(60).await
    })
}

fn slow(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(40).await?;
        let database = world.database.as_ref().context("there is a network before it")?;
        database.delay(SLOW);
        tokio::time::sleep(SLOW * 8).await;
        database.delay(Duration::ZERO);
        world.moved(40).await?;
        let database = world.database.as_ref().context("there is a network before it")?;
        database.blackhole(true);
        tokio::time::sleep(SILENT).await;
        database.cut();
        database.blackhole(false);
        world.incidents(2);
        world.moved(60).await
    })
}
