//! Single promises of the engine, each in a world of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad_envelope::OutboxColumns;
use postroad_transport::{ConnectError, Transport};
use postroad_transport_memory::{
    Broker, Fault, FaultPoint, MemoryPublisher, MemorySettings, MemorySubscriber, MemoryTransport,
};
use postroad_worker_core::{Counts, EnvelopeCodec, Settings, Worker, WorkerIdentity, WorkerStatus};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::store::{MemoryStore, StoreFault};

pub(crate) fn settings() -> Settings {
    Settings { inbound: false, ..Settings::new("default", "ebmr") }
}

pub(crate) fn start(
    store: &MemoryStore,
    broker: &Broker,
    settings: Settings,
) -> (JoinHandle<Counts>, CancellationToken) {
    let identity = WorkerIdentity { id: "w".into(), host: "h".into(), pid: 1, version: "0".into() };
    let transport = MemoryTransport::new(broker.clone(), MemorySettings::default());
    let stop = CancellationToken::new();
    let worker = Worker {
        store: Arc::new(store.clone()),
        transport: Arc::new(transport),
        codec: Arc::new(EnvelopeCodec),
        settings,
        identity,
    };
    (tokio::spawn(worker.run(stop.clone())), stop)
}

pub(crate) fn insert(store: &MemoryStore, rows: usize) {
    for n in 0..rows {
        let columns = OutboxColumns {
            id: format!("row-{n}"),
            topic: "event.machine.spindle.started".to_owned(),
            event_type: Some("started".to_owned()),
            payload: "{}".to_owned(),
            ..OutboxColumns::default()
        };
        store.insert(columns, None);
    }
}

