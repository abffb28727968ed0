//! What a user may do with each table, in PostgreSQL, MariaDB and MySQL.

use postroad_worker_core::{Finding, Level};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::mysql::is_denied;
use super::{every, one};
use crate::Database;
use crate::dialect::Dialect;

/// A table, what a worker does with it, and what only commands for a person do.
struct Needs {
    table: &'static str,
    worker: &'static [Privilege],
    commands: &'static [Privilege],
}

/// A worker deletes where it cleans up.
const NEEDS: [Needs; 9] = [
    needs("outbound_event", &[Select, Update, Delete], &[Insert]),
    needs("inbound_event", &[Select, Insert, Delete], &[Update]),
    needs("inbound_dedupe", &[Select, Insert, Delete], &[]),
    needs("quarantined_message", &[Select, Insert, Delete], &[]),
    needs("event_bus_runtime_config", &[Select, Update], &[Insert]),
    needs("event_bus_rabbitmq_settings", &[Select], &[Insert, Update]),
    needs("event_bus_mqtt_settings", &[Select], &[Insert, Update]),
    needs("event_bus_worker", &[Select, Insert, Update, Delete], &[]),
    needs("event_bus_maintenance", &[Select, Insert, Update], &[]),
];

/// There the insert that ignores what is known already is one that updates.
const NEEDS_IN_MYSQL: Needs = needs("inbound_dedupe", &[Update], &[]);

const fn needs(
    table: &'static str,
    worker: &'static [Privilege],
    commands: &'static [Privilege],
) -> Needs {
    Needs { table, worker, commands }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
}

use Privilege::{Delete, Insert, Select, Update};

impl Privilege {
    const fn name(self) -> &'static str {
        match self {
            Select => "SELECT",
            Insert => "INSERT",
            Update => "UPDATE",
            Delete => "DELETE",
        }
    }

    /// A statement that needs it and does nothing. In MySQL, explaining one takes what it takes to run it.
    fn explain(self, table: &str) -> String {
        match self {
            Select => format!("EXPLAIN SELECT config_key FROM {table} WHERE false"),
            Insert => format!("EXPLAIN INSERT INTO {table} (config_key) VALUES ('')"),
            Update => {
                // Of a config, a worker writes some columns only.
                let config = table == "event_bus_runtime_config";
                let column = if config { "last_error" } else { "config_key" };
                format!("EXPLAIN UPDATE {table} SET {column} = '' WHERE false")
            }
            Delete => format!("EXPLAIN DELETE FROM {table} WHERE false"),
        }
    }
}

#[derive(FromQueryResult)]
struct User {
    username: String,
}

#[derive(FromQueryResult)]
struct May {
    may: bool,
}

/// A failure where a worker lacks something, a warning where some command does; the advice grants it.
pub(super) async fn check(db: &Database) -> Result<Finding, DbErr> {
    let (mut worker, mut commands) = (Vec::new(), Vec::new());
    let more = (db.dialect() == Dialect::MySql).then_some(NEEDS_IN_MYSQL);
    for Needs { table, worker: by_worker, commands: by_commands } in NEEDS.into_iter().chain(more) {
        for (privileges, lacking) in [(by_worker, &mut worker), (by_commands, &mut commands)] {
            for privilege in privileges {
                if !may(db, *privilege, table).await? {
                    lacking.push((privilege.name(), table));
                }
            }
        }
    }
    let user = match db.dialect() {
        Dialect::MySql => "SELECT CAST(current_user() AS char) AS username",
        Dialect::Postgres | Dialect::Sqlite => "SELECT current_user::text AS username",
    };
    let User { username } = one(db, user).await?;
    let (lacking, level) =
        if worker.is_empty() { (commands, Level::Warning) } else { (worker, Level::Failure) };
    Ok(judge(&username, &lacking, level))
}

async fn may(db: &Database, privilege: Privilege, table: &str) -> Result<bool, DbErr> {
    if db.dialect() == Dialect::MySql {
        let statement = Dialect::MySql.statement(privilege.explain(table), []);
        // Whatever else is wrong with it shows elsewhere.
        let explained = db.connection().query_all_raw(statement).await;
        return Ok(!explained.is_err_and(|error| is_denied(&error)));
    }
    // A worker may be let write some columns of a config only.
    let on = if privilege == Delete { "has_table_privilege" } else { "has_any_column_privilege" };
    let query = format!("SELECT {on}('{table}', '{}') AS may", privilege.name());
    Ok(every::<May>(db, query).await?.first().is_some_and(|row| row.may))
}

fn judge(username: &str, lacking: &[(&str, &str)], level: Level) -> Finding {
    const CHECK: &str = "permissions";
    if lacking.is_empty() {
        return Finding::ok(CHECK, "all that worker and commands need");
    }
    let list: Vec<_> =
        lacking.iter().map(|(privilege, table)| format!("{privilege} on {table}")).collect();
    // In MySQL a user has a host, and each of the two its quotes.
    let grantee = match username.rsplit_once('@') {
        Some((name, host)) => format!("'{name}'@'{host}'"),
        None => username.to_owned(),
    };
    let grants: Vec<_> = lacking
        .iter()
        .map(|(privilege, table)| format!("GRANT {privilege} ON {table} TO {grantee}"))
        .collect();
    let who = match level {
        Level::Failure => "a worker",
        Level::Ok | Level::Warning => "some command",
    };
    Finding {
        level,
        advice: grants.join("; "),
        ..Finding::ok(CHECK, format!("{username} lacks what {who} needs: {}", list.join(", ")))
    }
}
