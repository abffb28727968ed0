//! What a worker costs that has nothing to do.

use std::time::Duration;

use crate::support::{Bus, Server, on_server, show, until};

/// How long is counted.
const TIME: Duration = Duration::from_secs(20);
/// The config's own defaults, which tests are too impatient for otherwise.
const DEFAULTS: [&str; 3] =
    ["poll_interval_ms=1000", "heartbeat_interval_seconds=10", "retry_interval_seconds=5"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn an_idle_worker_asks_the_database_less_than_once_a_second_and_takes_hardly_any_time() {
    // Both at once, since it is waiting for the most part.
    tokio::join!(on_server(Server::Postgres, idle), on_server(Server::Mariadb, idle));
}

async fn idle(bus: &Bus) {
    bus.configure("default", &DEFAULTS);
    let worker = bus.postroad.worker(&[]);
    bus.until_status("default", "running").await;
    bus.enqueue(10).await;
    bus.sql.until_sent().await;
    bus.until_received("default", 10).await;
    // Connections that were needed before, statements that each of them prepares once, and looks that are more frequent at
    // first, are not what it costs for days.
    let cleaners = "SELECT count(*) FROM event_bus_maintenance";
    until("it has looked when to clean", async || bus.sql.count(cleaners).await == 1).await;
    let calm = bus.database.requests();
    until("it has calmed down", async || bus.database.requests() >= calm + 8).await;
    let database = if bus.sql.is_postgres() { "PostgreSQL" } else { "MariaDB" };
    for last in [false, false, true] {
        let (before, time) = (bus.database.requests(), worker.cpu_time());
        tokio::time::sleep(TIME).await;
        let asked = bus.database.requests() - before;
        let took = worker.cpu_time().saturating_sub(time);
        show(&format!("{database}: {asked} questions and {took:?} of a core in {TIME:?}"));
        assert!(asked >= 1, "it does not even look");
        let is_calm = asked <= TIME.as_secs() && took <= TIME / 100;
        assert!(is_calm || !last, "{asked} questions and {took:?} in {TIME:?}");
        if is_calm {
            break;
        }
    }
    worker.stop().await;
}
