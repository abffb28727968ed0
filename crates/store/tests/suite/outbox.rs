//! Claiming and settling.

use std::collections::HashSet;
use std::time::Duration;

use postroad_envelope::ResponseStatus;
use postroad_store::query::outbox::{Filter, OutboxRecord, Retry, get, list, retry};
use postroad_store::{NewMessage, SqlStore, enqueue, enqueue_all};
use postroad_worker_core::{Claim, OutboxStore, Outcome, Settlement};
use serde_json::json;

use super::home::Home;

const LEASE: Duration = Duration::from_secs(30);

async fn fill(home: &Home, count: usize) {
    for number in 0..count {
        home.execute(&format!(
            "INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.c', '{{\"n\":{number}}}')"
        ))
        .await;
    }
}

async fn claim(store: &SqlStore) -> Claim {
    store.claim(100, LEASE).await.unwrap()
}

async fn settle_all(store: &SqlStore, claim: &Claim, outcome: Outcome) -> usize {
    let settlements: Vec<_> = claim
        .rows
        .iter()
        .map(|row| Settlement { seq: row.seq, outcome: outcome.clone() })
        .collect();
    store.settle(&claim.token, &settlements).await.unwrap()
}

async fn only_row(home: &Home) -> OutboxRecord {
    let mut rows = list(&home.database, &Filter::default()).await.unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn expire_leases(home: &Home) {
    let past = home.seconds_from_now(-1);
    home.execute(&format!(
        "UPDATE outbound_event SET claimed_until = {past} WHERE claim_token IS NOT NULL"
    ))
    .await;
}

pub(crate) async fn a_claim_takes_due_rows_in_order_up_to_its_limit(home: Home) {
    fill(&home, 5).await;
    let (earlier, later) = (home.seconds_from_now(-100), home.seconds_from_now(100));
    home.execute(&format!("UPDATE outbound_event SET enqueued_at = {earlier} WHERE seq = 4")).await;
    home.execute(&format!("UPDATE outbound_event SET enqueued_at = {later} WHERE seq = 1")).await;
    let store = home.store();
    let seqs = |claim: Claim| claim.rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.claim(2, LEASE).await.unwrap()), [4, 2]);
    assert_eq!(seqs(store.claim(100, LEASE).await.unwrap()), [3, 5]);
    assert_eq!(seqs(store.claim(100, LEASE).await.unwrap()), [0_i64; 0]);
}

