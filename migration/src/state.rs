//! Whether a database has the schema that this program was built for.

use std::fmt;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

use crate::Migrator;

/// The database's schema as seen from this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// Just what this program was built for.
    Current,
    /// No migration was ever applied.
    Missing,
    /// A newer program than the database: migrate up.
    TooOld {
        /// Names of the migrations that were not applied.
        missing: Vec<String>,
    },
    /// An older program than the database: upgrade the program.
    TooNew {
        /// Names of the applied migrations that this program does not know.
        unknown: Vec<String>,
    },
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the schema is current"),
            Self::Missing => f.write_str("the database has no tables of Postroad yet"),
            Self::TooOld { missing } => {
                write!(f, "the schema is too old, it lacks {}", missing.join(", "))
            }
            Self::TooNew { unknown } => {
                write!(
                    f,
                    "the schema is newer than this program, which does not know {}",
                    unknown.join(", ")
                )
            }
        }
    }
}

/// Compares the database with this program. Reads only, and takes an empty database for what it is.
pub async fn schema_state<C: ConnectionTrait>(db: &C) -> Result<SchemaState, DbErr> {
    let applied = applied(db).await?;
    let known = known();
    let unknown: Vec<_> = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    let missing: Vec<_> = known.into_iter().filter(|name| !applied.contains(name)).collect();
    Ok(if applied.is_empty() {
        SchemaState::Missing
    } else if !unknown.is_empty() {
        SchemaState::TooNew { unknown }
    } else if !missing.is_empty() {
        SchemaState::TooOld { missing }
    } else {
        SchemaState::Current
    })
}

/// Every migration with whether it was applied, in order; ones that this program does not know come last. Reads only.
pub async fn status<C: ConnectionTrait>(db: &C) -> Result<Vec<(String, bool)>, DbErr> {
    let applied = applied(db).await?;
    let known = known();
    let unknown: Vec<_> = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    let known = known
        .into_iter()
        .map(|name| (applied.contains(&name), name))
        .map(|(applied, name)| (name, applied));
    Ok(known.chain(unknown.into_iter().map(|name| (name, true))).collect())
}

fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

async fn applied<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, DbErr> {
    let backend = db.get_database_backend();
    let probe = match backend {
        DbBackend::Sqlite => {
            "SELECT count(*) > 0 AS found FROM sqlite_schema WHERE name = 'postroad_migrations'"
        }
        DbBackend::Postgres => "SELECT to_regclass('postroad_migrations') IS NOT NULL AS found",
        DbBackend::MySql => {
            "SELECT count(*) > 0 AS found FROM information_schema.tables \
             WHERE table_schema = database() AND table_name = 'postroad_migrations'"
        }
        other => {
            return Err(DbErr::BackendNotSupported {
                db: other.as_str(),
                ctx: "the tables of Postroad",
            });
        }
    };
    let row = db.query_one_raw(Statement::from_string(backend, probe)).await?;
    let found = row.map(|row| row.try_get::<bool>("", "found")).transpose()?.unwrap_or(false);
    if !found {
        return Ok(Vec::new());
    }
    let list = "SELECT version FROM postroad_migrations ORDER BY version";
    let rows = db.query_all_raw(Statement::from_string(backend, list)).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}
