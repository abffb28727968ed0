//! Which database server this is, from what it says of itself, and whether it is new enough.

use std::fmt;

use crate::dialect::Dialect;

/// A product with the oldest version that has what the statements need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    /// 3.41 brought `unhex`.
    Sqlite,
    /// 13 brought `gen_random_uuid` without an extension.
    Postgres,
    /// 10.6 brought `JSON_TABLE` and `SKIP LOCKED`.
    MariaDb,
    /// 8.0.1 brought `SKIP LOCKED`, 8.0.16 checks, 8.0.17 the collation by which texts are equal byte for byte.
    MySql,
}

/// A version as far as the server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) product: Product,
    major: u32,
    minor: u32,
    patch: Option<u32>,
}

/// What MariaDB says before its version where an old client might be frightened.
const MARIADB_DISGUISE: &str = "5.5.5-";

impl Product {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }

    const fn least(self) -> (u32, u32, u32) {
        match self {
            Self::Sqlite => (3, 41, 0),
            Self::Postgres => (13, 0, 0),
            Self::MariaDb => (10, 6, 0),
            Self::MySql => (8, 0, 17),
        }
    }

    /// The oldest version that will do, in words.
    pub(super) fn least_text(self) -> String {
        match self.least() {
            (major, 0, 0) => format!("{} {major}", self.name()),
            (major, minor, 0) => format!("{} {major}.{minor}", self.name()),
            (major, minor, patch) => format!("{} {major}.{minor}.{patch}", self.name()),
        }
    }
}

impl Version {
    /// Reads what `version()`, or SQLite's `sqlite_version()`, returned; `None` where that is another product.
    pub(super) fn parse(dialect: Dialect, text: &str) -> Option<Self> {
        let (product, numbers) = match dialect {
            Dialect::Sqlite => (Product::Sqlite, text),
            Dialect::Postgres => (Product::Postgres, text.strip_prefix("PostgreSQL ")?),
            Dialect::MySql if text.contains("MariaDB") => {
                (Product::MariaDb, text.strip_prefix(MARIADB_DISGUISE).unwrap_or(text))
            }
            Dialect::MySql => (Product::MySql, text),
        };
        let mut numbers = leading_numbers(numbers).into_iter();
        let major = numbers.next()?;
        Some(Self { product, major, minor: numbers.next().unwrap_or(0), patch: numbers.next() })
    }

    /// Whether the statements work there. A patch that is not told, as in Amazon's Aurora, is taken for a new one.
    pub(super) fn is_supported(self) -> bool {
        let (major, minor, patch) = self.product.least();
        match (self.major, self.minor).cmp(&(major, minor)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.patch.is_none_or(|own| own >= patch),
            std::cmp::Ordering::Greater => true,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.product.name(), self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// The numbers between dots that a text begins with.
fn leading_numbers(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in text.split('.') {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[..digits].parse() {
            Ok(number) => numbers.push(number),
            Err(_) => break,
        }
        if digits < part.len() {
            break;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dialect: Dialect, text: &str, shown: &str, supported: bool) {
        let version = Version::parse(dialect, text).expect("it is a version");
        assert_eq!(version.to_string(), shown, "{text}");
        assert_eq!(version.is_supported(), supported, "{text}");
    }

    #[test]
    fn postgresql_from_13_on_will_do() {
        let check = |text, shown, supported| check(Dialect::Postgres, text, shown, supported);
        check(
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit",
            "PostgreSQL 15.18",
            true,
        );
        check("PostgreSQL 13.0 on x86_64-pc-linux-gnu", "PostgreSQL 13.0", true);
        check("PostgreSQL 18beta1 on aarch64-apple-darwin", "PostgreSQL 18.0", true);
        check("PostgreSQL 12.22 (Ubuntu 12.22-1) on x86_64", "PostgreSQL 12.22", false);
        check("PostgreSQL 9.6.24 on x86_64-pc-linux-gnu", "PostgreSQL 9.6.24", false);
        check("PostgreSQL 11.2-YB-2.20.1.0-b0 on x86_64", "PostgreSQL 11.2", false);
    }

    #[test]
    fn another_product_that_speaks_the_protocol_is_not_taken_for_postgresql() {
        assert_eq!(Version::parse(Dialect::Postgres, "CockroachDB CCL v23.1.11 (x86_64)"), None);
        assert_eq!(Version::parse(Dialect::MySql, "unknown"), None);
        assert_eq!(Version::parse(Dialect::MySql, ""), None);
    }

    #[test]
    fn mariadb_from_10_6_on_will_do() {
        let check = |text, shown, supported| check(Dialect::MySql, text, shown, supported);
        check("10.11.14-MariaDB-0+deb12u2", "MariaDB 10.11.14", true);
        check("5.5.5-10.6.12-MariaDB", "MariaDB 10.6.12", true);
        check("10.6.0-MariaDB", "MariaDB 10.6.0", true);
        check("11.4.3-MariaDB-ubu2404-log", "MariaDB 11.4.3", true);
        check("10.5.29-MariaDB-1:10.5.29+maria~ubu2004", "MariaDB 10.5.29", false);
        check("5.5.5-10.3.39-MariaDB-log", "MariaDB 10.3.39", false);
        check("5.5.68-MariaDB", "MariaDB 5.5.68", false);
    }

    #[test]
    fn mysql_from_8_0_17_on_will_do() {
        let check = |text, shown, supported| check(Dialect::MySql, text, shown, supported);
        check("8.0.36", "MySQL 8.0.36", true);
        check("8.0.17", "MySQL 8.0.17", true);
        check("8.0.16", "MySQL 8.0.16", false);
        check("8.4.0", "MySQL 8.4.0", true);
        check("9.1.0-commercial", "MySQL 9.1.0", true);
        check("8.0.36-0ubuntu0.22.04.1", "MySQL 8.0.36", true);
        check("8.0.35-27", "MySQL 8.0.35", true); // Percona
        check("8.0.mysql_aurora.3.05.2", "MySQL 8.0", true);
        check("5.7.mysql_aurora.2.11.2", "MySQL 5.7", false);
        check("5.7.44-log", "MySQL 5.7.44", false);
        check("8.0.11-TiDB-v7.5.1", "MySQL 8.0.11", false);
    }

    #[test]
    fn sqlite_from_3_41_on_will_do() {
        check(Dialect::Sqlite, "3.46.0", "SQLite 3.46.0", true);
        check(Dialect::Sqlite, "3.41.0", "SQLite 3.41.0", true);
        check(Dialect::Sqlite, "3.40.1", "SQLite 3.40.1", false);
    }

    #[test]
    fn what_is_needed_is_said_in_words() {
        assert_eq!(Product::Postgres.least_text(), "PostgreSQL 13");
        assert_eq!(Product::MariaDb.least_text(), "MariaDB 10.6");
        assert_eq!(Product::MySql.least_text(), "MySQL 8.0.17");
    }
}
