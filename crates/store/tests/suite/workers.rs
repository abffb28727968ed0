//! Heartbeats, status and traces.

use postroad_store::query::status::status;
use postroad_store::query::trace::trace;
use postroad_store::{NewMessage, enqueue};
use postroad_worker_core::{
    Counts, Heartbeat, Others, WorkerIdentity, WorkerRegistry, WorkerStatus,
};
use serde_json::json;
use uuid::Uuid;

use super::home::Home;

fn heartbeat(status: WorkerStatus) -> Heartbeat {
    let worker = WorkerIdentity {
        id: Uuid::new_v4().to_string(),
        host: "here".to_owned(),
        pid: u32::MAX,
        version: "0.1.0".to_owned(),
    };
    Heartbeat {
        worker,
        status,
        last_error: None,
        counts: Counts { published: 3, lease_lost: 1, ..Counts::default() },
    }
}

async fn configure(home: &Home) {
    home.execute("INSERT INTO event_bus_runtime_config (config_key) VALUES ('default')").await;
}

pub(crate) async fn a_heartbeat_is_mirrored_into_the_config(home: Home) {
    configure(&home).await;
    let store = home.store();
    let mut beat = heartbeat(WorkerStatus::Starting);
    store.heartbeat(&beat).await.unwrap();
    beat.status = WorkerStatus::Reconnecting;
    beat.last_error = Some("no broker\0".to_owned());
    beat.counts.published = 7;
    store.heartbeat(&beat).await.unwrap();
    let config = status(&home.database, None).await.unwrap().configs.remove(0);
    assert_eq!(config.worker_status.as_deref(), Some("reconnecting"));
    assert_eq!(config.last_error.as_deref(), Some("no broker\u{fffd}"));
    assert!(config.last_heartbeat_at.is_some());
    let [worker] = config.workers.as_slice() else { panic!("{config:?}") };
    assert_eq!(
        (worker.id.as_str(), worker.status.as_str()),
        (beat.worker.id.as_str(), "reconnecting")
    );
    assert_eq!((worker.published, worker.lease_lost, worker.pid), (7, 1, i64::from(u32::MAX)));
    beat.last_error = None;
    store.heartbeat(&beat).await.unwrap();
    assert_eq!(status(&home.database, None).await.unwrap().configs[0].last_error, None);
}

pub(crate) async fn another_worker_is_heard_of_as_long_as_it_takes_messages_in(home: Home) {
    configure(&home).await;
    let store = home.store();
    let (mut own, mut other) = (heartbeat(WorkerStatus::Running), heartbeat(WorkerStatus::Running));
    let others = async |own: &Heartbeat| store.others(&own.worker.id).await.unwrap();
    // Each beat has a time of its own, in milliseconds where those are all there is.
    let beat = async |beat: &Heartbeat| {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        store.heartbeat(beat).await.unwrap();
    };
    beat(&own).await;
    assert_eq!(others(&own).await, Others::default(), "it is alone");
    let not_yet = Others { any: true, last_sign: None };
    for status in [WorkerStatus::Starting, WorkerStatus::Running] {
        other.status = status;
        beat(&other).await;
        assert_eq!(others(&own).await, not_yet, "it has taken nothing in yet");
    }
    other.counts.received = 1;
    beat(&other).await;
    own.status = WorkerStatus::Stopping;
    beat(&own).await;
    let first = others(&own).await;
    assert!(first.any && first.last_sign.is_some(), "{first:?}");
    beat(&own).await;
    assert_eq!(others(&own).await, first, "its own signs do not count");
    beat(&other).await;
    assert!(others(&own).await.last_sign > first.last_sign);
    other.status = WorkerStatus::Reconnecting;
    beat(&other).await;
    assert_eq!(others(&own).await, not_yet, "it may be back in a moment");
    other.status = WorkerStatus::Stopping;
    beat(&other).await;
    assert_eq!(others(&own).await, Others::default());
    assert_eq!(others(&other).await, Others::default());
}

pub(crate) async fn a_worker_that_was_killed_is_no_other_after_three_heartbeats(home: Home) {
    configure(&home).await;
    let (own, mut other) = (heartbeat(WorkerStatus::Stopping), heartbeat(WorkerStatus::Running));
    other.counts.received = 1;
    for beat in [&own, &other] {
        home.store().heartbeat(beat).await.unwrap();
    }
    for (seconds, expected) in [(-25, true), (-35, false)] {
        let then = home.seconds_from_now(seconds);
        home.execute(&format!("UPDATE event_bus_worker SET last_heartbeat_at = {then}")).await;
        let others = home.store().others(&own.worker.id).await.unwrap();
        assert_eq!((others.any, others.last_sign.is_some()), (expected, expected));
    }
}

