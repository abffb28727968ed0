//! Text that would do harm as SQL.

use std::time::Duration;

use postroad_store::config;
use postroad_store::query::outbox::{Filter, Retry, get, list, retry};
use postroad_store::query::{inbox, quarantine, trace};
use postroad_store::{NewMessage, SqlStore, enqueue};
use postroad_worker_core::{
    InboxEntry, InboxStore, Original, OutboxStore, Outcome, Quarantined, Settlement, reason,
};
use serde_json::json;

use super::home::Home;
use super::inbox::message as arrived;

const HOSTILE: [&str; 8] = [
    "'; DROP TABLE outbound_event; --",
    "' OR '1'='1",
    "\" OR \"\"=\"",
    "`; DELETE FROM inbound_event; #",
    "\\'; DELETE FROM quarantined_message; -- ",
    "$1 ? %s {} :name",
    "1; UPDATE event_bus_runtime_config SET is_active = false",
    "/*! DROP TABLE outbound_event */ \u{2019}; \u{02bc}; --",
];

/// Every text that comes from outside is stored, read, compared and written again as it is.
pub(crate) async fn text_is_never_taken_for_sql(home: Home) {
    for text in HOSTILE {
        let store = SqlStore::new(home.database.clone(), text);
        let message = NewMessage {
            request_id: Some(text.to_owned()),
            ordering_key: Some(text.to_owned()),
            source_service: Some(text.to_owned()),
            headers: json!({ text: text }).as_object().cloned(),
            ..NewMessage::event(text, text, json!({ text: text })).config_key(text)
        };
        let id = enqueue(home.database.connection(), message).await.unwrap();
        let claim = store.claim(10, Duration::from_secs(30)).await.unwrap();
        let [row] = &claim.rows[..] else { panic!("{text}: {} rows", claim.rows.len()) };
        assert_eq!(row.columns.topic, text);
        assert_eq!(row.ordering_key.as_deref(), Some(text));
        assert!(row.columns.payload.contains(&json!(text).to_string()));
        assert_eq!(store.renew(text, Duration::from_secs(30)).await.unwrap(), 0);
        let outcome = Outcome::Failed(text.to_owned());
        assert_eq!(
            store
                .settle(text, &[Settlement { seq: row.seq, outcome: outcome.clone() }])
                .await
                .unwrap(),
            0
        );
        let settled = store.settle(&claim.token, &[Settlement { seq: row.seq, outcome }]).await;
        assert_eq!(settled.unwrap(), 1);

        let kept = get(&home.database, &id).await.unwrap().unwrap();
        assert_eq!(kept.last_error.as_deref(), Some(text));
        assert!(get(&home.database, text).await.unwrap().is_none());
        assert_eq!(retry(&home.database, Retry::Id(text)).await.unwrap(), 0);
        let filter = Filter {
            config_key: Some(text.to_owned()),
            status: Some("error".to_owned()),
            limit: 10,
        };
        assert_eq!(list(&home.database, &filter).await.unwrap().len(), 1);
        let none = Filter { status: Some(text.to_owned()), ..filter };
        assert!(list(&home.database, &none).await.unwrap().is_empty());

        let bad = InboxEntry::Quarantine(Quarantined {
            topic: text.to_owned(),
            reason: reason::INVALID_ENVELOPE,
            detail: text.to_owned(),
            original: Original::default(),
        });
        let stored = store.store(&[arrived(text, "1"), bad]).await.unwrap();
        assert_eq!((stored.inserted, stored.quarantined), (1, 1));
        assert!(inbox::get(&home.database, text).await.unwrap().is_none());
        assert!(!inbox::fail(&home.database, text, text).await.unwrap());
        assert_eq!(trace::trace(&home.database, text).await.unwrap().len(), 1);
        assert!(quarantine::get(&home.database, text).await.unwrap().is_none());
        assert!(config::load(&home.database, text).await.unwrap().is_none());
    }
    let of_each = i64::try_from(HOSTILE.len()).unwrap();
    for table in ["outbound_event", "inbound_event", "quarantined_message"] {
        assert_eq!(home.count(&format!("SELECT count(*) FROM {table}")).await, of_each, "{table}");
    }
}
