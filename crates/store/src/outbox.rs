//! The outbox as the engine sees it: claim and settle.

use std::time::Duration;

use postroad_envelope::OutboxColumns;
use postroad_fault_points::{Point, is_armed, reached};
use postroad_worker_core::{Claim, Hint, OutboxRow, OutboxStore, Outcome, Settlement, StoreError};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};
use serde::Serialize;
use uuid::Uuid;

use crate::dialect::Dialect;
use crate::fault::ask_again;
use crate::outbox_sql::{
    PEEK, RENEW, SETTLE_DELETED, SETTLE_ENDED, SETTLE_PENDING, SETTLE_PUBLISHED,
};
use crate::sql_store::SqlStore;
use crate::text::note;
use crate::turns::Turn;

/// Turns of a claim that finds something, at most.
const MOST_TURNS: usize = 3;

/// What a row says that was published where nothing confirms.
const UNACKNOWLEDGED: &str = "published without an acknowledgement of the broker (QoS 0)";

impl OutboxStore for SqlStore {
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claim, StoreError> {
        ask_again(|| self.try_claim(limit, lease)).await
    }

    async fn renew(&self, token: &str, lease: Duration) -> Result<usize, StoreError> {
        let values = [token.into(), millis(lease).into()];
        let statement = RENEW.bind(self.database().dialect(), values);
        ask_again(|| self.database().execute(statement.clone())).await
    }

    async fn woken(&self) -> Hint {
        self.wake().hint(self.database()).await
    }

    fn is_told(&self) -> bool {
        self.wake().is_told()
    }

    async fn settle(&self, token: &str, settlements: &[Settlement]) -> Result<usize, StoreError> {
        ask_again(|| self.try_settle(token, settlements)).await
    }
}

impl SqlStore {
    async fn try_claim(&self, limit: usize, lease: Duration) -> Result<Claim, DbErr> {
        self.mind_the_clock().await?;
        let token = Uuid::new_v4().to_string();
        // Where the last claim found nothing, this one will hardly find more.
        if self.is_quiet() && !self.peek().await? {
            return Ok(Claim { token, rows: Vec::new() });
        }
        let mut due: Vec<(String, OutboxRow)> = Vec::new();
        let mut turn = Some(self.turns().first(limit));
        let mut turns = 0;
        while let Some(now) = turn {
            let found = match self.claim_turn(&token, lease, &now).await {
                // What is claimed already is not given up for what might be.
                Err(_) if !due.is_empty() => break,
                found => found?,
            };
            turn = self.turns().next(&now, found.rows.len(), found.end.as_deref());
            due.extend(with_due(&found.rows)?);
            turns += 1;
            // A claim that took nothing has looked at every key; one that took something does not wait for that.
            if turns >= MOST_TURNS && !due.is_empty() {
                break;
            }
        }
        self.set_quiet(due.is_empty());
        // A database returns updated rows in any order.
        due.sort_by(|(a_due, a), (b_due, b)| (a_due, a.seq).cmp(&(b_due, b.seq)));
        Ok(Claim { token, rows: due.into_iter().map(|(_, row)| row).collect() })
    }

    async fn claim_turn(&self, token: &str, lease: Duration, turn: &Turn) -> Result<Taken, DbErr> {
        match self.database().dialect() {
            Dialect::Sqlite => self.claim_in_sqlite(token, lease, turn).await,
            Dialect::Postgres => self.claim_in_postgres(token, lease, turn).await,
            Dialect::MySql => self.claim_in_mysql(token, lease, turn).await,
        }
    }

    /// Whether a claim might find something, in one cheap question.
    async fn peek(&self) -> Result<bool, DbErr> {
        let statement = PEEK.bind(self.database().dialect(), [self.config_key().into()]);
        let row = self.database().query_one(statement).await?;
        let found: Option<i64> = row.map(|row| row.try_get("", "found")).transpose()?;
        Ok(found != Some(0))
    }

    async fn try_settle(&self, token: &str, settlements: &[Settlement]) -> Result<usize, DbErr> {
        let statements = self.settle_statements(token, settlements);
        // One statement is done or not done; to end in the middle of it takes a transaction.
        if let [statement] = statements.as_slice()
            && !is_armed(Point::InSettle)
        {
            return self.database().execute(statement.clone()).await;
        }
        let transaction = self.database().begin_own().await?;
        let mut settled = 0;
        for statement in statements {
            settled += execute(&transaction, statement).await?;
            reached(Point::InSettle);
        }
        transaction.commit().await?;
        Ok(settled)
    }

