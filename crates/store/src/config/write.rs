//! Changing the configuration.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::check::contradiction;
use super::columns::{Column, MQTT, RABBITMQ, RUNTIME, Table};
use super::{ConfigError, read};
use crate::Database;
use crate::dialect::{Dialect, Sql};

/// Parameter: config key.
const CREATE: Sql = Sql {
    sqlite: "INSERT INTO event_bus_runtime_config (config_key) VALUES ($1) ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO event_bus_runtime_config (config_key) VALUES ($1) ON CONFLICT DO NOTHING",
    mysql: "INSERT IGNORE INTO event_bus_runtime_config (config_key) VALUES ($1)",
};
/// Parameter: config key.
const TOUCH: Sql = Sql {
    sqlite: "\
UPDATE event_bus_runtime_config SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE config_key = $1",
    postgres: "UPDATE event_bus_runtime_config SET updated_at = now() WHERE config_key = $1",
    mysql: "UPDATE event_bus_runtime_config SET updated_at = utc_timestamp(6) WHERE config_key = $1",
};

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    /// Configs that were not there before.
    pub created: Vec<String>,
    /// Configs that were there and are different now.
    pub updated: Vec<String>,
    /// Configs that are as they were.
    pub unchanged: Vec<String>,
}

/// Takes over a whole file: `{"config": {KEY: {column: value, "rabbitmq": {..}, "mqtt": {..}}}}`, as TOML or JSON was
/// parsed. Columns that the file leaves out stay as they are, or get their defaults in a new config. All or nothing;
/// the same file a second time changes nothing.
pub async fn import(db: &Database, file: &Json) -> Result<Changes, ConfigError> {
    let root = object(file, "the file")?;
    if let Some(name) = root.keys().find(|name| *name != "config") {
        return Err(ConfigError::UnknownColumn { name: name.clone(), known: "config".to_owned() });
    }
    let transaction = db.begin().await?;
    let mut report = Changes::default();
    if let Some(configs) = root.get("config") {
        for (config_key, settings) in object(configs, "config")? {
            let path = format!("config.{config_key}");
            let assignments =
                assignments(object(settings, &path)?).map_err(|error| within(&path, error))?;
            let is_new = create(db.dialect(), &transaction, config_key).await?;
            let changed = apply(db.dialect(), &transaction, config_key, &assignments)
                .await
                .map_err(|error| within(&path, error))?;
            let list = match (is_new, changed) {
                (true, _) => &mut report.created,
                (false, true) => &mut report.updated,
                (false, false) => &mut report.unchanged,
            };
            list.push(config_key.clone());
        }
    }
    transaction.commit().await?;
    Ok(report)
}

/// Sets columns of one config from text, such as `("port", "5672")` or `("rabbitmq.queue", "orders.inbox")`; an empty
/// text is null. Returns whether anything is different now. All or nothing.
pub async fn set(
    db: &Database,
    config_key: &str,
    values: &[(String, String)],
) -> Result<bool, ConfigError> {
    let mut assignments = Vec::new();
    for (name, text) in values {
        let (table, column) = find(name)?;
        assignments.push(Assignment { table, column, value: column.parse(text) });
    }
    let transaction = db.begin().await?;
    if read(&transaction, config_key).await?.is_none() {
        return Err(ConfigError::UnknownConfig(config_key.to_owned()));
    }
    let changed = apply(db.dialect(), &transaction, config_key, &assignments).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// From now on a worker is expected to run. Returns whether that is news.
pub async fn activate(db: &Database, config_key: &str) -> Result<bool, ConfigError> {
    set(db, config_key, &[("is_active".to_owned(), "true".to_owned())]).await
}

/// From now on no worker is expected to run. Returns whether that is news.
pub async fn deactivate(db: &Database, config_key: &str) -> Result<bool, ConfigError> {
    set(db, config_key, &[("is_active".to_owned(), "false".to_owned())]).await
}

/// One column's new value, not checked yet.
struct Assignment {
    table: &'static Table,
    column: &'static Column,
    value: Json,
}

/// The column of a name such as `port` or `mqtt.qos`.
fn find(name: &str) -> Result<(&'static Table, &'static Column), ConfigError> {
    let (table, column) = match name.split_once('.') {
        Some(("rabbitmq", column)) => (&RABBITMQ, column),
        Some(("mqtt", column)) => (&MQTT, column),
        _ => (&RUNTIME, name),
    };
    Ok((table, table.column(column)?))
}

fn assignments(settings: &Map<String, Json>) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments = Vec::new();
    for (name, value) in settings {
        let Some(table) = [&RABBITMQ, &MQTT].into_iter().find(|table| table.prefix == name) else {
            assignments.push(Assignment {
                table: &RUNTIME,
                column: RUNTIME.column(name)?,
                value: value.clone(),
            });
            continue;
        };
        for (name, value) in object(value, table.prefix)? {
            assignments.push(Assignment {
                table,
                column: table.column(name)?,
                value: value.clone(),
            });
        }
    }
    Ok(assignments)
}

