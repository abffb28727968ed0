//! What a run does in each batch: look, delete, extend the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use postroad_worker_core::{Occasion, RowsByKind};
use sea_orm::{DbErr, FromQueryResult, Statement, Value};

use super::lease_sql::RENEW;
use super::sql::{
    DELETE_DEDUPE, DELETE_INBOX, DELETE_OUTBOX, DELETE_QUARANTINED, LOOK_DEDUPE, LOOK_INBOX,
    LOOK_OUTBOX,
};
use super::{CleaningRun, Cutoffs};
use crate::dialect::Sql;
use crate::outbox::{count, execute, millis};
use crate::sql_store::SqlStore;

/// So many rows in a row that are too young end a walk: more than one, because a person may have set a time by hand, and rows
/// of a long transaction may be out of order.
const YOUNG_ROWS: usize = 10_000;
/// Before every time in a table.
const BEGINNING: &str = "1970-01-01T00:00:00.000000";

/// Where a run is. Notes of messages come last, so that those whose row went in this run can go too.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    Outbox(Walk),
    Inbox(Walk),
    Quarantine,
    /// Time and key of the last one seen.
    Dedupe(String, String),
    Over,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Walk {
    /// The last row seen.
    after: i64,
    /// Rows seen since the last one that was old enough.
    young: usize,
}

/// What one look found: the deletes that are due, and where to go on.
type Found = (Vec<(Kind, Statement)>, Stage);

/// What one batch did.
pub(super) struct Step {
    pub(super) next: Stage,
    pub(super) deleted: RowsByKind,
    /// Whether the lease was extended.
    pub(super) is_renewed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Published,
    Processed,
    Error,
    Invalid,
    Quarantined,
    Dedupe,
}

/// A row on the walk.
#[derive(FromQueryResult)]
struct Seen {
    seq: i64,
    due: Option<String>,
    is_old: Option<bool>,
}

/// A note of a message that came.
#[derive(FromQueryResult)]
struct SeenNote {
    k: String,
    created: String,
    is_due: bool,
}

impl SqlStore {
    /// Looks, and deletes what is due; `None` where the lease is somebody else's.
    pub(super) async fn step(
        &self,
        run: &CleaningRun,
        rows: usize,
        lease: Duration,
    ) -> Result<Option<Step>, DbErr> {
        let (due, next) = match &run.stage {
            Stage::Outbox(walk) => self.outbox(run, *walk, rows).await?,
            Stage::Inbox(walk) => self.inbox(run, *walk, rows).await?,
            Stage::Quarantine => self.quarantine_stage(run, rows),
            Stage::Dedupe(time, key) => self.dedupe(run, time, key, rows).await?,
            Stage::Over => (Vec::new(), Stage::Over),
        };
        if due.is_empty() && run.renewed_at.elapsed() < lease / 3 {
            return Ok(Some(Step { next, deleted: RowsByKind::default(), is_renewed: false }));
        }
        let Some(deleted) = self.delete(run, due, lease).await? else { return Ok(None) };
        // The only stage that does not know beforehand how much there is.
        let is_empty = deleted.quarantined < rows as u64;
        let next = match run.stage {
            Stage::Quarantine if is_empty => after_quarantine(),
            _ => next,
        };
        Ok(Some(Step { next, deleted, is_renewed: true }))
    }

    /// All of it or, where the lease is somebody else's, nothing.
    async fn delete(
        &self,
        run: &CleaningRun,
        due: Vec<(Kind, Statement)>,
        lease: Duration,
    ) -> Result<Option<RowsByKind>, DbErr> {
        let transaction = self.database().begin_own().await?;
        let mut deleted = RowsByKind::default();
        for (kind, statement) in due {
            *kind.of(&mut deleted) += execute(&transaction, statement).await? as u64;
        }
        let RowsByKind { published, processed, error, invalid, quarantined, dedupe } = deleted;
        let [published, processed, error, invalid, quarantined, dedupe] =
            [published, processed, error, invalid, quarantined, dedupe].map(total);
        let values = [
            self.config_key().into(),
            run.token.as_str().into(),
            millis(lease).into(),
            published,
            processed,
            error,
            invalid,
            quarantined,
            dedupe,
        ];
        let renew = RENEW.bind(self.database().dialect(), values);
        if execute(&transaction, renew).await? == 0 {
            transaction.rollback().await?;
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(deleted))
    }

    async fn outbox(&self, run: &CleaningRun, walk: Walk, rows: usize) -> Result<Found, DbErr> {
        let Cutoffs { published, error, invalid, .. } = &run.cutoffs;
        let Some(latest) = [published, error, invalid].into_iter().flatten().max() else {
            return Ok((Vec::new(), Stage::Inbox(Walk::default())));
        };
        let values = [
            self.config_key().into(),
            walk.after.into(),
            count(rows),
            published.as_deref().into(),
            invalid.as_deref().into(),
            error.as_deref().into(),
            latest.as_str().into(),
        ];
        let seen = self.rows::<Seen>(LOOK_OUTBOX.bind(self.database().dialect(), values)).await?;
        let deletes = self.deletes(run, DELETE_OUTBOX, &seen);
        let next = walk
            .next(&seen, rows, run.occasion)
            .map_or(Stage::Inbox(Walk::default()), Stage::Outbox);
        Ok((deletes, next))
    }