pub(crate) async fn a_claim_reads_every_column(home: Home) {
    home.execute(
        "INSERT INTO outbound_event (topic, message_id, message_type, message_status, request_id, event_type, \
         source_service, parent_request_id, chain_depth, reply_to, payload, headers, retry_count, ordering_key) \
         VALUES ('t', 'm', 'response', 'success', 'r', 'e', 's', 'p', 3, 'o', '{\"a\": [1.50, \"é\"]}', \
         '{\"h\": 1}', 2, 'k')",
    )
    .await;
    let row = claim(&home.store()).await.rows.remove(0);
    let columns = &row.columns;
    assert_eq!(columns.id, only_row(&home).await.id);
    assert_eq!(columns.topic, "t");
    let texts = [
        (&columns.message_id, "m"),
        (&columns.message_type, "response"),
        (&columns.message_status, "success"),
        (&columns.request_id, "r"),
        (&columns.event_type, "e"),
        (&columns.source_service, "s"),
        (&columns.parent_request_id, "p"),
        (&columns.reply_to, "o"),
        (&row.ordering_key, "k"),
    ];
    for (text, expected) in texts {
        assert_eq!(text.as_deref(), Some(expected));
    }
    assert_eq!(columns.chain_depth, Some(3));
    assert_eq!(columns.payload, r#"{"a": [1.50, "é"]}"#);
    assert_eq!(row.headers.as_deref(), Some(r#"{"h": 1}"#));
    assert_eq!(row.retry_count, 2);
    let age =
        std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().abs_diff(row.created_at);
    assert!(age < 60, "{age}");
}

pub(crate) async fn a_claimed_row_is_nobody_elses(home: Home) {
    fill(&home, 3).await;
    let store = home.store();
    let first = claim(&store).await;
    assert_eq!(first.rows.len(), 3);
    let neighbour = SqlStore::new(home.neighbour().await, "default");
    let second = claim(&neighbour).await;
    assert_eq!(second.rows.len(), 0);
    assert_ne!(first.token, second.token);
}

pub(crate) async fn concurrent_claims_share_the_rows_without_overlap(home: Home) {
    fill(&home, 60).await;
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = SqlStore::new(home.neighbour().await, "default");
        claimers.spawn(async move {
            let mut seqs = Vec::new();
            loop {
                let claim = store.claim(7, LEASE).await.unwrap();
                if claim.rows.is_empty() {
                    return seqs;
                }
                seqs.extend(claim.rows.into_iter().map(|row| row.seq));
            }
        });
    }
    let seqs = claimers.join_all().await.concat();
    // A claimer may find every free row locked by the others and leave early; no row is left behind by all of them.
    let rest = claim(&home.store()).await.rows.len();
    assert_eq!(seqs.len() + rest, 60);
    assert_eq!(seqs.iter().collect::<HashSet<_>>().len(), seqs.len());
}

pub(crate) async fn an_expired_lease_is_taken_over_and_its_settlement_touches_nothing(home: Home) {
    fill(&home, 1).await;
    let store = home.store();
    let slow = claim(&store).await;
    expire_leases(&home).await;
    let quick = claim(&store).await;
    assert_eq!(quick.rows, slow.rows);
    for outcome in [
        Outcome::Published,
        Outcome::Invalid("slow".to_owned()),
        Outcome::Retry { delay: LEASE, error: "slow".to_owned() },
        Outcome::Failed("slow".to_owned()),
        Outcome::Released(Some("slow".to_owned())),
    ] {
        assert_eq!(settle_all(&store, &slow, outcome).await, 0);
    }
    assert_eq!(store.renew(&slow.token, LEASE).await.unwrap(), 0);
    assert_eq!(only_row(&home).await.last_error, None);
    assert_eq!(settle_all(&store, &quick, Outcome::Published).await, 1);
    assert_eq!(settle_all(&store, &quick, Outcome::Published).await, 0);
}

pub(crate) async fn a_renewed_lease_goes_on(home: Home) {
    fill(&home, 2).await;
    let store = home.store();
    let held = claim(&store).await;
    settle_all(
        &store,
        &Claim { rows: vec![held.rows[0].clone()], ..held.clone() },
        Outcome::Published,
    )
    .await;
    assert_eq!(store.renew(&held.token, Duration::from_hours(1)).await.unwrap(), 1);
    let limit = home.seconds_from_now(3000);
    assert_eq!(
        home.count(&format!("SELECT count(*) FROM outbound_event WHERE claimed_until > {limit}"))
            .await,
        1
    );
    assert_eq!(store.renew("somebody else's", LEASE).await.unwrap(), 0);
    // One that has ended goes on as well, unless somebody else took over.
    expire_leases(&home).await;
    assert_eq!(store.renew(&held.token, LEASE).await.unwrap(), 1);
    assert_eq!(claim(&store).await.rows.len(), 0);
}

pub(crate) async fn a_published_row_is_done_with(home: Home) {
    fill(&home, 1).await;
    let store = home.store();
    settle_all(&store, &claim(&store).await, Outcome::Released(Some("once".to_owned()))).await;
    let settled = settle_all(&store, &claim(&store).await, Outcome::Published).await;
    assert_eq!(settled, 1);
    let row = only_row(&home).await;
    assert_eq!((row.status.as_str(), row.published, row.retry_count), ("published", true, 0));
    assert!(row.published_at.is_some());
    assert_eq!((row.next_retry_at, row.last_error), (None, None));
    assert_eq!(
        home.count("SELECT count(*) FROM outbound_event WHERE claim_token IS NOT NULL").await,
        0
    );
    assert!(claim(&store).await.rows.is_empty());
}

pub(crate) async fn an_invalid_row_and_a_failed_one_keep_the_reason(home: Home) {
    for (outcome, status) in [
        (Outcome::Invalid("bad topic".to_owned()), "invalid"),
        (Outcome::Failed("bad topic".to_owned()), "error"),
    ] {
        home.execute("DELETE FROM outbound_event").await;
        fill(&home, 1).await;
        let store = home.store();
        assert_eq!(settle_all(&store, &claim(&store).await, outcome).await, 1);
        let row = only_row(&home).await;
        assert_eq!((row.status.as_str(), row.published), (status, false));
        assert_eq!(row.last_error.as_deref(), Some("bad topic"));
        assert!(claim(&store).await.rows.is_empty());
    }
}

pub(crate) async fn a_retried_row_is_due_after_its_delay_and_not_before(home: Home) {
    fill(&home, 1).await;
    let store = home.store();
    let retry = Outcome::Retry { delay: Duration::from_mins(1), error: "refused".to_owned() };
    assert_eq!(settle_all(&store, &claim(&store).await, retry).await, 1);
    let row = only_row(&home).await;
    assert_eq!((row.status.as_str(), row.retry_count), ("pending", 1));
    assert_eq!(row.last_error.as_deref(), Some("refused"));
    let (from, to) = (home.seconds_from_now(50), home.seconds_from_now(61));
    let within =
        format!("SELECT count(*) FROM outbound_event WHERE next_retry_at BETWEEN {from} AND {to}");
    assert_eq!(home.count(&within).await, 1);
    assert!(claim(&store).await.rows.is_empty());

    home.execute(&format!(
        "UPDATE outbound_event SET next_retry_at = {}",
        home.seconds_from_now(-1)
    ))
    .await;
    let soon =
        Outcome::Retry { delay: Duration::from_millis(1), error: "refused again".to_owned() };
    assert_eq!(settle_all(&store, &claim(&store).await, soon).await, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(claim(&store).await.rows[0].retry_count, 2);
}

pub(crate) async fn a_user_can_set_the_next_retry_directly(home: Home) {
    fill(&home, 1).await;
    home.execute(&format!(
        "UPDATE outbound_event SET next_retry_at = {}",
        home.seconds_from_now(60)
    ))
    .await;
    assert!(claim(&home.store()).await.rows.is_empty());
    home.execute("UPDATE outbound_event SET next_retry_at = NULL").await;
    assert_eq!(claim(&home.store()).await.rows.len(), 1);
    if home.is_sqlite() {
        // As people write times in SQLite.
        home.execute("UPDATE outbound_event SET claimed_until = NULL, next_retry_at = datetime('now', '+1 hour')").await;
        assert!(claim(&home.store()).await.rows.is_empty());
        home.execute("UPDATE outbound_event SET next_retry_at = datetime('now')").await;
        assert_eq!(claim(&home.store()).await.rows.len(), 1);
    }
}

/// As rows are after the database's clock went two days ahead and back.
pub(crate) async fn a_clock_that_was_set_back_delays_nothing(home: Home) {
    fill(&home, 7).await;
    let ahead = home.seconds_from_now(2 * 24 * 3600);
    let soon = home.seconds_from_now(3_000);
    for (seq, change) in [
        (1, format!("enqueued_at = {ahead}")),
        (2, format!("claim_token = 'gone', claimed_until = {ahead}")),
        (3, format!("retry_count = 1, next_retry_at = {ahead}")),
        (4, format!("enqueued_at = {ahead}, ordering_key = 'k'")),
        // A person put it off.
        (5, format!("next_retry_at = {ahead}")),
        // Somebody has a long lease.
        (6, format!("claim_token = 'busy', claimed_until = {soon}")),
        (7, format!("retry_count = 1, next_retry_at = {soon}")),
    ] {
        home.execute(&format!("UPDATE outbound_event SET {change} WHERE seq = {seq}")).await;
    }
    home.execute(&format!(
        "INSERT INTO event_bus_worker (id, status, config_key, host, pid, version, last_heartbeat_at) VALUES \
         ('00000000-0000-4000-8000-000000000000', 'running', 'default', 'h', 1, '0', {ahead})"
    ))
    .await;
    let store = home.store();
    let mut seqs: Vec<_> = claim(&store).await.rows.iter().map(|row| row.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert!(claim(&store).await.rows.is_empty());
    let alive = home.seconds_from_now(5);
    let alive = format!("SELECT count(*) FROM event_bus_worker WHERE last_heartbeat_at > {alive}");
    assert_eq!(home.count(&alive).await, 0);
}

pub(crate) async fn a_released_row_is_due_at_once_without_an_attempt(home: Home) {
    fill(&home, 1).await;
    let store = home.store();
    assert_eq!(settle_all(&store, &claim(&store).await, Outcome::Released(None)).await, 1);
    let row = only_row(&home).await;
    assert_eq!((row.status.as_str(), row.retry_count, row.last_error), ("pending", 0, None));
    let again = claim(&store).await;
    assert_eq!(
        settle_all(&store, &again, Outcome::Released(Some("no confirm".to_owned()))).await,
        1
    );
    assert_eq!(only_row(&home).await.last_error.as_deref(), Some("no confirm"));
    settle_all(&store, &claim(&store).await, Outcome::Released(None)).await;
    assert_eq!(only_row(&home).await.last_error.as_deref(), Some("no confirm"));
    assert_eq!(claim(&store).await.rows.len(), 1);
}

pub(crate) async fn every_kind_of_outcome_is_settled_in_one_call(home: Home) {
    fill(&home, 5).await;
    let store = home.store();
    let held = claim(&store).await;
    let outcomes = [
        Outcome::Published,
        Outcome::Invalid("i".to_owned()),
        Outcome::Failed("f".to_owned()),
        Outcome::Retry { delay: LEASE, error: "r".to_owned() },
        Outcome::Released(None),
    ];
    let settled = held.rows.iter().map(|row| row.seq).zip(outcomes);
    let settlements: Vec<_> = settled.map(|(seq, outcome)| Settlement { seq, outcome }).collect();
    assert_eq!(store.settle(&held.token, &settlements).await.unwrap(), 5);
    assert_eq!(store.settle(&held.token, &settlements).await.unwrap(), 0);
    assert_eq!(store.settle(&held.token, &[]).await.unwrap(), 0);
    let mut rows = list(&home.database, &Filter::default()).await.unwrap();
    rows.reverse();
    let states: Vec<_> = rows.iter().map(|row| (row.status.as_str(), row.retry_count)).collect();
    assert_eq!(
        states,
        [("published", 0), ("invalid", 0), ("error", 0), ("pending", 1), ("pending", 0)]
    );
}

pub(crate) async fn an_error_text_that_no_database_keeps_is_made_to_fit(home: Home) {
    fill(&home, 1).await;
    let store = home.store();
    let text = format!("a\0b{}", "x".repeat(100_000));
    assert_eq!(settle_all(&store, &claim(&store).await, Outcome::Invalid(text)).await, 1);
    let error = only_row(&home).await.last_error.unwrap();
    assert!(error.starts_with("a\u{fffd}bxxx") && error.len() < 3_000, "{error}");
}

pub(crate) async fn only_the_head_of_an_ordering_key_is_due(home: Home) {
    for (key, count) in [("'a'", 3), ("'b'", 2), ("NULL", 2)] {
        for _ in 0..count {
            home.execute(&format!(
                "INSERT INTO outbound_event (topic, payload, ordering_key) VALUES ('event.a.b.c', '{{}}', {key})"
            ))
            .await;
        }
    }
    let store = home.store();
    let seqs = |claim: &Claim| claim.rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let first = claim(&store).await;
    assert_eq!(seqs(&first), [1, 4, 6, 7]);
    assert_eq!(seqs(&claim(&store).await), [0_i64; 0]);

    // A head that has to wait holds its key back; one that ends lets the next one go.
    let retry = Outcome::Retry { delay: LEASE, error: "refused".to_owned() };
    let settlements =
        [Settlement { seq: 1, outcome: retry }, Settlement { seq: 4, outcome: Outcome::Published }];
    assert_eq!(store.settle(&first.token, &settlements).await.unwrap(), 2);
    assert_eq!(seqs(&claim(&store).await), [5]);
    home.execute("UPDATE outbound_event SET next_retry_at = NULL WHERE seq = 1").await;
    let head = claim(&store).await;
    assert_eq!(seqs(&head), [1]);
    settle_all(&store, &head, Outcome::Failed("no more".to_owned())).await;
    assert_eq!(seqs(&claim(&store).await), [2]);
}

pub(crate) async fn ordering_keys_differ_in_their_last_character_though_they_are_as_long_as_they_may_be(
    home: Home,
) {
    let config_key = "c".repeat(255);
    let keys = ["a", "b"].map(|last| format!("{}{last}", "\u{1f600}".repeat(499)));
    for key in [&keys[0], &keys[0], &keys[1], &keys[1]] {
        let message = NewMessage::bare("event.a.b.c", json!({})).config_key(config_key.as_str());
        let message = message.ordering_key(key.as_str());
        enqueue(home.database.connection(), message).await.unwrap();
    }
    let store = SqlStore::new(home.database.clone(), config_key);
    let seqs = |claim: &Claim| claim.rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let first = claim(&store).await;
    assert_eq!(seqs(&first), [1, 3]);
    assert_eq!(settle_all(&store, &first, Outcome::Published).await, 2);
    assert_eq!(seqs(&claim(&store).await), [2, 4]);
}

pub(crate) async fn a_store_sees_only_its_own_config(home: Home) {
    fill(&home, 1).await;
    let other = SqlStore::new(home.database.clone(), "other");
    assert!(claim(&other).await.rows.is_empty());
    enqueue(
        home.database.connection(),
        NewMessage::bare("event.a.b.c", json!({})).config_key("other"),
    )
    .await
    .unwrap();
    assert_eq!(claim(&other).await.rows.len(), 1);
    assert_eq!(claim(&home.store()).await.rows.len(), 1);
}

pub(crate) async fn enqueue_writes_what_the_builder_was_told(home: Home) {
    let headers = json!({ "x": 1 }).as_object().unwrap().clone();
    let message = NewMessage::request(
        "orders.request.order.create",
        "r-1",
        "shop.response.order.create",
        json!([1]),
    )
    .message_id("m-1")
    .source_service("shop")
    .caused_by("r-0", 2)
    .headers(headers)
    .ordering_key("k");
    let id = enqueue(home.database.connection(), message).await.unwrap();
    let row = get(&home.database, &id).await.unwrap().unwrap();
    assert_eq!(row.topic, "orders.request.order.create");
    assert_eq!(row.message_type.as_deref(), Some("request"));
    assert_eq!(row.request_id.as_deref(), Some("r-1"));
    assert_eq!(row.reply_to.as_deref(), Some("shop.response.order.create"));
    assert_eq!(row.message_id.as_deref(), Some("m-1"));
    assert_eq!(row.source_service.as_deref(), Some("shop"));
    assert_eq!((row.parent_request_id.as_deref(), row.chain_depth), (Some("r-0"), Some(2)));
    assert_eq!(row.ordering_key.as_deref(), Some("k"));
    assert_eq!(row.payload, "[1]");
    assert!(serde_json::to_string(&row).unwrap().contains(r#""payload":[1],"headers":{"x":"#));

    let answer = NewMessage::response(
        "shop.response.order.create",
        "r-1",
        ResponseStatus::Error,
        json!(null),
    );
    let id = enqueue(home.database.connection(), answer).await.unwrap();
    let row = get(&home.database, &id).await.unwrap().unwrap();
    assert_eq!(
        (row.message_type.as_deref(), row.message_status.as_deref()),
        (Some("response"), Some("error"))
    );
    assert_eq!(row.payload, "null");

    let event =
        NewMessage::event("event.sales.order.placed", "order.placed", json!({})).request_id("r-1");
    let id = enqueue(home.database.connection(), event).await.unwrap();
    let row = get(&home.database, &id).await.unwrap().unwrap();
    assert_eq!(
        (row.event_type.as_deref(), row.request_id.as_deref()),
        (Some("order.placed"), Some("r-1"))
    );
    assert_eq!(get(&home.database, "no uuid at all").await.unwrap(), None);
}

pub(crate) async fn many_messages_are_written_at_once_in_their_order_or_none_is(home: Home) {
    let headers = json!({ "x": "\u{1f6e0}" }).as_object().unwrap().clone();
    let request =
        NewMessage::request("o.request.a.b", "r-1", "s.response.a.b", json!({ "n": 1.50 }))
            .message_id("m-1")
            .source_service("s")
            .caused_by("r-0", 2)
            .headers(headers)
            .ordering_key("k");
    let messages = [
        request.clone(),
        NewMessage::response("s.response.a.b", "r-1", ResponseStatus::Success, json!(null)),
        NewMessage::event("event.a.b.c", "it's \"done\"", json!("\u{1f6e0}\n")),
        NewMessage::bare("x/y", json!([1, 2])).config_key("other"),
    ];
    let db = home.database.connection();
    let ids = enqueue_all(db, messages.clone()).await.unwrap();
    let mut one_by_one = Vec::new();
    for message in messages {
        one_by_one.push(enqueue(db, message).await.unwrap());
    }
    let mut last = 0;
    for (id, other) in ids.iter().zip(&one_by_one) {
        let row = get(&home.database, id).await.unwrap().unwrap();
        assert!(row.seq > last);
        last = row.seq;
        let other = get(&home.database, other).await.unwrap().unwrap();
        let same = OutboxRecord {
            id: row.id.clone(),
            seq: row.seq,
            created_at: row.created_at.clone(),
            updated_at: row.updated_at.clone(),
            ..other
        };
        assert_eq!(row, same);
    }
    assert!(enqueue_all(db, []).await.unwrap().is_empty());

    let unreadable = NewMessage { payload: "}".to_owned(), ..request.clone() };
    assert!(enqueue_all(db, [request, unreadable]).await.is_err());
    assert_eq!(home.count("SELECT count(*) FROM outbound_event").await, 8);
}

pub(crate) async fn a_failed_row_is_tried_again_on_request(home: Home) {
    fill(&home, 4).await;
    let store = home.store();
    let held = claim(&store).await;
    let failed = || Outcome::Failed("refused".to_owned());
    let settlements = [
        Settlement { seq: 1, outcome: failed() },
        Settlement { seq: 2, outcome: failed() },
        Settlement { seq: 3, outcome: Outcome::Invalid("bad".to_owned()) },
        Settlement { seq: 4, outcome: Outcome::Published },
    ];
    store.settle(&held.token, &settlements).await.unwrap();
    home.execute("UPDATE outbound_event SET retry_count = 10").await;
    let db = &home.database;
    let status = |status| Retry::Status { status, config_key: Some("default") };
    assert_eq!(
        retry(db, Retry::Status { status: "error", config_key: Some("other") }).await.unwrap(),
        0
    );
    assert_eq!(retry(db, status("published")).await.unwrap(), 0);
    assert_eq!(retry(db, status("error")).await.unwrap(), 2);
    let again = claim(&store).await;
    assert_eq!(
        again.rows.iter().map(|row| (row.seq, row.retry_count)).collect::<Vec<_>>(),
        [(1, 0), (2, 0)]
    );

    let ids: Vec<_> =
        list(db, &Filter::default()).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(retry(db, Retry::Id(&ids[0])).await.unwrap(), 0, "the newest is published");
    assert_eq!(retry(db, Retry::Id(&ids[1])).await.unwrap(), 1);
    assert_eq!(retry(db, Retry::Id("nobody")).await.unwrap(), 0);
    let invalid = Filter { status: Some("invalid".to_owned()), ..Filter::default() };
    assert!(list(db, &invalid).await.unwrap().is_empty());
}

pub(crate) async fn a_long_queue_behind_one_key_does_not_slow_a_claim(home: Home) {
    for key in ["'k'", "'l'", "NULL"] {
        let numbers = home.numbers(5_000);
        home.execute(&format!(
            "INSERT INTO outbound_event (topic, payload, ordering_key) \
             SELECT 'event.a.b.c', '{{}}', {key} FROM {numbers} AS n"
        ))
        .await;
    }
    let store = home.store();
    let started = std::time::Instant::now();
    for _ in 0..20 {
        let held = store.claim(12, LEASE).await.unwrap();
        assert_eq!(held.rows.iter().filter(|row| row.ordering_key.is_some()).count(), 2);
        assert_eq!(settle_all(&store, &held, Outcome::Published).await, 12);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

pub(crate) async fn every_ordering_key_has_its_turn(home: Home) {
    for number in 0..30 {
        for key in ["a", "b", "c", "z"] {
            home.execute(&format!(
                "INSERT INTO outbound_event (topic, payload, ordering_key) \
                 VALUES ('event.a.b.c', '{number}', '{key}'), ('event.a.b.c', '{number}', NULL)"
            ))
            .await;
        }
    }
    let store = home.store();
    let mut seen = HashSet::new();
    for _ in 0..8 {
        let held = store.claim(2, LEASE).await.unwrap();
        assert_eq!(held.rows.len(), 2);
        seen.extend(held.rows.iter().map(|row| row.ordering_key.clone()));
        settle_all(&store, &held, Outcome::Published).await;
    }
    // All four, and those without.
    assert_eq!(seen.len(), 5);
    // Where nothing else is left, the keys get the whole of a claim.
    home.execute("UPDATE outbound_event SET status = 'published' WHERE ordering_key IS NULL").await;
    assert_eq!(store.claim(4, LEASE).await.unwrap().rows.len(), 4);
    assert_eq!(store.claim(4, LEASE).await.unwrap().rows.len(), 0);
}

pub(crate) async fn a_due_row_is_found_among_very_many_keys_that_wait(home: Home) {
    let key = if home.is_mysql() { "concat('k', n)" } else { "'k' || n" };
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, ordering_key, next_retry_at) \
         SELECT 'event.a.b.c', '1', {key}, {} FROM {} AS n",
        home.seconds_from_now(1_000),
        home.numbers(5_000)
    ))
    .await;
    let store = home.store();
    for key in ["z", "a", "k2500x", "k9", "z", "b"] {
        home.execute(&format!(
            "INSERT INTO outbound_event (topic, payload, ordering_key) VALUES ('event.a.b.c', '1', '{key}x')"
        ))
        .await;
        let held = claim(&store).await;
        assert_eq!(held.rows.len(), 1, "{key}");
        settle_all(&store, &held, Outcome::Published).await;
    }
    assert!(claim(&store).await.rows.is_empty());
}

pub(crate) async fn a_row_of_this_process_is_a_hint(home: Home) {
    let store = home.store();
    enqueue(home.database.connection(), NewMessage::bare("event.a.b.c", 1)).await.unwrap();
    let hint = tokio::time::timeout(Duration::from_secs(5), store.woken()).await;
    assert!(hint.is_ok());
}