fn object<'a>(value: &'a Json, name: &str) -> Result<&'a Map<String, Json>, ConfigError> {
    let problem = || ConfigError::InvalidValue {
        name: name.to_owned(),
        problem: "must be a table".to_owned(),
    };
    value.as_object().ok_or_else(problem)
}

/// The error with the way to the config before the column's name.
fn within(path: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::UnknownColumn { name, known } => {
            ConfigError::UnknownColumn { name: format!("{path}.{name}"), known }
        }
        ConfigError::InvalidValue { name, problem } => {
            ConfigError::InvalidValue { name: format!("{path}.{name}"), problem }
        }
        other => other,
    }
}

async fn create(
    dialect: Dialect,
    db: &DatabaseTransaction,
    config_key: &str,
) -> Result<bool, ConfigError> {
    if config_key.is_empty() || config_key.len() > 255 || config_key.contains(char::is_control) {
        let problem = "must be a name of 1 to 255 bytes without control characters".to_owned();
        return Err(ConfigError::InvalidValue { name: "the config's key".to_owned(), problem });
    }
    Ok(db.execute_raw(CREATE.bind(dialect, [config_key.into()])).await?.rows_affected() > 0)
}

/// Writes what is different, and returns whether anything was.
async fn apply(
    dialect: Dialect,
    db: &DatabaseTransaction,
    config_key: &str,
    assignments: &[Assignment],
) -> Result<bool, ConfigError> {
    let tables: BTreeSet<_> = assignments.iter().map(|assignment| assignment.table.name).collect();
    let mut changed = false;
    for table in tables.into_iter().filter(|table| *table != RUNTIME.name) {
        let create = match dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                format!("INSERT INTO {table} (config_key) VALUES ($1) ON CONFLICT DO NOTHING")
            }
            Dialect::MySql => format!("INSERT IGNORE INTO {table} (config_key) VALUES ($1)"),
        };
        changed |= execute(dialect, db, create, &[config_key.into()]).await?;
    }
    for Assignment { table, column, value } in assignments {
        let value = column.check(value).map_err(|problem| ConfigError::InvalidValue {
            name: table.full_name(column.name),
            problem,
        })?;
        let cast = if column.is_json() && dialect == Dialect::Postgres { "::jsonb" } else { "" };
        let (table, column) = (table.name, column.name);
        let differs = match dialect {
            Dialect::Sqlite | Dialect::Postgres => format!("{column} IS DISTINCT FROM $1{cast}"),
            Dialect::MySql => format!("NOT {column} <=> $1"),
        };
        let update =
            format!("UPDATE {table} SET {column} = $1{cast} WHERE config_key = $2 AND {differs}");
        changed |= execute(dialect, db, update, &[value, config_key.into()]).await?;
    }
    if changed {
        db.execute_raw(TOUCH.bind(dialect, [config_key.into()])).await?;
    }
    if let Some(config) = read(db, config_key).await? {
        contradiction(&config)?;
    }
    Ok(changed)
}

async fn execute(
    dialect: Dialect,
    db: &DatabaseTransaction,
    text: String,
    values: &[sea_orm::Value],
) -> Result<bool, ConfigError> {
    let result = db.execute_raw(dialect.statement(text, values)).await?;
    Ok(result.rows_affected() > 0)
}
