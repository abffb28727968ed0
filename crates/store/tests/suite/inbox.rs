//! Storing what arrives.

use std::time::Duration;

use bytes::Bytes;
use postroad_store::SqlStore;
use postroad_store::query::outbox::Filter;
use postroad_store::query::quarantine::{self, Purge};
use postroad_store::query::{inbox, quarantine::QuarantineRecord};
use postroad_worker_core::{
    InboxEntry, InboxRow, InboxStore, Original, Quarantined, Stored, reason,
};

use super::home::Home;

fn row(message_id: &str, payload: &str) -> InboxRow {
    InboxRow {
        topic: "event.a.b.c".to_owned(),
        message_id: message_id.to_owned(),
        message_type: "event",
        message_status: None,
        request_id: None,
        event_type: Some("c".to_owned()),
        reply_to: None,
        source_service: Some("a".to_owned()),
        parent_request_id: None,
        chain_depth: 0,
        payload: payload.to_owned(),
        headers: None,
        fingerprint: None,
        original: Original {
            body: Bytes::from(format!("body of {message_id} with {payload}")),
            headers: Some("{\"headers\":{},\"properties\":{}}".to_owned()),
            ..Original::default()
        },
    }
}

pub(crate) fn message(message_id: &str, payload: &str) -> InboxEntry {
    InboxEntry::Message(Box::new(row(message_id, payload)))
}

fn stored(inserted: usize, duplicates: usize, quarantined: usize) -> Stored {
    Stored { inserted, duplicates, quarantined, kept: Vec::new() }
}

/// Without saying which ones.
fn numbers(mut stored: Stored) -> Stored {
    stored.kept.clear();
    stored
}

async fn message_ids(home: &Home) -> Vec<String> {
    let mut rows = inbox::list(&home.database, &Filter::default()).await.unwrap();
    rows.reverse();
    rows.into_iter().map(|row| row.message_id).collect()
}

async fn quarantined(home: &Home) -> Vec<QuarantineRecord> {
    quarantine::list(&home.database, None, 100).await.unwrap()
}

pub(crate) async fn a_message_is_stored_once_however_often_it_comes(home: Home) {
    let store = home.store();
    let full = InboxRow {
        topic: "a.response.b.c".to_owned(),
        message_type: "response",
        message_status: Some("error"),
        request_id: Some("r".to_owned()),
        event_type: None,
        reply_to: Some("o".to_owned()),
        parent_request_id: Some("p".to_owned()),
        chain_depth: u32::MAX,
        headers: Some("{\"extra\":{\"x\":1}}".to_owned()),
        ..row("m", "{\"n\": 1.50}")
    };
    let batch = [InboxEntry::Message(Box::new(full))];
    assert_eq!(numbers(store.store(&batch).await.unwrap()), stored(1, 0, 0));
    assert_eq!(numbers(store.store(&batch).await.unwrap()), stored(0, 1, 0));
    assert_eq!(numbers(store.store(&[]).await.unwrap()), stored(0, 0, 0));
    let rows = inbox::list(&home.database, &Filter::default()).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(
        (row.config_key.as_str(), row.status.as_str(), row.processed),
        ("default", "pending", false)
    );
    assert_eq!((row.topic.as_str(), row.message_type.as_str()), ("a.response.b.c", "response"));
    assert_eq!(
        (row.message_status.as_deref(), row.request_id.as_deref()),
        (Some("error"), Some("r"))
    );
    assert_eq!((row.reply_to.as_deref(), row.parent_request_id.as_deref()), (Some("o"), Some("p")));
    assert_eq!((row.source_service.as_deref(), row.chain_depth), (Some("a"), i64::from(u32::MAX)));
    assert_eq!(row.payload, "{\"n\": 1.50}");
    let headers: serde_json::Value = serde_json::from_str(row.headers.as_deref().unwrap()).unwrap();
    assert_eq!(headers, serde_json::json!({ "extra": { "x": 1 } }));
}

