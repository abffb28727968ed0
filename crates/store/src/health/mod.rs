//! Whether a database is fit for what Postroad promises, and how it does.
//!
//! [`require`] is for programs that are about to work on it, [`check`] for a person who wants to know. Both only look: what
//! is begun to know whether writing is allowed is taken back.

pub(crate) mod clock;
mod lines;
mod mysql;
mod permissions;
mod postgres;
mod rows;
mod schema;
mod sqlite;
mod version;

use std::time::{Duration, Instant};

use postroad_worker_core::{Finding, Level, StoreError};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement, Value};

use self::lines::Lines;
use self::version::{Product, Version};
use crate::Database;
use crate::dialect::Dialect;
use crate::fault::{ask, message, store_error};

/// Why a program must not work on a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It did not answer, so nobody knows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is wrong that waiting does not mend.
    #[error("{found}: {advice}")]
    Database {
        /// What.
        found: String,
        /// What to do.
        advice: String,
    },
}

/// What of a database is to be checked beside the server itself.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Whether the tables are there, as this program knows them.
    pub tables: bool,
    /// The configs whose rows are looked at.
    pub config_keys: Vec<String>,
    /// The largest message that is to fit, by the settings of all configs.
    pub max_message_bytes: u64,
}

/// Checks what must be right for anything to be: version, write access, isolation, journal, and that texts are equal only
/// byte for byte. `Ok`: it is. What cannot be found out for want of a permission is not held against the database.
pub async fn require(db: &Database) -> Result<(), Unfit> {
    let mut lines = Lines::default();
    fitness(db, &mut lines).await;
    if let Some(error) = lines.unavailable {
        return Err(Unfit::Store(error));
    }
    match lines.all.into_iter().find(|line| line.level == Level::Failure) {
        Some(Finding { found, advice, .. }) => Err(Unfit::Database { found, advice }),
        None => Ok(()),
    }
}

/// Whether the database answers, and how fast. The advice depends on why not.
pub async fn reach(db: &Database) -> Finding {
    const CHECK: &str = "connection";
    let began = Instant::now();
    let ping = db.connection().execute_unprepared("SELECT 1");
    match tokio::time::timeout(lines::DEADLINE, ping).await {
        Ok(Ok(_)) => Finding::ok(CHECK, format!("answers in {} ms", began.elapsed().as_millis())),
        Ok(Err(error)) => Finding::failure(CHECK, message(&error), unreachable_advice(db, &error)),
        Err(_) => Finding::failure(CHECK, lines::no_answer(), UNREACHABLE),
    }
}

const UNREACHABLE: &str = "is the server up, are host and port of --database-url or DATABASE_URL right, and does no \
                           firewall stand between?";

fn unreachable_advice(db: &Database, error: &DbErr) -> &'static str {
    match store_error(error) {
        _ if db.dialect() == Dialect::Sqlite => {
            "does the file exist, which `postroad migrate up` makes, and may this user read and write it and its folder?"
        }
        StoreError::Unavailable(_) => UNREACHABLE,
        _ => "check user, password and name of the database in --database-url or DATABASE_URL",
    }
}

/// The config keys of outbox rows that wait and that no config has: nobody sends them.
pub async fn unknown_config_keys(db: &Database) -> Result<Vec<String>, StoreError> {
    ask(rows::unknown_keys(db)).await
}

/// Everything there is to say, a line each. Each has five seconds, all of them fifteen; what is not found out says so.
pub async fn check(db: &Database, scope: &Scope) -> Vec<Finding> {
    let mut lines = Lines::limited();
    fitness(db, &mut lines).await;
    match db.dialect() {
        Dialect::Sqlite => sqlite::health(db, &mut lines).await,
        Dialect::Postgres => postgres::health(db, &mut lines).await,
        Dialect::MySql => mysql::health(db, scope.max_message_bytes, &mut lines).await,
    }
    if db.dialect() != Dialect::Sqlite {
        lines.add("clock", clock::check(db)).await;
    }
    if scope.tables {
        lines.add("indexes", schema::indexes(db)).await;
        // Whoever may write a file of SQLite may do anything with it.
        if db.dialect() != Dialect::Sqlite {
            lines.add("permissions", permissions::check(db)).await;
        }
        if db.dialect() == Dialect::Postgres {
            lines.add("triggers", postgres::triggers(db)).await;
            lines.add("dead rows", postgres::dead_rows(db)).await;
        }
        lines.add("leases", rows::leases(db)).await;
        lines.add("config keys", rows::keys(db)).await;
        for key in &scope.config_keys {
            lines.add("waiting rows", rows::waiting(db, key)).await;
        }
    }
    lines.all
}

