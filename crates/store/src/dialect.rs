//! The databases there are, and statements written once for each.

use std::borrow::Cow;

use sea_orm::{DbBackend, Statement, Value};

/// A database that Postroad speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    /// MariaDB too.
    MySql,
}

impl Dialect {
    /// `None` for a database that is not supported.
    pub(crate) fn of(backend: DbBackend) -> Option<Self> {
        match backend {
            DbBackend::Sqlite => Some(Self::Sqlite),
            DbBackend::Postgres => Some(Self::Postgres),
            DbBackend::MySql => Some(Self::MySql),
            _ => None,
        }
    }

    fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
            Self::MySql => DbBackend::MySql,
        }
    }

    /// A list of primary keys as one parameter: an array, or JSON where there are no arrays.
    pub(crate) fn keys(self, keys: &[i64]) -> Value {
        match self {
            Self::Sqlite | Self::MySql => {
                serde_json::to_string(keys).expect("numbers are JSON").into()
            }
            Self::Postgres => keys.to_vec().into(),
        }
    }

    /// A statement with its parameters, which the text calls `$1`, `$2` and so on whatever the database.
    pub(crate) fn statement(
        self,
        text: impl Into<Cow<'static, str>>,
        values: impl Into<Vec<Value>>,
    ) -> Statement {
        let (text, values) = (text.into(), values.into());
        match self {
            Self::Sqlite | Self::Postgres => {
                Statement::from_sql_and_values(self.backend(), text, values)
            }
            Self::MySql => {
                let (text, order) = in_order(&text);
                let values = order.into_iter().map(|number| values[number - 1].clone());
                Statement::from_sql_and_values(self.backend(), text, values)
            }
        }
    }
}

/// One statement in the words of each database. Parameters are `$1`, `$2` and so on for all of them; the text never
/// changes, so that a connection prepares it once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
    pub(crate) mysql: &'static str,
}

impl Sql {
    /// A statement that reads the same everywhere.
    pub(crate) const fn same(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text, mysql: text }
    }

    pub(crate) fn text(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
            Dialect::MySql => self.mysql,
        }
    }

    pub(crate) fn bind<const N: usize>(self, dialect: Dialect, values: [Value; N]) -> Statement {
        dialect.statement(self.text(dialect), values)
    }
}

/// The text with `?` for each numbered parameter, and the numbers as they come: MySQL knows parameters by their place only.
fn in_order(text: &str) -> (String, Vec<usize>) {
    let mut parts = text.split('$');
    let mut ordered = parts.next().unwrap_or_default().to_owned();
    let mut order = Vec::new();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[..digits].parse() {
            Ok(number) => {
                order.push(number);
                ordered.push('?');
                ordered.push_str(&part[digits..]);
            }
            // A path of JSON.
            Err(_) => {
                ordered.push('$');
                ordered.push_str(part);
            }
        }
    }
    (ordered, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_parameters_come_in_the_order_of_the_text_and_json_paths_stay() {
        let (text, order) = in_order("a = $2 AND b = $1 AND c = $12 AND '$[*]' '$.x' d = $2");
        assert_eq!(text, "a = ? AND b = ? AND c = ? AND '$[*]' '$.x' d = ?");
        assert_eq!(order, [2, 1, 12, 2]);
    }
}
