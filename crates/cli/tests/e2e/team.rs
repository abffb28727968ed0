//! Several workers, and what `postroad status` says of them.

use crate::support::{copies, on_servers, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn two_workers_share_the_work_and_send_each_row_once() {
    on_servers(async |bus| {
        bus.configure("default", &["batch_size=50"]);
        let mut ear = bus.rabbit.listen("event.#").await;
        let workers = [bus.postroad.worker(&[]), bus.postroad.worker(&[])];
        let running = "SELECT count(*) FROM event_bus_worker WHERE status = 'running'";
        bus.sql.until_count(2, running).await;
        bus.enqueue(3_000).await;
        bus.sql.until_sent().await;
        let heard = ear.up_to_now().await;
        assert_eq!((heard.len(), copies(&heard).len()), (3_000, 3_000));
        bus.until_received("default", 3_000).await;
        // A last heartbeat is given up where the database is slow.
        for table in ["published", "received"] {
            let sum = format!("SELECT sum({table}) AS told FROM event_bus_worker");
            let all = format!("SELECT count(*) FROM ({sum}) AS sums WHERE told = 3000");
            bus.sql.until_count(1, &all).await;
        }
        for worker in workers {
            worker.stop().await;
        }
        for table in ["published", "received"] {
            let shares = format!("SELECT {table} AS share FROM event_bus_worker");
            let shares: Vec<_> = bus.sql.rows(&shares).await;
            let shares: Vec<_> = shares.iter().map(|row| row["share"].as_i64().unwrap()).collect();
            assert_eq!(shares.iter().sum::<i64>(), 3_000, "{table}: {shares:?}");
            assert!(shares.iter().all(|share| *share > 0), "{table}: {shares:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn status_tells_a_running_worker_from_a_stale_and_a_stopped_one() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let code = || bus.postroad.run(&["status"]).code;
        assert_eq!(code(), 1, "no worker was ever there");

        let mut killed = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        until("its heartbeat is there", async || code() == 0).await;
        let entry = bus.status("default")["workers"][0].take();
        assert_eq!(entry["pid"], killed.pid());
        killed.kill();
        // The status reads only the database, which nobody told.
        until("it is stale", async || bus.status("default")["workers"][0]["stale"] == true).await;
        assert_eq!(code(), 1);
        let table = bus.postroad.run(&["status"]).exits(1);
        assert!(table.out.contains("stale"), "{table:?}");
        assert!(table.err.contains("`postroad worker --config-key default`"), "{table:?}");

        let stopped = bus.postroad.worker(&[]);
        until("the new one runs", async || code() == 0).await;
        stopped.stop().await;
        assert_eq!(bus.status("default")["worker_status"], "stopped");
        assert_eq!(code(), 1);
        bus.postroad.done(&["config", "deactivate", "default"]);
        assert_eq!(code(), 0, "no worker is missed");
    })
    .await;
}
