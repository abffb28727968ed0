//! What a database error means for the one who asked.

use std::future::Future;
use std::time::Duration;

use postroad_tls::{Names, explain};
use postroad_worker_core::StoreError;
use sea_orm::sqlx;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// No answer for this long means that none is coming. Above SQLite's wait for the write lock.
const DEADLINE: Duration = Duration::from_secs(30);

/// In the words of sqlx.
const NO_TLS: &str = "server does not support TLS";

/// So often in a row one call loses to others before that is told.
pub(crate) const DEADLOCKS: usize = 5;

/// SQLite's primary result code where a lock is taken.
const SQLITE_BUSY: u32 = 5;

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

/// Makes one call to the database, again where it was the victim of a deadlock. Each attempt must be a transaction of its
/// own.
pub(crate) async fn ask_again<T, F>(mut call: impl FnMut() -> F + Send) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, DbErr>> + Send,
{
    for _ in 0..DEADLOCKS {
        match within_deadline(call()).await? {
            Err(error) if is_deadlock(&error) => {}
            outcome => return outcome.map_err(|error| store_error(&error)),
        }
    }
    ask(call()).await
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
            Some(code) => format!("{} (code {code}){}", inner.message(), advice(&code)),
            None => inner.message().to_owned(),
        },
        (_, Some(inner)) => tls_problem(inner).unwrap_or_else(|| inner.to_string()),
        (DbErr::Custom(text), None) => text.clone(),
        (other, None) => other.to_string(),
    }
}

/// What is not even sent, because a server that gets it may end the connection without a word.
pub(crate) fn too_large(bytes: usize, most: usize) -> DbErr {
    DbErr::Custom(format!(
        "{TOO_LARGE}: {bytes} bytes as they are sent, {most} fit into max_allowed_packet of the database"
    ))
}

const TOO_LARGE: &str = "larger than the database takes";

/// A server says no more to whom it does not know.
fn advice(code: &str) -> &'static str {
    match code {
        "28000" => {
            "; is the user name or password right, or does it demand a client certificate (`ssl-cert`, `ssl-key`)?"
        }
        _ => "",
    }
}

/// What TLS has to say.
fn tls_problem(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Io(error) => explain(error, "the database", Names::URL),
        sqlx::Error::Tls(error) => explain(&**error, "the database", Names::URL).or_else(|| {
            (error.to_string() == NO_TLS).then(|| {
                "the database does not speak TLS: switch it on there, \
                 or write `sslmode=disable&allow_plaintext=true` in its URL"
                    .to_owned()
            })
        }),
        _ => None,
    }
}

pub(crate) fn fault(error: &DbErr) -> Fault {
    match (error, driver_error(error)) {
        (_, Some(sqlx::Error::Database(inner))) => {
            let code = inner.code().unwrap_or_default();
            if inner.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                sqlite_fault(&code)
            } else if let Some(inner) = inner.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            {
                mysql_fault(inner.number(), &code)
            } else {
                sqlstate_fault(&code)
            }
        }
        (
            _,
            Some(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                // The URL was read before anything was connected; what is left are the files of TLS.
                | sqlx::Error::Configuration(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed,
            ),
        )
        | (DbErr::ConnectionAcquire(_), None) => Fault::Unavailable,
        (DbErr::Custom(text), None) if text.starts_with(TOO_LARGE) => Fault::Data,
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

/// By MySQL's own number where its SQLSTATE says too little.
fn mysql_fault(number: u16, sqlstate: &str) -> Fault {
    match number {
        // Full table or disk; lock wait timeout; read-only, as a server is that is about to be replaced; killed or
        // interrupted; no undo slot or memory.
        1021 | 1041 | 1114 | 1135 | 1205 | 1290 | 1317 | 1836 | 1927 | 1969 | 3024 => {
            Fault::Unavailable
        }
        // Larger than `max_allowed_packet`; text that is not in the character set; a check, in MySQL; bad JSON.
        1153 | 1301 | 1366 | 3140 | 3141 | 3819 | 4025 | 4035..=4044 => Fault::Data,
        _ => sqlstate_fault(sqlstate),
    }
}

/// Whether the database ended the transaction because of another one: the same again will do, at once.
pub(crate) fn is_deadlock(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(inner)) = driver_error(error) else { return false };
    matches!(inner.code().as_deref(), Some("40001" | "40P01"))
}

/// Whether SQLite found a lock taken, or the file in the hands of another that opens, closes or repairs it.
pub(crate) fn is_busy(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(inner)) = driver_error(error) else { return false };
    let code = inner.try_downcast_ref::<sqlx::sqlite::SqliteError>().and_then(DatabaseError::code);
    code.is_some_and(|code| sqlite_primary(&code) == SQLITE_BUSY)
}

/// By SQLite's result code.
fn sqlite_fault(code: &str) -> Fault {
    match sqlite_primary(code) {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL, SCHEMA.
        SQLITE_BUSY | 6 | 7 | 9 | 10 | 13 | 15 | 17 => Fault::Unavailable,
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => Fault::Data,
        _ => Fault::Refused,
    }
}

/// The lowest byte of a result code is the primary one.
fn sqlite_primary(code: &str) -> u32 {
    code.parse::<u32>().unwrap_or_default() & 0xff
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
    fn mysql_is_understood_by_its_own_numbers() {
        assert_eq!(mysql_fault(1205, "HY000"), Fault::Unavailable);
        assert_eq!(mysql_fault(1213, "40001"), Fault::Unavailable);
        assert_eq!(mysql_fault(1053, "08S01"), Fault::Unavailable);
        assert_eq!(mysql_fault(1153, "08S01"), Fault::Data);
        assert_eq!(mysql_fault(1406, "22001"), Fault::Data);
        assert_eq!(mysql_fault(4025, "23000"), Fault::Data);
        assert_eq!(mysql_fault(1146, "42S02"), Fault::Refused);
        assert_eq!(mysql_fault(1045, "28000"), Fault::Refused);
    }

    #[test]
    fn a_missing_table_or_a_wrong_password_needs_a_person() {
        for code in ["42P01", "42501", "28P01", "3D000"] {
            assert_eq!(sqlstate_fault(code), Fault::Refused, "{code}");
        }
        assert_eq!(sqlite_fault("1"), Fault::Refused);
    }
}