pub(crate) async fn a_batch_is_stored_in_the_order_in_which_it_came(home: Home) {
    let ids: Vec<_> = (0..50).map(|number| format!("m-{number:02}")).collect();
    let batch: Vec<_> = ids.iter().map(|id| message(id, "{}")).collect();
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(50, 0, 0));
    assert_eq!(message_ids(&home).await, ids);
}

pub(crate) async fn equal_json_in_other_words_is_a_duplicate(home: Home) {
    let store = home.store();
    store.store(&[message("m", "{\"a\":1,\"b\":[true]}")]).await.unwrap();
    assert_eq!(
        numbers(store.store(&[message("m", " {\"b\": [true], \"a\": 1} ")]).await.unwrap()),
        stored(0, 1, 0)
    );
    assert_eq!(
        numbers(store.store(&[message("m", "{\"a\":1,\"b\":[false]}")]).await.unwrap()),
        stored(0, 0, 1)
    );
}

pub(crate) async fn another_payload_under_the_same_id_is_quarantined(home: Home) {
    let store = home.store();
    store.store(&[message("m", "1")]).await.unwrap();
    assert_eq!(numbers(store.store(&[message("m", "2")]).await.unwrap()), stored(0, 0, 1));
    let rows = quarantined(&home).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.reason.as_str(), row.topic.as_str()), (reason::ID_CONFLICT, "event.a.b.c"));
    assert_eq!(row.body, b"body of m with 2");
    assert!(row.detail.contains("`m`"), "{}", row.detail);
    assert!(row.headers.as_deref().unwrap().contains("properties"));
    assert_eq!(message_ids(&home).await, ["m"]);
}

pub(crate) async fn duplicates_and_conflicts_within_a_batch_are_told_apart(home: Home) {
    let batch = [
        message("m", "1"),
        message("n", "1"),
        message("m", "1"),
        message("m", "2"),
        message("n", " 1"),
        message("o", "1"),
    ];
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(3, 2, 1));
    assert_eq!(message_ids(&home).await, ["m", "n", "o"]);
    assert_eq!(quarantined(&home).await[0].body, b"body of m with 2");
    // What is stored decides, not what came first in the batch.
    assert_eq!(
        numbers(home.store().store(&[message("m", "2"), message("m", "1")]).await.unwrap()),
        stored(0, 1, 1)
    );
}

pub(crate) async fn a_duplicate_is_known_after_its_row_is_gone(home: Home) {
    let store = home.store();
    store.store(&[message("m", "1")]).await.unwrap();
    home.execute("DELETE FROM inbound_event").await;
    assert_eq!(numbers(store.store(&[message("m", "1")]).await.unwrap()), stored(0, 1, 0));
    assert_eq!(numbers(store.store(&[message("m", "2")]).await.unwrap()), stored(0, 0, 1));
    assert!(message_ids(&home).await.is_empty());
}

pub(crate) async fn ids_that_differ_in_case_or_in_a_trailing_space_are_distinct(home: Home) {
    let ids = ["m", "M", "m ", " m", "é", "e\u{301}"];
    let batch = ids.map(|id| message(id, "1"));
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(6, 0, 0));
    assert_eq!(message_ids(&home).await, ids);
}

pub(crate) async fn the_same_id_on_another_topic_or_config_is_another_message(home: Home) {
    let elsewhere = InboxRow { topic: "event.a.b.d".to_owned(), ..row("m", "2") };
    // The parts of the key cannot run into each other.
    let shifted = InboxRow { topic: "event.a.b.cm".to_owned(), ..row("", "3") };
    let batch = [
        message("m", "1"),
        InboxEntry::Message(Box::new(elsewhere)),
        InboxEntry::Message(Box::new(shifted)),
    ];
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(3, 0, 0));
    let other = SqlStore::new(home.database.clone(), "other");
    assert_eq!(numbers(other.store(&batch).await.unwrap()), stored(3, 0, 0));
}

