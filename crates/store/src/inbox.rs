//! The inbox as the engine sees it: a batch of messages in one transaction.

use std::collections::{HashMap, HashSet};

use postroad_fault_points::{Point, reached};
use postroad_worker_core::{InboxEntry, InboxStore, Kept, Quarantined, StoreError, Stored, reason};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Value};
use serde::Serialize;

use crate::arrival::{Arrival, arrival_digest, unstorable, without_headers};
use crate::dialect::Dialect;
use crate::fault::{
    DEADLOCKS, Fault, ask, fault, is_deadlock, message, store_error, too_large, within_deadline,
};
use crate::inbox_sql::{
    CLAIM_KEYS, CLAIMED_KEYS, DELETE_KEPT, INSERT_ROWS, IS_KEPT, KNOWN, QUARANTINE,
};
use crate::sql_store::SqlStore;
use crate::text::{json_without_nul, note, without_nul};

impl InboxStore for SqlStore {
    async fn store(&self, entries: &[InboxEntry]) -> Result<Stored, StoreError> {
        let arrivals: Vec<_> =
            entries.iter().enumerate().map(|at| Arrival::new(self.config_key(), at)).collect();
        let mut total = Stored::default();
        let mut deadlocks = 0;
        // Depth first and left to right, so that rows are stored in the order in which they came.
        let mut batches = vec![arrivals.as_slice()];
        while let Some(batch) = batches.pop() {
            let stored = match within_deadline(self.store_batch(batch)).await? {
                // What was the victim of another transaction is right to repeat.
                Err(error) if is_deadlock(&error) && deadlocks < DEADLOCKS => {
                    deadlocks += 1;
                    batches.push(batch);
                    continue;
                }
                Err(error) if fault(&error) == Fault::Data => match batch {
                    [] => return Err(store_error(&error)),
                    [culprit] => self.set_apart(culprit, &message(&error)).await?,
                    _ => {
                        let (left, right) = batch.split_at(batch.len() / 2);
                        batches.extend([right, left]);
                        continue;
                    }
                },
                outcome => outcome.map_err(|error| store_error(&error))?,
            };
            total.inserted += stored.inserted;
            total.duplicates += stored.duplicates;
            total.quarantined += stored.quarantined;
            total.kept.extend(stored.kept);
        }
        Ok(total)
    }
}

impl SqlStore {
    /// Stores a message that is in quarantine under this id as if it arrived now, and takes it out of there, all at once.
    /// `Err` inside: it cannot be a row for this reason, and nothing has changed.
    pub async fn store_from_quarantine(
        &self,
        entry: &InboxEntry,
        id: &str,
    ) -> Result<Result<Stored, Kept>, StoreError> {
        let batch = [Arrival::new(self.config_key(), (0, entry))];
        match within_deadline(self.move_into_inbox(&batch, id)).await? {
            Err(error) if fault(&error) == Fault::Data => {
                Ok(Err(Kept { index: 0, reason: reason::UNSTORABLE, detail: message(&error) }))
            }
            outcome => outcome.map_err(|error| store_error(&error)),
        }
    }