    /// At most one statement a kind of outcome, none where there is nothing of the kind.
    pub(crate) fn settle_statements(
        &self,
        token: &str,
        settlements: &[Settlement],
    ) -> Vec<Statement> {
        let mut published = Vec::new();
        let mut unacknowledged = Vec::new();
        let mut ended = Vec::new();
        let mut pending = Vec::new();
        for Settlement { seq, outcome } in settlements {
            let seq = *seq;
            match outcome {
                Outcome::Published => published.push(seq),
                Outcome::Unacknowledged => unacknowledged.push(seq),
                Outcome::Invalid(error) => {
                    ended.push(Ended { seq, status: "invalid", error: note(error) });
                }
                Outcome::Failed(error) => {
                    ended.push(Ended { seq, status: "error", error: note(error) });
                }
                Outcome::Retry { delay, error } => {
                    pending.push(Pending {
                        seq,
                        delay_ms: Some(millis(*delay)),
                        error: Some(note(error)),
                    });
                }
                Outcome::Released(error) => {
                    pending.push(Pending {
                        seq,
                        delay_ms: None,
                        error: error.as_deref().map(note),
                    });
                }
            }
        }
        let dialect = self.database().dialect();
        let mut statements = Vec::new();
        if self.deletes_on_publish() {
            published.append(&mut unacknowledged);
        }
        for (rows, remark) in [(published, None), (unacknowledged, Some(UNACKNOWLEDGED))] {
            if rows.is_empty() {
                continue;
            }
            let (token, keys) = (token.into(), dialect.keys(&rows));
            statements.push(if self.deletes_on_publish() {
                SETTLE_DELETED.bind(dialect, [token, keys])
            } else {
                SETTLE_PUBLISHED.bind(dialect, [token, keys, remark.into()])
            });
        }
        if !ended.is_empty() {
            statements.push(SETTLE_ENDED.bind(dialect, [token.into(), json(&ended).into()]));
        }
        if !pending.is_empty() {
            statements.push(SETTLE_PENDING.bind(dialect, [token.into(), json(&pending).into()]));
        }
        statements
    }
}

/// What a turn of a claim took.
pub(crate) struct Taken {
    /// Rows as they are in the table.
    pub(crate) rows: Vec<QueryResult>,
    /// The ordering key where the look at them ended, if there are more.
    pub(crate) end: Option<String>,
}

/// A row that is done with, unpublished.
#[derive(Serialize)]
struct Ended {
    seq: i64,
    status: &'static str,
    error: String,
}

/// A row that stays pending: refused once more where there is a delay, given back where there is none.
#[derive(Serialize)]
struct Pending {
    seq: i64,
    delay_ms: Option<i64>,
    error: Option<String>,
}

/// Rows with when they were due.
fn with_due(rows: &[QueryResult]) -> Result<Vec<(String, OutboxRow)>, DbErr> {
    rows.iter().map(|row| Ok((row.try_get("", "due")?, outbox_row(row)?))).collect()
}

pub(crate) async fn execute(
    db: &impl ConnectionTrait,
    statement: Statement,
) -> Result<usize, DbErr> {
    let result = db.execute_raw(statement).await?;
    Ok(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX))
}

fn outbox_row(row: &QueryResult) -> Result<OutboxRow, DbErr> {
    let columns = OutboxColumns {
        id: row.try_get("", "id")?,
        topic: row.try_get("", "topic")?,
        message_id: row.try_get("", "message_id")?,
        message_type: row.try_get("", "message_type")?,
        message_status: row.try_get("", "message_status")?,
        request_id: row.try_get("", "request_id")?,
        event_type: row.try_get("", "event_type")?,
        source_service: row.try_get("", "source_service")?,
        parent_request_id: row.try_get("", "parent_request_id")?,
        chain_depth: row.try_get("", "chain_depth")?,
        reply_to: row.try_get("", "reply_to")?,
        payload: row.try_get("", "payload")?,
    };
    Ok(OutboxRow {
        seq: row.try_get("", "seq")?,
        columns,
        headers: row.try_get("", "headers")?,
        retry_count: row.try_get("", "retry_count")?,
        // Times before 1970 are nobody's intention.
        created_at: row.try_get::<i64>("", "created_at")?.try_into().unwrap_or(0),
        ordering_key: row.try_get("", "ordering_key")?,
    })
}

fn json(rows: &impl Serialize) -> String {
    serde_json::to_string(rows).expect("text and numbers are JSON")
}

pub(crate) fn count(rows: usize) -> Value {
    i64::try_from(rows).unwrap_or(i64::MAX).into()
}

pub(crate) fn millis(duration: Duration) -> i64 {
    // Longer than a century is as good as for ever, and still a time that every database knows.
    const CENTURY: i64 = 100 * 366 * 24 * 3600 * 1000;
    i64::try_from(duration.as_millis()).unwrap_or(CENTURY).min(CENTURY)
}