pub(crate) async fn a_worker_without_heartbeats_is_stale(home: Home) {
    configure(&home).await;
    let health = async || {
        let config = status(&home.database, Some("default")).await.unwrap().configs.remove(0);
        (config.is_healthy(), config.workers.iter().map(|worker| worker.stale).collect::<Vec<_>>())
    };
    assert_eq!(health().await, (false, vec![]));
    let mut beat = heartbeat(WorkerStatus::Running);
    home.store().heartbeat(&beat).await.unwrap();
    assert_eq!(health().await, (true, vec![false]));
    for (seconds, expected) in [(-25, (true, vec![false])), (-35, (false, vec![true]))] {
        let then = home.seconds_from_now(seconds);
        home.execute(&format!("UPDATE event_bus_worker SET last_heartbeat_at = {then}")).await;
        assert_eq!(health().await, expected);
    }
    beat.status = WorkerStatus::Stopped;
    home.store().heartbeat(&beat).await.unwrap();
    assert_eq!(health().await, (false, vec![false]));
    home.execute("UPDATE event_bus_runtime_config SET is_active = false").await;
    assert_eq!(health().await, (true, vec![false]));
    assert!(status(&home.database, Some("other")).await.unwrap().configs.is_empty());
}

pub(crate) async fn a_first_heartbeat_clears_away_the_dead(home: Home) {
    configure(&home).await;
    let store = home.store();
    let beats =
        [WorkerStatus::Running, WorkerStatus::Running, WorkerStatus::Stopped].map(heartbeat);
    for beat in &beats {
        store.heartbeat(beat).await.unwrap();
    }
    let long_ago = home.seconds_from_now(-2 * 24 * 3600);
    home.execute(&format!(
        "UPDATE event_bus_worker SET last_heartbeat_at = {long_ago} WHERE id = '{}'",
        beats[0].worker.id
    ))
    .await;
    let fresh = heartbeat(WorkerStatus::Starting);
    store.heartbeat(&fresh).await.unwrap();
    let config = status(&home.database, None).await.unwrap().configs.remove(0);
    let ids: Vec<_> = config.workers.into_iter().map(|worker| worker.id).collect();
    assert_eq!(ids, [beats[1].worker.id.clone(), fresh.worker.id]);
}

pub(crate) async fn the_status_counts_rows_by_state(home: Home) {
    configure(&home).await;
    let empty = status(&home.database, None).await.unwrap().configs.remove(0);
    assert_eq!((empty.outbound.pending, empty.outbound.oldest_pending_seconds), (0, None));
    for (state, count) in [("pending", 3), ("published", 2), ("invalid", 1), ("error", 1)] {
        for _ in 0..count {
            home.execute(&format!("INSERT INTO outbound_event (topic, payload, status) VALUES ('t', '{{}}', '{state}')"))
                .await;
        }
    }
    home.execute(&format!(
        "UPDATE outbound_event SET created_at = {} WHERE seq = 2",
        home.seconds_from_now(-90)
    ))
    .await;
    for (time, row) in
        [("2100-01-02T03:04:05.678Z", "seq = 3"), ("2000-01-01T00:00:00Z", "status = 'error'")]
    {
        let time = home.time(time);
        home.execute(&format!("UPDATE outbound_event SET next_retry_at = '{time}' WHERE {row}"))
            .await;
    }
    for (state, id) in [("pending", "a"), ("processed", "b"), ("error", "c"), ("error", "d")] {
        home.execute(&format!(
            "INSERT INTO inbound_event (topic, message_id, message_type, payload, status) \
             VALUES ('t', '{id}', 'event', '{{}}', '{state}')"
        ))
        .await;
    }
    let config = status(&home.database, None).await.unwrap().configs.remove(0);
    let outbound = &config.outbound;
    assert_eq!(
        (outbound.pending, outbound.published, outbound.invalid, outbound.error),
        (3, 2, 1, 1)
    );
    assert!((90..100).contains(&outbound.oldest_pending_seconds.unwrap()), "{outbound:?}");
    assert_eq!(outbound.next_retry_at.as_deref(), Some("2100-01-02T03:04:05.678Z"));
    assert_eq!((config.inbound.pending, config.inbound.processed, config.inbound.error), (1, 1, 2));
    assert_eq!(config.quarantined, 0);
}

pub(crate) async fn a_trace_follows_requests_up_and_down(home: Home) {
    let messages = [
        NewMessage::request("b.request.x.y", "r-1", "a.response.x.y", json!(1)),
        NewMessage::request("c.request.x.y", "r-2", "b.response.x.y", json!(2)).caused_by("r-1", 1),
        NewMessage::request("d.request.x.y", "r-3", "c.response.x.y", json!(3)).caused_by("r-2", 2),
        NewMessage::event("event.x.y.z", "z", json!(4)).caused_by("r-3", 3),
        NewMessage::request("b.request.x.y", "unrelated", "a.response.x.y", json!(5)),
    ];
    for message in messages {
        enqueue(home.database.connection(), message).await.unwrap();
    }
    home.execute(
        "INSERT INTO inbound_event (topic, message_id, message_type, request_id, payload) \
         VALUES ('b.response.x.y', 'm', 'response', 'r-2', '{}')",
    )
    .await;
    for start in ["r-1", "r-2", "r-3"] {
        let chain = trace(&home.database, start).await.unwrap();
        let mut seen: Vec<_> =
            chain.iter().map(|record| (record.direction.as_str(), record.seq)).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [("inbound", 1), ("outbound", 1), ("outbound", 2), ("outbound", 3), ("outbound", 4)]
        );
    }
    assert!(trace(&home.database, "nobody's").await.unwrap().is_empty());
}