pub(crate) async fn a_nul_makes_a_message_unstorable_everywhere(home: Home) {
    let with_headers =
        InboxRow { headers: Some(r#"{"extra":"\u0000"}"#.to_owned()), ..row("h", "1") };
    let batch = [
        message("before", "1"),
        message("m\0", "1"),
        message("p", r#"{"a":"x\u0000"}"#),
        message("k", r#"{"\u0000":1}"#),
        InboxEntry::Message(Box::new(with_headers)),
        message("fine", r#"{"a":"\\u0000"}"#),
    ];
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(2, 0, 4));
    assert_eq!(message_ids(&home).await, ["before", "fine"]);
    let rows = quarantined(&home).await;
    assert!(rows.iter().all(|row| row.reason == reason::UNSTORABLE));
    assert!(
        rows.iter()
            .any(|row| row.body == b"body of m\0 with 1" && row.detail.contains("`message_id`"))
    );
    assert!(rows.iter().any(|row| row.detail.contains("`payload`")));
}

pub(crate) async fn a_culprit_is_set_apart_and_costs_the_others_nothing(home: Home) {
    let mut entries: Vec<_> =
        (0..20).map(|number| message(&format!("m-{number:02}"), "1")).collect();
    // The schema knows no such types; any check of the database's would do.
    let culprit = |id: &str| {
        InboxEntry::Message(Box::new(InboxRow { message_type: "telegram", ..row(id, "1") }))
    };
    entries.insert(7, culprit("first"));
    entries.insert(15, culprit("second"));
    let malformed = Quarantined {
        topic: "t".to_owned(),
        reason: reason::INVALID_JSON,
        detail: "d".to_owned(),
        original: Original::default(),
    };
    entries.push(InboxEntry::Quarantine(malformed));
    assert_eq!(numbers(home.store().store(&entries).await.unwrap()), stored(20, 0, 3));
    let expected: Vec<_> = (0..20).map(|number| format!("m-{number:02}")).collect();
    assert_eq!(message_ids(&home).await, expected);
    let rows = quarantined(&home).await;
    let mut bodies: Vec<_> = rows
        .iter()
        .filter(|row| row.reason == reason::UNSTORABLE)
        .map(|row| row.body.as_slice())
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, [b"body of first with 1".as_slice(), b"body of second with 1"]);
    assert!(
        rows.iter().any(|row| {
            ["CHECK", "check", "CONSTRAINT"].iter().any(|word| row.detail.contains(word))
        }),
        "{rows:?}"
    );
    // It was not noted as seen, or it would be lost once the database takes it.
    assert_eq!(home.count("SELECT count(*) FROM inbound_dedupe").await, 20);
}

pub(crate) async fn a_quarantined_message_is_kept_whatever_it_holds(home: Home) {
    let entry = |topic: &str, headers: &str| {
        let original = Original {
            body: Bytes::from_static(b"\xff\0\x80"),
            headers: Some(headers.to_owned()),
            ..Original::default()
        };
        InboxEntry::Quarantine(Quarantined {
            topic: topic.to_owned(),
            reason: reason::INVALID_JSON,
            detail: format!("nul \0 {}", "x".repeat(100_000)),
            original,
        })
    };
    let long_topic = "t".repeat(65_535);
    let batch = [
        entry("nul \0", r#"{"a":"\u0000"}"#),
        entry(&long_topic, "not json"),
        entry("t", r#"{"a":"\ud800"}"#),
    ];
    assert_eq!(numbers(home.store().store(&batch).await.unwrap()), stored(0, 0, 3));
    let rows = quarantined(&home).await;
    assert!(
        rows.iter()
            .all(|row| row.body == b"\xff\0\x80" && row.detail.starts_with("nul \u{fffd} x"))
    );
    let nul = rows.iter().find(|row| row.topic == "nul \u{fffd}").unwrap();
    let headers: serde_json::Value = serde_json::from_str(nul.headers.as_deref().unwrap()).unwrap();
    assert_eq!(headers, serde_json::json!({ "a": "\u{fffd}" }));
    assert_eq!(rows.iter().find(|row| row.topic == long_topic).unwrap().headers, None);
    assert!(serde_json::to_string(nul).unwrap().contains(r#""body":{"hex":"ff0080"}"#));
}

/// A bad message with this body, as it comes with these headers.
fn bad(body: &'static str, headers: &str, redelivered: bool) -> InboxEntry {
    InboxEntry::Quarantine(Quarantined {
        topic: "event.a.b.c".to_owned(),
        reason: reason::INVALID_JSON,
        detail: "what is wrong".to_owned(),
        original: Original {
            body: Bytes::from_static(body.as_bytes()),
            headers: Some(format!("{{\"headers\":{headers},\"properties\":{{}}}}")),
            redelivered,
            ..Original::default()
        },
    })
}

pub(crate) async fn a_message_delivered_again_is_in_quarantine_once(home: Home) {
    let store = home.store();
    let first = [bad("1", "{}", false), message("m", "1"), bad("2", "{\"x\":1}", false)];
    let kept = store.store(&first).await.unwrap().kept;
    assert_eq!(kept.iter().map(|kept| kept.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((kept[0].reason, kept[0].detail.as_str()), (reason::INVALID_JSON, "what is wrong"));

    // Delivered again, by a queue that counts; they are told of again.
    let again = [
        bad("1", "{\"x-delivery-count\":1}", true),
        bad("2", "{\"x\":1,\"x-delivery-count\":7}", true),
    ];
    let stored = store.store(&again).await.unwrap();
    assert_eq!((stored.duplicates, stored.quarantined, stored.kept.len()), (2, 0, 2));
    // Another body, other headers, another config, and one that the broker says is new.
    let others = [bad("3", "{}", true), bad("2", "{\"x\":2}", true), bad("1", "{}", false)];
    assert_eq!(numbers(store.store(&others).await.unwrap()), self::stored(0, 0, 3));
    let other = SqlStore::new(home.database.clone(), "other");
    assert_eq!(other.store(&[bad("1", "{}", true)]).await.unwrap().quarantined, 1);
    assert_eq!(quarantined(&home).await.len(), 6);
    quarantine::purge(&home.database, quarantine::Purge::All, None).await.unwrap();
    assert_eq!(store.store(&again).await.unwrap().quarantined, 2, "they were thrown away");
}

pub(crate) async fn a_replay_moves_a_message_into_the_inbox_or_changes_nothing(home: Home) {
    let store = home.store();
    store.store(&[message("m", "1"), bad("1", "{}", false), bad("2", "{}", false)]).await.unwrap();
    let ids: Vec<_> = quarantined(&home).await.into_iter().map(|row| row.id).collect();
    for (entry, expected) in [
        (message("m", "2"), reason::ID_CONFLICT),
        (message("n", r#""\u0000""#), reason::UNSTORABLE),
    ] {
        let kept = store.store_from_quarantine(&entry, &ids[0]).await.unwrap().unwrap_err();
        assert_eq!(kept.reason, expected);
    }
    assert_eq!(quarantined(&home).await.len(), 2);
    assert_eq!(message_ids(&home).await, ["m"]);
    let moved = store.store_from_quarantine(&message("n", "1"), &ids[0]).await.unwrap().unwrap();
    assert_eq!(moved, stored(1, 0, 0));
    // It is there already, and leaves quarantine all the same.
    let again = store.store_from_quarantine(&message("m", "1"), &ids[1]).await.unwrap().unwrap();
    assert_eq!(again, stored(0, 1, 0));
    assert_eq!(message_ids(&home).await, ["m", "n"]);
    assert_eq!(quarantined(&home).await, []);
}

pub(crate) async fn two_stores_may_take_the_same_messages_at_once(home: Home) {
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let store = SqlStore::new(home.neighbour().await, "default");
        tasks.spawn(async move {
            let mut total = stored(0, 0, 0);
            for round in 0..5 {
                let mut batch: Vec<_> =
                    (0..20).map(|number| message(&format!("m-{round}-{number}"), "1")).collect();
                batch.rotate_left(worker * 5);
                let one = store.store(&batch).await.unwrap();
                total = stored(total.inserted + one.inserted, total.duplicates + one.duplicates, 0);
            }
            total
        });
    }
    let totals = tasks.join_all().await;
    assert_eq!(totals.iter().map(|total| total.inserted).sum::<usize>(), 100);
    assert_eq!(totals.iter().map(|total| total.duplicates).sum::<usize>(), 300);
    assert_eq!(home.count("SELECT count(*) FROM inbound_event").await, 100);
}

pub(crate) async fn a_person_marks_messages_as_done_or_failed(home: Home) {
    let db = &home.database;
    home.store().store(&[message("m", "1")]).await.unwrap();
    let row = inbox::list(db, &Filter::default()).await.unwrap().remove(0);
    assert!(inbox::fail(db, &row.id, "why\0").await.unwrap());
    let failed = inbox::get(db, &row.id).await.unwrap().unwrap();
    assert_eq!((failed.status.as_str(), failed.processed), ("error", false));
    assert_eq!(failed.last_error.as_deref(), Some("why\u{fffd}"));
    let errors = Filter {
        status: Some("error".to_owned()),
        config_key: Some("default".to_owned()),
        limit: 1,
    };
    assert_eq!(inbox::list(db, &errors).await.unwrap(), std::slice::from_ref(&failed));

    assert!(inbox::done(db, &row.id).await.unwrap());
    let done = inbox::get(db, &row.id).await.unwrap().unwrap();
    assert_eq!((done.status.as_str(), done.processed, done.last_error), ("processed", true, None));
    assert!(done.processed_at.is_some());
    assert!(inbox::done(db, &row.id).await.unwrap());
    assert_eq!(inbox::get(db, &row.id).await.unwrap().unwrap().processed_at, done.processed_at);
    for nobody in ["nobody", "00000000-0000-4000-8000-000000000000"] {
        assert!(!inbox::done(db, nobody).await.unwrap());
        assert!(!inbox::fail(db, nobody, "why").await.unwrap());
        assert_eq!(inbox::get(db, nobody).await.unwrap(), None);
    }
}

pub(crate) async fn quarantine_is_purged_by_id_by_age_or_altogether(home: Home) {
    let db = &home.database;
    let store = home.store();
    store.store(&[message("m", "1")]).await.unwrap();
    store
        .store(&[message("m", "2"), message("m", "3"), message("m", "4"), message("m", "5")])
        .await
        .unwrap();
    let rows = quarantined(&home).await;
    assert_eq!(rows.len(), 4);
    assert_eq!(quarantine::get(db, &rows[0].id).await.unwrap().as_ref(), Some(&rows[0]));
    assert!(quarantine::remove(db, &rows[0].id).await.unwrap());
    assert!(!quarantine::remove(db, &rows[0].id).await.unwrap());
    assert_eq!(quarantine::get(db, &rows[0].id).await.unwrap(), None);
    let yesterday = home.seconds_from_now(-24 * 3600);
    let id = &rows[1].id;
    home.execute(&format!(
        "UPDATE quarantined_message SET received_at = {yesterday} WHERE id = '{id}'"
    ))
    .await;
    let hour = Purge::OlderThan(Duration::from_hours(1));
    assert_eq!(quarantine::purge(db, hour, Some("other")).await.unwrap(), 0);
    assert_eq!(quarantine::purge(db, hour, None).await.unwrap(), 1);
    assert_eq!(quarantine::purge(db, Purge::All, Some("other")).await.unwrap(), 0);
    assert_eq!(quarantine::purge(db, Purge::All, Some("default")).await.unwrap(), 2);
}