pub(crate) fn pending(store: &MemoryStore) -> usize {
    store.tables().outbox.values().filter(|row| row.status == "pending").count()
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within five minutes");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_can_send_no_more_than_a_window_again() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 2_000);
    let (worker, _stop) = start(&store, &broker, Settings { window: 100, ..settings() });
    until("something is published", || pending(&store) < 2_000).await;
    // From here on nothing can be settled, whatever the broker confirms.
    store.set_faults(|| Some(StoreFault::Before));
    sleep(Duration::from_secs(20)).await;
    worker.abort();
    let settled = 2_000 - pending(&store);
    let taken = broker.taken().len();
    assert!(taken <= settled + 100, "{taken} on the wire, {settled} settled");
    assert!(taken > settled, "nothing was on its way");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_gives_back_what_is_not_confirmed() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 10);
    broker.set_confirm_latency(Duration::from_hours(1));
    broker.set_confirm_timeout(Duration::from_hours(2));
    let (worker, stop) = start(&store, &broker, settings());
    until("everything is on the wire", || broker.taken().len() == 10).await;
    let told_at = Instant::now();
    stop.cancel();
    worker.await.unwrap();
    // Not the whole grace period, which is for a broker that goes on to confirm.
    assert!(told_at.elapsed() <= Duration::from_secs(4), "took {:?}", told_at.elapsed());
    assert!(store.tables().outbox.values().all(|row| !row.is_claimed()), "a row is still claimed");
    assert!(store.tables().outbox.values().all(|row| row.claimable.retry_count == 0));
    assert_eq!(
        store.tables().heartbeats.last().map(|last| last.status),
        Some(WorkerStatus::Stopped)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_waits_for_a_broker_that_goes_on_to_confirm() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 3);
    broker.set_confirm_latency(Duration::from_millis(2_200));
    let (worker, stop) = start(&store, &broker, Settings { window: 1, ..settings() });
    until("the first is on the wire", || broker.taken().len() == 1).await;
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let counts = worker.await.unwrap();
    assert_eq!((counts.published, pending(&store)), (3, 0));
    assert_eq!(broker.taken().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_broker_gets_no_message_twice_while_the_lease_is_renewed() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 10);
    broker.set_confirm_latency(Duration::from_mins(3));
    broker.set_confirm_timeout(Duration::from_hours(1));
    let (worker, stop) = start(&store, &broker, settings());
    let (other, other_stop) = start(&store, &broker, settings());
    until("everything is published", || pending(&store) == 0).await;
    assert_eq!(broker.taken().len(), 10);
    stop.cancel();
    other_stop.cancel();
    let lost = worker.await.unwrap().lease_lost + other.await.unwrap().lease_lost;
    assert_eq!(lost, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_sent_once_the_lease_cannot_be_renewed() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 100);
    broker.set_confirm_latency(Duration::from_secs(20));
    broker.set_confirm_timeout(Duration::from_hours(1));
    let (worker, _stop) = start(&store, &broker, Settings { window: 10, ..settings() });
    until("the first are on the wire", || broker.taken().len() == 10).await;
    store.set_faults(|| Some(StoreFault::Before));
    // The lease of 30 s ends; what was confirmed meanwhile cannot be settled, and nothing new may be sent.
    sleep(Duration::from_mins(4)).await;
    assert_eq!(broker.taken().len(), 10);
    store.heal();
    until("everything is published", || pending(&store) == 0).await;
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn rows_that_another_worker_took_over_are_neither_sent_nor_settled_by_the_first() {
    let (store, first_broker) = (MemoryStore::default(), Broker::recording());
    insert(&store, 100);
    first_broker.set_confirm_latency(Duration::from_secs(20));
    first_broker.set_confirm_timeout(Duration::from_hours(1));
    let slow = Settings { window: 10, ..settings() };
    let (first, first_stop) = start(&store, &first_broker, slow);
    until("the first are on the wire", || first_broker.taken().len() == 10).await;
    store.end_leases();
    let second_broker = Broker::recording();
    let (second, second_stop) = start(&store, &second_broker, settings());
    until("the second has published everything", || pending(&store) == 0).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!((first_broker.taken().len(), second_broker.taken().len()), (10, 100));
    first_stop.cancel();
    second_stop.cancel();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.published, second.published), (0, 100));
    assert_eq!((first.lease_lost, second.lease_lost), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_for_an_hour_costs_no_attempt() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    broker.stop();
    insert(&store, 10);
    let (worker, stop) = start(&store, &broker, settings());
    sleep(Duration::from_hours(1)).await;
    let last = store.tables().heartbeats.last().cloned().unwrap();
    assert_eq!(last.status, WorkerStatus::Reconnecting);
    assert!(last.last_error.is_some_and(|error| error.contains("broker not available")));
    broker.start();
    let back_at = Instant::now();
    until("everything is published", || pending(&store) == 0).await;
    assert!(back_at.elapsed() < Duration::from_secs(6), "took {:?}", back_at.elapsed());
    assert!(store.tables().outbox.values().all(|row| row.claimable.retry_count == 0));
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_message_taken_in_is_told_before_the_next_heartbeat_is_due() {
    let (store, broker) = (MemoryStore::default(), Broker::recording());
    let rare =
        Settings { inbound: true, heartbeat_interval: Duration::from_hours(1), ..settings() };
    let (worker, stop) = start(&store, &broker, rare);
    let tells = |received: fn(u64) -> bool| {
        let tables = store.tables();
        let last = tables.heartbeats.last();
        last.is_some_and(|beat| {
            beat.status == WorkerStatus::Running && received(beat.counts.received)
        })
    };
    until("it runs and has nothing", || tells(|received| received == 0)).await;
    insert(&store, 3);
    until("it tells that it takes messages in", || tells(|received| received > 0)).await;
    stop.cancel();
    worker.await.unwrap();
}

/// Takes its time to join its group.
#[derive(Debug)]
struct SlowMember {
    inner: MemoryTransport,
    takes: Duration,
    joined: AtomicBool,
}

impl SlowMember {
    fn of(broker: &Broker, takes: Duration) -> Arc<Self> {
        let inner = MemoryTransport::new(broker.clone(), MemorySettings::default());
        Arc::new(Self { inner, takes, joined: AtomicBool::new(false) })
    }
}

impl Transport for SlowMember {
    type Publisher = MemoryPublisher;
    type Subscriber = MemorySubscriber;

    async fn connect_publisher(&self) -> Result<MemoryPublisher, ConnectError> {
        self.inner.connect_publisher().await
    }

    fn joins_group(&self) -> bool {
        true
    }

    async fn connect_subscriber(&self) -> Result<MemorySubscriber, ConnectError> {
        sleep(self.takes).await;
        let subscriber = self.inner.connect_subscriber().await?;
        self.joined.store(true, Ordering::Relaxed);
        Ok(subscriber)
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_stopped_while_it_joins_its_group_gets_there_so_that_it_can_leave() {
    let transport = SlowMember::of(&Broker::new(), Duration::from_secs(1));
    let stop = CancellationToken::new();
    let worker = Worker {
        store: Arc::new(MemoryStore::default()),
        transport: Arc::clone(&transport),
        codec: Arc::new(EnvelopeCodec),
        settings: Settings { inbound: true, ..settings() },
        identity: WorkerIdentity { id: "w".into(), host: "h".into(), pid: 1, version: "0".into() },
    };
    let worker = tokio::spawn(worker.run(stop.clone()));
    sleep(Duration::from_millis(500)).await;
    stop.cancel();
    worker.await.unwrap();
    assert!(transport.joined.load(Ordering::Relaxed), "it was dropped on its way");
}

/// How long a worker takes to publish a row, whose intake takes so long to be there.
async fn with_slow_intake(takes: Duration) -> Duration {
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    insert(&store, 1);
    let worker = Worker {
        store: Arc::new(store.clone()),
        transport: SlowMember::of(&Broker::new(), takes),
        codec: Arc::new(EnvelopeCodec),
        settings: Settings { inbound: true, ..settings() },
        identity: WorkerIdentity { id: "w".into(), host: "h".into(), pid: 1, version: "0".into() },
    };
    let began = Instant::now();
    let worker = tokio::spawn(worker.run(stop.clone()));
    until("the row is published", || pending(&store) == 0).await;
    let took = began.elapsed();
    stop.cancel();
    worker.await.unwrap();
    took
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_the_worker_can_receive_an_answer_to_it() {
    let took = with_slow_intake(Duration::from_secs(1)).await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_receive_sends_all_the_same() {
    let took = with_slow_intake(Duration::from_hours(1)).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn members_of_a_group_give_signs_of_life_as_often_as_one_that_stops_needs_them() {
    let transport = SlowMember::of(&Broker::new(), Duration::from_secs(1));
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    let (grace, heartbeat_interval) = (Duration::from_secs(10), Duration::from_secs(10));
    let worker = Worker {
        store: Arc::new(store.clone()),
        transport,
        codec: Arc::new(EnvelopeCodec),
        settings: Settings { inbound: true, grace, heartbeat_interval, ..settings() },
        identity: WorkerIdentity { id: "w".into(), host: "h".into(), pid: 1, version: "0".into() },
    };
    let worker = tokio::spawn(worker.run(stop.clone()));
    until("it runs", || !store.tables().heartbeats.is_empty()).await;
    let before = store.tables().heartbeats.len();
    sleep(grace * 4).await;
    // One that stops waits for half of its grace period.
    let signs = store.tables().heartbeats.len() - before;
    assert!(signs >= 8, "{signs} signs of life");
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_the_connection_stops_no_other_for_long() {
    let (store, broker) = (MemoryStore::default(), Broker::new());
    insert(&store, 200);
    broker.set_confirm_latency(Duration::from_millis(20));
    let mut last = None;
    broker.set_faults(move |point| {
        let FaultPoint::BeforeTaking(message) = point else { return None };
        let alone =
            last.replace(Instant::now()).is_none_or(|at| at.elapsed() > Duration::from_millis(15));
        // As RabbitMQ does: it closes the channel, and only where there was one message it is clear over which.
        let fault = if alone { Fault::Refuse } else { Fault::Disconnect };
        (message.message_id == "row-77").then_some(fault)
    });
    let (worker, stop) = start(&store, &broker, Settings { max_retry_count: 2, ..settings() });
    let began = Instant::now();
    until("the innocent are published", || pending(&store) <= 1).await;
    assert!(began.elapsed() < Duration::from_mins(1), "took {:?}", began.elapsed());
    until("the culprit has ended", || pending(&store) == 0).await;
    for row in store.tables().outbox.values() {
        let expected = if row.claimable.columns.id == "row-77" { "error" } else { "published" };
        assert_eq!(row.status, expected, "{row:?}");
    }
    stop.cancel();
    worker.await.unwrap();
}
