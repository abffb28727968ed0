//! What went over the wire, and whether it is what should have.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use amqprs::channel::Channel;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::rabbit::Ear;
use super::sql::Sql;

/// Rows of the outbox that are looked at in one go.
const PAGE: usize = 20_000;

/// Writes down the messages of an ear in the order in which they came.
pub(crate) struct Recorder {
    queue: String,
    channel: Channel,
    mark: String,
    task: JoinHandle<Vec<Record>>,
}

/// One message, as small as it can be.
struct Record {
    id: String,
    body: u64,
}

/// What was found on the wire beside one copy of each row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Rows of the outbox.
    pub(crate) rows: usize,
    /// Copies beyond the first.
    pub(crate) repeated: usize,
    /// Different ordering keys.
    pub(crate) keys: usize,
}

impl Recorder {
    pub(super) fn start(ear: Ear) -> Self {
        let mark = Uuid::new_v4().to_string();
        let (queue, channel) = (ear.queue.clone(), ear.channel.clone());
        let task = tokio::spawn(record(ear, mark.clone()));
        Self { queue, channel, mark, task }
    }

    /// Ends the record, and compares it with the outbox: every row was sent, nothing else was, each copy of a message is the
    /// same to the byte, and rows with one ordering key came in the order of `seq`. A copy may come only right after
    /// the one before it: later ones of its key wait until it is settled.
    pub(crate) async fn compare(self, sql: &Sql) -> Tally {
        Ear::mark(&self.queue, &self.channel, &self.mark).await;
        let records = self.task.await.unwrap();
        let mut outbox = Outbox::read(sql).await;
        let mut bodies = HashMap::new();
        for record in &records {
            outbox.note(&record.id);
            let first = *bodies.entry(record.id.as_str()).or_insert(record.body);
            assert_eq!(first, record.body, "`{}` was sent with two bodies", record.id);
        }
        let rows = outbox.rows.len();
        let lost: Vec<_> =
            outbox.rows.keys().filter(|id| !bodies.contains_key(id.as_str())).take(10).collect();
        assert!(lost.is_empty(), "{} of {rows} rows, lost are {lost:?}..", bodies.len());
        Tally { rows, repeated: records.len() - rows, keys: outbox.newest.len() }
    }
}

async fn record(mut ear: Ear, mark: String) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let heard = ear.whenever().await;
        if heard.message_id() == mark {
            return records;
        }
        let mut hasher = DefaultHasher::new();
        heard.body.hash(&mut hasher);
        records.push(Record { id: heard.message_id().to_owned(), body: hasher.finish() });
    }
}

/// The rows that should have been sent, and how far each ordering key has come.
#[derive(Default)]
struct Outbox {
    rows: HashMap<String, Row>,
    newest: HashMap<String, i64>,
}

struct Row {
    seq: i64,
    key: Option<String>,
}

impl Outbox {
    async fn read(sql: &Sql) -> Self {
        let mut outbox = Self::default();
        let mut last = 0;
        loop {
            let page = sql
                .rows(&format!(
                    "SELECT seq, id, ordering_key FROM outbound_event WHERE seq > {last} ORDER BY seq LIMIT {PAGE}"
                ))
                .await;
            for row in &page {
                last = row["seq"].as_i64().unwrap();
                let key = row["ordering_key"].as_str().map(str::to_owned);
                outbox.rows.insert(row["id"].as_str().unwrap().to_owned(), Row { seq: last, key });
            }
            if page.len() < PAGE {
                return outbox;
            }
        }
    }

    fn note(&mut self, id: &str) {
        let row = self.rows.get(id).unwrap_or_else(|| panic!("`{id}` is no row's id"));
        if let Some(key) = &row.key {
            let newest = self.newest.entry(key.clone()).or_default();
            assert!(*newest <= row.seq, "key `{key}`: {} came after {newest}", row.seq);
            *newest = row.seq;
        }
    }
}
