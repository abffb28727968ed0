//! RabbitMQ as a cluster, a node of which dies.

use std::cell::RefCell;

use crate::support::{Bus, Cluster, Server, on_server_and_broker, scaled, show, until, until_in};

/// The most that may go out twice for each connection lost: what is published and not settled, of each worker.
const WINDOW: usize = 256;
/// Rows sent, each of which comes back in.
const ROWS: usize = 20_000;
/// Where the tests' own client is.
const APART: usize = 2;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_cluster_whose_queue_loses_its_leader_loses_no_message_either_way() {
    let cluster = RefCell::new(Cluster::start().await);
    let url = cluster.borrow().url(APART);
    on_server_and_broker(Server::Postgres, url, async |bus| {
        kill_the_leader(bus, &cluster).await;
    })
    .await;
}

async fn kill_the_leader(bus: &Bus, cluster: &RefCell<Cluster>) {
    let hosts = format!("host={}", cluster.borrow().hosts());
    // Shared among the hosts, the first of which is to make the queue however slow it is.
    bus.configure("default", &[&hosts, "connect_timeout=30"]);
    let recorder = bus.rabbit.listen("event.#").await.record();
    let workers = [bus.postroad.worker(&[]), bus.postroad.worker(&[])];
    let running = "SELECT count(*) FROM event_bus_worker WHERE status = 'running'";
    bus.sql.until_count(2, running).await;
    let leader =
        cluster.borrow().leader(&bus.inbox("default"), APART).expect("the queue has a leader");
    assert_ne!(leader, APART, "the first host is another one");

    let rows = scaled(ROWS);
    bus.enqueue(u32::try_from(rows).unwrap()).await;
    let received = "SELECT count(*) FROM inbound_event";
    until("it is in the middle of both ways", async || {
        bus.published().await >= 2_000 && bus.sql.count(received).await >= 1_000
    })
    .await;
    cluster.borrow_mut().kill(leader);
    let (sent, taken) = (bus.published().await, bus.sql.count(received).await);
    show(&format!("killed the leader with {sent} rows sent and {taken} received"));
    let all = i64::try_from(rows).unwrap();
    assert!(sent < all && taken < all, "it was killed too late");

    let calm = std::time::Duration::from_mins(10);
    until_in(calm, "all is sent", async || bus.published().await == all).await;
    until_in(calm, "all is received", async || bus.sql.count(received).await >= all).await;
    bus.until_received("default", all).await;
    let tally = recorder.compare(&bus.sql).await;
    let given_up = "SELECT count(*) FROM outbound_event WHERE status <> 'published'";
    assert_eq!(bus.sql.count(given_up).await, 0);
    let successor = cluster.borrow().leader(&bus.inbox("default"), APART);
    assert!(successor.is_some_and(|successor| successor != leader));
    let count = workers.len();
    for worker in workers {
        worker.stop().await;
    }
    // A message that one queue refuses may be in another, so each refusal is one more copy there at most.
    let refused = refused(bus).await;
    show(&format!("{tally:?}, {refused} publishes refused"));
    assert!(tally.repeated <= count * WINDOW + refused, "{tally:?}, {refused} refused");
}

/// How many publishes the broker refused, by what the workers say.
async fn refused(bus: &Bus) -> usize {
    let rows = bus.sql.rows("SELECT refused FROM event_bus_worker").await;
    let refused: i64 = rows.iter().map(|row| row["refused"].as_i64().unwrap()).sum();
    usize::try_from(refused).unwrap()
}