    async fn move_into_inbox(
        &self,
        batch: &[Arrival<'_>],
        id: &str,
    ) -> Result<Result<Stored, Kept>, DbErr> {
        let transaction = self.database().begin_own().await?;
        let mut stored = self.store_in(&transaction, batch).await?;
        if let Some(kept) = stored.kept.pop() {
            transaction.rollback().await?;
            return Ok(Err(kept));
        }
        let delete = DELETE_KEPT.bind(self.database().dialect(), [id.into()]);
        transaction.execute_raw(delete).await?;
        transaction.commit().await?;
        Ok(Ok(stored))
    }

    /// Stores all of a batch or nothing.
    async fn store_batch(&self, batch: &[Arrival<'_>]) -> Result<Stored, DbErr> {
        if batch.is_empty() {
            return Ok(Stored::default());
        }
        let transaction = self.database().begin_own().await?;
        let stored = self.store_in(&transaction, batch).await?;
        reached(Point::AfterInsertBeforeCommit);
        transaction.commit().await?;
        Ok(stored)
    }

    async fn store_in(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[Arrival<'_>],
    ) -> Result<Stored, DbErr> {
        let fresh = self.insert_fresh(transaction, batch).await?;
        let mut stored = Stored { inserted: fresh.len(), ..Stored::default() };
        for (index, conflict) in self.conflicts(transaction, batch, &fresh, &mut stored).await? {
            self.keep(transaction, index, &conflict, &mut stored).await?;
        }
        for arrival in batch {
            if let Some(entry) = arrival.quarantined() {
                self.keep(transaction, arrival.index(), entry, &mut stored).await?;
            }
        }
        Ok(stored)
    }

    /// Inserts what was never seen before, in the database or in this batch, and returns the new rows' ids.
    async fn insert_fresh(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[Arrival<'_>],
    ) -> Result<HashSet<String>, DbErr> {
        let mut keys: Vec<_> = batch.iter().filter_map(Arrival::key).collect();
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        // Stable: of equal keys the first that came stays.
        keys.sort_by(|a, b| a.key.cmp(b.key));
        keys.dedup_by(|later, first| later.key == first.key);
        let dialect = self.database().dialect();
        let seen = CLAIM_KEYS.bind(dialect, [self.config_key().into(), json(&keys).into()]);
        let fresh = match dialect {
            Dialect::Sqlite | Dialect::Postgres => transaction.query_all_raw(seen).await?,
            Dialect::MySql => {
                transaction.execute_raw(seen).await?;
                let claimed = dialect.statement(CLAIMED_KEYS, &[json(&keys).into()]);
                transaction.query_all_raw(claimed).await?
            }
        };
        let mut fresh: HashSet<String> =
            fresh.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
        // What is known from before is known by the id of another arrival.
        let own: HashSet<_> = keys.iter().map(|key| key.id).collect();
        fresh.retain(|id| own.contains(id.as_str()));
        let rows: Vec<_> =
            batch.iter().filter_map(Arrival::row).filter(|row| fresh.contains(row.id)).collect();
        if !rows.is_empty() {
            let rows = json(&rows);
            let most = self.most_bytes(transaction, rows.len()).await?;
            if rows.len() > most {
                return Err(too_large(rows.len(), most));
            }
            let insert = INSERT_ROWS.bind(dialect, [self.config_key().into(), rows.into()]);
            transaction.execute_raw(insert).await?;
        }
        Ok(fresh)
    }

    /// Compares what was seen before with what is known of it: counts the duplicates, returns the conflicts.
    async fn conflicts(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[Arrival<'_>],
        fresh: &HashSet<String>,
        stored: &mut Stored,
    ) -> Result<Vec<(usize, Quarantined)>, DbErr> {
        let seen: Vec<_> = batch
            .iter()
            .filter(|arrival| arrival.key().is_some_and(|key| !fresh.contains(key.id)))
            .collect();
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> =
            seen.iter().filter_map(|arrival| arrival.key()).map(|key| key.key).collect();
        let mut known = HashMap::new();
        for row in transaction
            .query_all_raw(KNOWN.bind(self.database().dialect(), [json(&keys).into()]))
            .await?
        {
            let (digest, payload): (String, Option<String>) =
                (row.try_get("", "digest")?, row.try_get("", "payload")?);
            known.insert(row.try_get::<String>("", "key")?, (digest, payload));
        }
        let mut conflicts = Vec::new();
        for arrival in seen {
            let first = arrival.key().and_then(|key| known.get(key.key));
            match first
                .and_then(|(digest, payload)| arrival.conflict_with(digest, payload.as_deref()))
            {
                Some(conflict) => conflicts.push((arrival.index(), conflict)),
                None => stored.duplicates += 1,
            }
        }
        Ok(conflicts)
    }

    /// Keeps a message that the database would not take, by itself; without its headers where those are the trouble.
    async fn set_apart(&self, arrival: &Arrival<'_>, why: &str) -> Result<Stored, StoreError> {
        let culprit = match arrival.entry() {
            InboxEntry::Message(row) => unstorable(row, why.to_owned()),
            InboxEntry::Quarantine(entry) => entry.clone(),
        };
        let index = arrival.index();
        match within_deadline(self.keep_alone(index, &culprit)).await? {
            Err(error) if fault(&error) == Fault::Data => {
                ask(self.keep_alone(index, &without_headers(&culprit))).await
            }
            outcome => outcome.map_err(|error| store_error(&error)),
        }
    }

    async fn keep_alone(&self, index: usize, culprit: &Quarantined) -> Result<Stored, DbErr> {
        let transaction = self.database().begin_own().await?;
        let mut stored = Stored::default();
        self.keep(&transaction, index, culprit, &mut stored).await?;
        transaction.commit().await?;
        Ok(stored)
    }

    /// How many bytes of a value the database takes at once, where it has a limit that so many may reach.
    async fn most_bytes(&self, db: &impl ConnectionTrait, bytes: usize) -> Result<usize, DbErr> {
        let dialect = self.database().dialect();
        if dialect != Dialect::MySql || bytes < SMALL {
            return Ok(usize::MAX);
        }
        let none: [Value; 0] = [];
        let row = db.query_one_raw(dialect.statement(MOST_BYTES, none)).await?;
        let most: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        // The rest of the statement, and a row's other values.
        Ok(usize::try_from(most).unwrap_or(0).saturating_sub(OTHER_BYTES).max(SMALL))
    }

    /// Puts a message into quarantine, where it was not put when it was delivered before.
    async fn keep(
        &self,
        db: &impl ConnectionTrait,
        index: usize,
        entry: &Quarantined,
        stored: &mut Stored,
    ) -> Result<(), DbErr> {
        let digest = arrival_digest(self.config_key(), entry);
        if entry.original.redelivered && self.is_kept(db, &digest).await? {
            stored.duplicates += 1;
        } else {
            self.quarantine(db, entry, digest).await?;
            stored.quarantined += 1;
        }
        stored.kept.push(Kept { index, reason: entry.reason, detail: entry.detail.clone() });
        Ok(())
    }

    async fn is_kept(&self, db: &impl ConnectionTrait, digest: &[u8]) -> Result<bool, DbErr> {
        let kept = IS_KEPT.bind(self.database().dialect(), [digest.to_vec().into()]);
        Ok(db.query_one_raw(kept).await?.is_some())
    }

    /// In one row, or in several that hold a part of the body each where the database does not take it at once. The digest by
    /// which it is known again goes with the last.
    async fn quarantine(
        &self,
        db: &impl ConnectionTrait,
        entry: &Quarantined,
        digest: Vec<u8>,
    ) -> Result<(), DbErr> {
        let body = &entry.original.body;
        let most = self.most_bytes(db, body.len()).await?;
        let parts: Vec<_> =
            if body.is_empty() { vec![&body[..]] } else { body.chunks(most).collect() };
        let mut digest = Some(digest);
        for (index, part) in parts.iter().enumerate() {
            let number = index + 1;
            let detail = if parts.len() == 1 {
                entry.detail.clone()
            } else {
                let (count, bytes) = (parts.len(), body.len());
                let of = format!("part {number} of {count} of a message of {bytes} bytes");
                format!("{of}, as max_allowed_packet takes no more at once: {}", entry.detail)
            };
            let values: [Value; 7] = [
                self.config_key().into(),
                without_nul(&entry.topic).into(),
                entry.reason.into(),
                note(&detail).into(),
                part.to_vec().into(),
                entry.original.headers.as_deref().map(json_without_nul).into(),
                if number == parts.len() { digest.take() } else { None }.into(),
            ];
            db.execute_raw(QUARANTINE.bind(self.database().dialect(), values)).await?;
        }
        Ok(())
    }
}

/// For all but the one large value of a statement.
const OTHER_BYTES: usize = 128 << 10;
/// What any server takes: [`enqueue_all`](crate::enqueue_all) needs as much.
const SMALL: usize = 512 << 10;
/// Of this connection.
const MOST_BYTES: &str = "SELECT CAST(@@max_allowed_packet AS signed)";

fn json(rows: &impl Serialize) -> String {
    serde_json::to_string(rows).expect("text and numbers are JSON")
}
