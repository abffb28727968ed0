//! Deleting what was kept for long enough, batch by batch.
//!
//! Rows of outbox and inbox are found by walking the primary key from its beginning, because an index by time would cost
//! every published row a write. The walk ends where rows are too young to be due: none can be done with before it was made.

mod lease_sql;
pub(crate) mod sql;
mod stages;

use std::time::{Duration, Instant};

use postroad_worker_core::{Begun, Cleaned, Maintenance, Occasion, RunEnd, StoreError};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use self::lease_sql::{CREATE, END, TAKE, WAIT};
use self::sql::CUTOFFS;
use self::stages::Stage;
use crate::Database;
use crate::fault::ask_again;
use crate::outbox::millis;
use crate::sql_store::SqlStore;
use crate::text::note;

/// A run under way.
#[derive(Debug)]
pub struct CleaningRun {
    token: String,
    occasion: Occasion,
    cutoffs: Cutoffs,
    stage: Stage,
    renewed_at: Instant,
}

/// Times before which each kind is deleted, as the database reads them; `None` where it is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default, FromQueryResult)]
pub(crate) struct Cutoffs {
    pub(crate) published: Option<String>,
    pub(crate) processed: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) invalid: Option<String>,
    pub(crate) quarantined: Option<String>,
    pub(crate) dedupe: Option<String>,
}

impl Maintenance for SqlStore {
    type Run = CleaningRun;

    async fn begin(
        &self,
        occasion: Occasion,
        lease: Duration,
        first: Duration,
    ) -> Result<Begun<CleaningRun>, StoreError> {
        ask_again(|| self.try_begin(occasion, lease, first)).await
    }

    async fn clean(
        &self,
        run: &mut CleaningRun,
        rows: usize,
        lease: Duration,
    ) -> Result<Cleaned, StoreError> {
        let Some(step) = ask_again(|| self.step(run, rows, lease)).await? else {
            return Ok(Cleaned::LeaseLost);
        };
        if step.is_renewed {
            run.renewed_at = Instant::now();
        }
        run.stage = step.next;
        Ok(match run.stage {
            Stage::Over => Cleaned::All(step.deleted),
            _ => Cleaned::Some(step.deleted),
        })
    }

    async fn end(
        &self,
        run: &CleaningRun,
        end: &RunEnd,
        next: Option<Duration>,
    ) -> Result<(), StoreError> {
        let result = match end {
            RunEnd::Complete => "complete".to_owned(),
            RunEnd::Stopped => "stopped".to_owned(),
            RunEnd::LeaseLost => return Ok(()),
            RunEnd::Failed(why) => note(&format!("failed: {why}")),
        };
        let values = [
            self.config_key().into(),
            run.token.as_str().into(),
            result.into(),
            next.map(millis).into(),
        ];
        let statement = END.bind(self.database().dialect(), values);
        ask_again(|| self.database().execute(statement.clone())).await.map(drop)
    }
}

impl SqlStore {
    async fn try_begin(
        &self,
        occasion: Occasion,
        lease: Duration,
        first: Duration,
    ) -> Result<Begun<CleaningRun>, DbErr> {
        let token = Uuid::new_v4().to_string();
        let mut is_taken = self.take(&token, occasion, lease).await?;
        if !is_taken {
            if let Some(wait) = self.wait().await? {
                return Ok(Begun::Later(wait));
            }
            let values = [self.config_key().into(), millis(first).into()];
            let create = CREATE.bind(self.database().dialect(), values);
            self.database().execute(create).await?;
            is_taken = occasion == Occasion::ByHand && self.take(&token, occasion, lease).await?;
        }
        if !is_taken {
            return Ok(Begun::Later(first));
        }
        let cutoffs = cutoffs(self.database(), self.config_key()).await?.unwrap_or_default();
        let stage = Stage::first();
        Ok(Begun::Run(CleaningRun { token, occasion, cutoffs, stage, renewed_at: Instant::now() }))
    }

    async fn take(&self, token: &str, occasion: Occasion, lease: Duration) -> Result<bool, DbErr> {
        let by_hand = occasion == Occasion::ByHand;
        let values = [self.config_key().into(), token.into(), millis(lease).into(), by_hand.into()];
        let take = TAKE.bind(self.database().dialect(), values);
        Ok(self.database().execute(take).await? > 0)
    }

    /// How long until the lease may be there to take; `None` where the config has none yet.
    async fn wait(&self) -> Result<Option<Duration>, DbErr> {
        let ask = WAIT.bind(self.database().dialect(), [self.config_key().into()]);
        let row = self.database().query_one(ask).await?;
        let seconds = row.map(|row| row.try_get::<i64>("", "seconds")).transpose()?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())))
    }
}

/// The times of a config; `None` where there is no such config.
pub(crate) async fn cutoffs(db: &Database, config_key: &str) -> Result<Option<Cutoffs>, DbErr> {
    let row = CUTOFFS.bind(db.dialect(), [config_key.into()]);
    let row = db.connection().query_one_raw(row).await?;
    row.map(|row| Cutoffs::from_query_result(&row, "")).transpose()
}
