//! Deduplication, conflicts and the states of an inbox row.

use std::collections::HashMap;

use postroad_store::SqlStore;
use postroad_store::query::inbox::{done, fail, list};
use postroad_store::query::outbox::Filter;
use postroad_worker_core::{InboxEntry, InboxRow, InboxStore, Original, Stored};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{same, try_sequences};
use crate::suite::home::Home;

/// Byte for byte they are different.
const IDS: [&str; 6] = ["m", "M", "m ", "é", "e\u{301}", "1"];
const TOPICS: [&str; 3] = ["event.a.b.c", "event.a.b.C", "a.request.b.c"];
/// The first two say the same.
const PAYLOADS: [&str; 4] = ["{\"n\":1}", "{ \"n\": 1 }", "{\"n\":2}", "null"];

#[derive(Debug, Clone)]
enum Step {
    /// A batch, taken by the first or the second worker.
    Store(bool, Vec<Message>),
    Done(Index),
    Fail(Index),
}

/// Id, topic, payload: places in the lists above.
type Message = (&'static str, &'static str, usize);

/// A row as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    message: Message,
    status: &'static str,
    last_error: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Model {
    rows: Vec<Row>,
    first: HashMap<(&'static str, &'static str), usize>,
    quarantined: i64,
}

impl Model {
    /// What comes of one message.
    fn store(&mut self, message: Message, stored: &mut Stored) {
        let (id, topic, payload) = message;
        match self.first.get(&(id, topic)) {
            None => {
                self.first.insert((id, topic), payload);
                self.rows.push(Row { message, status: "pending", last_error: None });
                stored.inserted += 1;
            }
            Some(first) if meaning(*first) == meaning(payload) => stored.duplicates += 1,
            Some(_) => {
                self.quarantined += 1;
                stored.quarantined += 1;
            }
        }
    }
}

fn meaning(payload: usize) -> usize {
    payload.max(1)
}

fn step() -> impl Strategy<Value = Step> {
    let message = (select(&IDS[..]), select(&TOPICS[..]), 0..PAYLOADS.len());
    prop_oneof![
        6 => (any::<bool>(), vec(message, 0..6)).prop_map(|(second, batch)| Step::Store(second, batch)),
        1 => any::<Index>().prop_map(Step::Done),
        1 => any::<Index>().prop_map(Step::Fail),
    ]
}

pub(super) async fn try_it(home: Home) {
    let neighbour = home.neighbour().await;
    try_sequences(vec(step(), 1..20), async |steps| {
        for table in ["inbound_event", "inbound_dedupe", "quarantined_message"] {
            home.execute(&format!("DELETE FROM {table}")).await;
        }
        let workers = [home.store(), SqlStore::new(neighbour.clone(), "default")];
        let mut model = Model::default();
        for (number, step) in steps.iter().enumerate() {
            let told = |why| format!("step {number}, {step:?}: {why}");
            take(&home, &workers, &mut model, step).await.map_err(told)?;
            compare(&home, &model).await.map_err(told)?;
        }
        Ok(())
    })
    .await;
    neighbour.close().await;
}

async fn take(
    home: &Home,
    workers: &[SqlStore; 2],
    model: &mut Model,
    step: &Step,
) -> Result<(), String> {
    match step {
        Step::Store(second, batch) => {
            let entries: Vec<_> = batch.iter().map(|message| entry(*message)).collect();
            let mut stored = workers[usize::from(*second)].store(&entries).await.unwrap();
            same("kept", stored.kept.len(), stored.quarantined)?;
            stored.kept.clear();
            let mut expected = Stored::default();
            for message in batch {
                model.store(*message, &mut expected);
            }
            same("stored", stored, expected)?;
        }
        Step::Done(row) | Step::Fail(row) if !model.rows.is_empty() => {
            let place = row.index(model.rows.len());
            let rows = list(&home.database, &Filter::default()).await.unwrap();
            let id = &rows[rows.len() - 1 - place].id;
            let row = &mut model.rows[place];
            let found = if matches!(step, Step::Done(_)) {
                (row.status, row.last_error) = ("processed", None);
                done(&home.database, id).await
            } else {
                (row.status, row.last_error) = ("error", Some("broken"));
                fail(&home.database, id, "broken").await
            };
            same("found", found.unwrap(), true)?;
        }
        // There is no row yet.
        Step::Done(_) | Step::Fail(_) => {}
    }
    Ok(())
}

async fn compare(home: &Home, model: &Model) -> Result<(), String> {
    let rows = list(&home.database, &Filter::default()).await.unwrap();
    same("rows", rows.len(), model.rows.len())?;
    for (found, row) in rows.iter().rev().zip(&model.rows) {
        let (id, topic, payload) = row.message;
        same("message_id", found.message_id.as_str(), id)?;
        same("topic", found.topic.as_str(), topic)?;
        same("status", found.status.as_str(), row.status)?;
        same("processed", found.processed, row.status == "processed")?;
        same("last_error", found.last_error.as_deref(), row.last_error)?;
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        same("payload", json(&found.payload), json(PAYLOADS[payload]))?;
    }
    let quarantined = home.count("SELECT count(*) FROM quarantined_message").await;
    same("quarantined", quarantined, model.quarantined)
}

fn entry((id, topic, payload): Message) -> InboxEntry {
    InboxEntry::Message(Box::new(InboxRow {
        topic: topic.to_owned(),
        message_id: id.to_owned(),
        message_type: "event",
        message_status: None,
        request_id: None,
        event_type: Some("c".to_owned()),
        reply_to: None,
        source_service: Some("a".to_owned()),
        parent_request_id: None,
        chain_depth: 0,
        payload: PAYLOADS[payload].to_owned(),
        headers: None,
        fingerprint: None,
        original: Original::default(),
    }))
}
