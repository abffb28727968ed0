//! What a database error means for the one who asked.

use std::future::Future;
use std::time::Duration;

use postroad_worker_core::StoreError;
use sea_orm::sqlx;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// No answer for this long means that none is coming. Above SQLite's wait for the write lock.
const DEADLINE: Duration = Duration::from_secs(30);

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The same call is right to repeat.
    Unavailable,
    /// A value of this very message is not to the database's liking.
    Data,
    /// A person is needed.
    Refused,
}

/// The database's own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// Makes one call to the database, in the words of a store.
pub(crate) async fn ask<T>(
    call: impl Future<Output = Result<T, DbErr>> + Send,
) -> Result<T, StoreError> {
    within_deadline(call).await?.map_err(|error| store_error(&error))
}

/// Makes one call to the database, and gives up on an answer that does not come.
pub(crate) async fn within_deadline<T>(
    call: impl Future<Output = T> + Send,
) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, call).await.map_err(|_| {
        let seconds = DEADLINE.as_secs();
        StoreError::Unavailable(Box::new(Cause(format!("no answer within {seconds} seconds"))))
    })
}

pub(crate) fn store_error(error: &DbErr) -> StoreError {
    let cause = Box::new(Cause(message(error)));
    match fault(error) {
        Fault::Unavailable => StoreError::Unavailable(cause),
        Fault::Data | Fault::Refused => StoreError::Refused(cause),
    }
}

/// The error in the database's words, without the layers that wrapped it.
pub(crate) fn message(error: &DbErr) -> String {
    match (error, driver_error(error)) {
        (DbErr::ConnectionAcquire(ConnAcquireErr::Timeout), _) => {
            "no connection in time: it is down, unreachable or busy".to_owned()
        }
        (_, Some(sqlx::Error::Database(inner))) => match inner.code() {
            Some(code) => format!("{} (code {code})", inner.message()),
            None => inner.message().to_owned(),
        },
        (_, Some(inner)) => inner.to_string(),
        (other, None) => other.to_string(),
    }
}

pub(crate) fn fault(error: &DbErr) -> Fault {
    match (error, driver_error(error)) {
        (_, Some(sqlx::Error::Database(inner))) => {
            let code = inner.code().unwrap_or_default();
            if inner.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                sqlite_fault(&code)
            } else {
                sqlstate_fault(&code)
            }
        }
        (
            _,
            Some(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed,
            ),
        )
        | (DbErr::ConnectionAcquire(_), None) => Fault::Unavailable,
        _ => Fault::Refused,
    }
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => Some(inner),
        _ => None,
    }
}

/// By SQLSTATE: its first two characters are the class.
fn sqlstate_fault(code: &str) -> Fault {
    match code.get(..2).unwrap_or_default() {
        // Connection, deadlock, resources, locks, an operator's hand, the system.
        "08" | "40" | "53" | "55" | "57" | "58" => Fault::Unavailable,
        // A value that does not fit: data, constraint, a limit of the program.
        "22" | "23" | "54" => Fault::Data,
        _ => Fault::Refused,
    }
}

/// By SQLite's result code: its lowest byte is the primary one.
fn sqlite_fault(code: &str) -> Fault {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL, SCHEMA.
        5 | 6 | 7 | 9 | 10 | 13 | 15 | 17 => Fault::Unavailable,
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => Fault::Data,
        _ => Fault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadlock_a_restart_and_a_full_disk_are_worth_repeating() {
        for code in ["40001", "40P01", "57P01", "57P03", "53300", "53100", "08006"] {
            assert_eq!(sqlstate_fault(code), Fault::Unavailable, "{code}");
        }
        // SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT, SQLITE_FULL.
        for code in ["5", "517", "13"] {
            assert_eq!(sqlite_fault(code), Fault::Unavailable, "{code}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_the_messages_own_fault() {
        for code in ["22P05", "22021", "23514", "54000"] {
            assert_eq!(sqlstate_fault(code), Fault::Data, "{code}");
        }
        // SQLITE_CONSTRAINT_CHECK.
        assert_eq!(sqlite_fault("275"), Fault::Data);
    }

    #[test]
    fn a_missing_table_or_a_wrong_password_needs_a_person() {
        for code in ["42P01", "42501", "28P01", "3D000"] {
            assert_eq!(sqlstate_fault(code), Fault::Refused, "{code}");
        }
        assert_eq!(sqlite_fault("1"), Fault::Refused);
    }
}