async fn fitness(db: &Database, lines: &mut Lines) {
    let mut product = None;
    let version = async {
        let (finding, found) = version(db).await?;
        product = found;
        Ok(finding)
    };
    lines.add("version", version).await;
    // Of a version that is too old, or another product, nothing else is known.
    let Some(product) = product else { return };
    match db.dialect() {
        Dialect::Sqlite => sqlite::fitness(db, lines).await,
        Dialect::Postgres => postgres::fitness(db, lines).await,
        Dialect::MySql => mysql::fitness(db, product, lines).await,
    }
}

#[derive(FromQueryResult)]
struct VersionRow {
    version: String,
}

/// The version, and the product where it can be worked with.
async fn version(db: &Database) -> Result<(Finding, Option<Product>), DbErr> {
    let query = match db.dialect() {
        Dialect::Sqlite => "SELECT sqlite_version() AS version",
        Dialect::Postgres | Dialect::MySql => "SELECT version() AS version",
    };
    let VersionRow { version: text } = one(db, query).await?;
    Ok(judge_version(db.dialect(), &text))
}

fn judge_version(dialect: Dialect, text: &str) -> (Finding, Option<Product>) {
    const CHECK: &str = "version";
    const ADVICE: &str = "use SQLite 3.41, PostgreSQL 13, MariaDB 10.6, MySQL 8.0.17 or newer";
    let Some(version) = Version::parse(dialect, text) else {
        let found = format!("the database says that it is `{text}`, which Postroad does not know");
        return (Finding::failure(CHECK, found, ADVICE), None);
    };
    if version.is_supported() {
        return (Finding::ok(CHECK, version.to_string()), Some(version.product));
    }
    let found = format!("the database is {version}, which is too old");
    let advice = format!("upgrade it to {} or newer", version.product.least_text());
    (Finding::failure(CHECK, found, advice), None)
}

/// The only row of a query.
async fn one<T: FromQueryResult>(db: &Database, query: impl Into<String>) -> Result<T, DbErr> {
    first(db, query).await?.ok_or_else(|| DbErr::RecordNotFound("the query has no row".to_owned()))
}

/// The first row of a query, if it has any.
async fn first<T: FromQueryResult>(
    db: &Database,
    query: impl Into<String>,
) -> Result<Option<T>, DbErr> {
    Ok(every(db, query).await?.into_iter().next())
}

/// The rows of a query without parameters.
async fn every<T: FromQueryResult>(
    db: &Database,
    query: impl Into<String>,
) -> Result<Vec<T>, DbErr> {
    let none: [Value; 0] = [];
    bound(db, db.dialect().statement(query.into(), none)).await
}

async fn bound<T: FromQueryResult>(db: &Database, statement: Statement) -> Result<Vec<T>, DbErr> {
    let rows = db.connection().query_all_raw(statement).await?;
    rows.iter().map(|row| T::from_query_result(row, "")).collect()
}

/// A duration for a person, to the unit that matters.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_too_old_says_which_will_do() {
        let (finding, product) = judge_version(Dialect::MySql, "10.5.29-MariaDB");
        assert_eq!((finding.level, product), (Level::Failure, None));
        assert_eq!(finding.found, "the database is MariaDB 10.5.29, which is too old");
        assert_eq!(finding.advice, "upgrade it to MariaDB 10.6 or newer");
        let (finding, product) = judge_version(Dialect::Postgres, "CockroachDB CCL v23.1.11");
        assert_eq!((finding.level, product), (Level::Failure, None));
        assert!(finding.found.contains("CockroachDB"));
        let (finding, product) = judge_version(Dialect::MySql, "8.0.36");
        assert_eq!((finding.level, product), (Level::Ok, Some(Product::MySql)));
    }

    #[test]
    fn a_duration_is_said_in_the_unit_that_matters() {
        let said = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(
            [said(5), said(600), said(7_200), said(400_000)],
            ["5 s", "10 min", "2 h", "4 days"]
        );
    }
}