    async fn inbox(&self, run: &CleaningRun, walk: Walk, rows: usize) -> Result<Found, DbErr> {
        let Cutoffs { processed, error, .. } = &run.cutoffs;
        let Some(latest) = [processed, error].into_iter().flatten().max() else {
            return Ok((Vec::new(), Stage::Quarantine));
        };
        let values = [
            self.config_key().into(),
            walk.after.into(),
            count(rows),
            processed.as_deref().into(),
            error.as_deref().into(),
            latest.as_str().into(),
        ];
        let seen = self.rows::<Seen>(LOOK_INBOX.bind(self.database().dialect(), values)).await?;
        let deletes = self.deletes(run, DELETE_INBOX, &seen);
        let next = walk.next(&seen, rows, run.occasion).map_or(Stage::Quarantine, Stage::Inbox);
        Ok((deletes, next))
    }

    fn quarantine_stage(&self, run: &CleaningRun, rows: usize) -> Found {
        let Some(cutoff) = &run.cutoffs.quarantined else {
            return (Vec::new(), after_quarantine());
        };
        let values = [self.config_key().into(), cutoff.as_str().into(), count(rows)];
        let delete = DELETE_QUARANTINED.bind(self.database().dialect(), values);
        (vec![(Kind::Quarantined, delete)], Stage::Quarantine)
    }

    async fn dedupe(
        &self,
        run: &CleaningRun,
        time: &str,
        key: &str,
        rows: usize,
    ) -> Result<Found, DbErr> {
        let Some(cutoff) = &run.cutoffs.dedupe else { return Ok((Vec::new(), Stage::Over)) };
        let dialect = self.database().dialect();
        let values = [
            self.config_key().into(),
            cutoff.as_str().into(),
            time.into(),
            key.into(),
            count(rows),
        ];
        let seen = self.rows::<SeenNote>(LOOK_DEDUPE.bind(dialect, values)).await?;
        let next = match seen.last() {
            Some(last) if seen.len() >= rows => Stage::Dedupe(last.created.clone(), last.k.clone()),
            _ => Stage::Over,
        };
        let mut due: Vec<_> =
            seen.iter().filter(|note| note.is_due).map(|note| note.k.as_str()).collect();
        due.sort_unstable();
        let due = match due.as_slice() {
            [] => Vec::new(),
            keys => {
                let keys = serde_json::to_string(keys).expect("text is JSON");
                vec![(Kind::Dedupe, DELETE_DEDUPE.bind(dialect, [keys.into()]))]
            }
        };
        Ok((due, next))
    }

    /// One statement for each state that was found due.
    fn deletes(&self, run: &CleaningRun, delete: Sql, seen: &[Seen]) -> Vec<(Kind, Statement)> {
        let mut due: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for row in seen {
            if let Some(status) = &row.due {
                due.entry(status).or_default().push(row.seq);
            }
        }
        let dialect = self.database().dialect();
        let statement = |(status, keys): (&str, Vec<i64>)| {
            let (kind, cutoff) = run.cutoffs.of_status(status)?;
            let values = [dialect.keys(&keys), status.into(), cutoff.into()];
            Some((kind, delete.bind(dialect, values)))
        };
        due.into_iter().filter_map(statement).collect()
    }

    async fn rows<T: FromQueryResult>(&self, statement: Statement) -> Result<Vec<T>, DbErr> {
        let rows = self.database().query_all(statement).await?;
        rows.iter().map(|row| T::from_query_result(row, "")).collect()
    }
}

impl Stage {
    pub(super) fn first() -> Self {
        Self::Outbox(Walk::default())
    }
}

impl Walk {
    /// How the walk goes on after these rows; `None` where it ends.
    fn next(self, seen: &[Seen], rows: usize, occasion: Occasion) -> Option<Self> {
        let is_old = |row: &Seen| row.due.is_some() || row.is_old == Some(true);
        let young = match seen.iter().rposition(is_old) {
            Some(last) => seen.len() - 1 - last,
            None => self.young + seen.len(),
        };
        let goes_on = occasion == Occasion::ByHand || young < YOUNG_ROWS;
        let last = seen.last().filter(|_| seen.len() >= rows && goes_on)?;
        Some(Self { after: last.seq, young })
    }
}

impl Cutoffs {
    /// What a row in that state counts as, and until when it is kept.
    fn of_status(&self, status: &str) -> Option<(Kind, &str)> {
        let (kind, cutoff) = match status {
            "published" => (Kind::Published, &self.published),
            "processed" => (Kind::Processed, &self.processed),
            "invalid" => (Kind::Invalid, &self.invalid),
            _ => (Kind::Error, &self.error),
        };
        Some((kind, cutoff.as_deref()?))
    }
}

impl Kind {
    fn of(self, rows: &mut RowsByKind) -> &mut u64 {
        match self {
            Self::Published => &mut rows.published,
            Self::Processed => &mut rows.processed,
            Self::Error => &mut rows.error,
            Self::Invalid => &mut rows.invalid,
            Self::Quarantined => &mut rows.quarantined,
            Self::Dedupe => &mut rows.dedupe,
        }
    }
}

fn after_quarantine() -> Stage {
    Stage::Dedupe(BEGINNING.to_owned(), String::new())
}

fn total(rows: u64) -> Value {
    i64::try_from(rows).unwrap_or(i64::MAX).into()
}
