//! The databases there are, and statements written once for each.

use sea_orm::{DbBackend, Statement, Value};

/// A database that Postroad speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// `None` for a database that is not supported.
    pub(crate) fn of(backend: DbBackend) -> Option<Self> {
        match backend {
            DbBackend::Sqlite => Some(Self::Sqlite),
            DbBackend::Postgres => Some(Self::Postgres),
            _ => None,
        }
    }

    fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
        }
    }

    /// A list of primary keys as one parameter: an array, or JSON where there are no arrays.
    pub(crate) fn keys(self, keys: &[i64]) -> Value {
        match self {
            Self::Sqlite => serde_json::to_string(keys).expect("numbers are JSON").into(),
            Self::Postgres => keys.to_vec().into(),
        }
    }
}

/// One statement in the words of each database. Parameters are `$1`, `$2` and so on for all of them; the text never
/// changes, so that a connection prepares it once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Sql {
    /// A statement that reads the same everywhere.
    pub(crate) const fn same(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }

    pub(crate) fn text(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }

    pub(crate) fn bind<const N: usize>(self, dialect: Dialect, values: [Value; N]) -> Statement {
        Statement::from_sql_and_values(dialect.backend(), self.text(dialect), values)
    }
}
