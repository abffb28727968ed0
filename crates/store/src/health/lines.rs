//! The lines of a check-up, each with a deadline.

use std::time::Duration;

use postroad_worker_core::{Finding, StoreError};
use sea_orm::DbErr;
use tokio::time::{Instant, timeout_at};

use crate::fault::{message, store_error};

/// For one line that a person waits for.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// For one line that a program waits for, which has time: above SQLite's wait for another writer.
const PATIENT: Duration = Duration::from_secs(30);
/// For all lines of a check-up.
const LIMIT: Duration = Duration::from_secs(15);

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) all: Vec<Finding>,
    /// The first error that says that the database does not answer.
    pub(super) unavailable: Option<StoreError>,
    /// When a person has waited for long enough.
    limit: Option<Instant>,
}

impl Lines {
    /// Ends altogether after fifteen seconds.
    pub(super) fn limited() -> Self {
        Self { limit: Some(Instant::now() + LIMIT), ..Self::default() }
    }

    /// One look at the database, which becomes a line whatever comes of it.
    pub(super) async fn add(
        &mut self,
        check: &str,
        look: impl Future<Output = Result<Finding, DbErr>>,
    ) {
        let (most, until) = self.limit.map_or((PATIENT, None), |until| (DEADLINE, Some(until)));
        let deadline = Instant::now() + most;
        let deadline = until.map_or(deadline, |until| until.min(deadline));
        let finding = match timeout_at(deadline, look).await {
            Ok(Ok(finding)) => finding,
            Ok(Err(error)) => self.failed(check, &error),
            Err(_) => {
                let text = format!("no answer within {} s", most.as_secs());
                self.unavailable
                    .get_or_insert_with(|| StoreError::Unavailable(text.clone().into()));
                Finding::warning(check, text, "run doctor again when the database is less busy")
            }
        };
        self.all.push(finding);
    }

    fn failed(&mut self, check: &str, error: &DbErr) -> Finding {
        let text = format!("cannot be checked: {}", message(error));
        match store_error(error) {
            error @ StoreError::Unavailable(_) => {
                self.unavailable.get_or_insert(error);
                Finding::failure(check, text, "the database broke off: look at its log")
            }
            _ => Finding::warning(check, text, "look at it as a user who has the permission"),
        }
    }
}

pub(super) fn no_answer() -> String {
    format!("no answer within {} s", DEADLINE.as_secs())
}
