//! What the migrations make and the statements rely on.

use postroad_worker_core::Finding;
use sea_orm::{DbErr, FromQueryResult};

use super::every;
use crate::Database;
use crate::dialect::{Dialect, Sql};

/// Every table.
pub(super) const TABLES: [&str; 9] = [
    "outbound_event",
    "inbound_event",
    "inbound_dedupe",
    "quarantined_message",
    "event_bus_runtime_config",
    "event_bus_rabbitmq_settings",
    "event_bus_mqtt_settings",
    "event_bus_worker",
    "event_bus_maintenance",
];

/// An index, and what stands behind `CREATE INDEX name ON`.
struct Index {
    name: &'static str,
    on: Sql,
}

/// Those that a statement walks. A test holds them to what the migrations make.
const INDEXES: [Index; 13] = [
    Index {
        name: "outbound_event_due",
        on: partial(
            "outbound_event (config_key, due_at, seq) WHERE status = 'pending' AND ordering_key IS NULL",
            "outbound_event (due_config, due_at, seq)",
        ),
    },
    Index {
        name: "outbound_event_ordering",
        on: partial(
            "outbound_event (config_key, ordering_key, seq) WHERE status = 'pending' AND ordering_key IS NOT NULL",
            "outbound_event (ordering_turn, seq)",
        ),
    },
    Index {
        name: "outbound_event_claim",
        on: partial(
            "outbound_event (claim_token) WHERE claim_token IS NOT NULL",
            "outbound_event (claim_token)",
        ),
    },
    Index {
        name: "outbound_event_failed",
        on: partial(
            "outbound_event (config_key, status, seq) WHERE status IN ('invalid', 'error')",
            "outbound_event (failed_config, status, seq)",
        ),
    },
    Index {
        name: "outbound_event_request",
        on: partial(
            "outbound_event (request_id) WHERE request_id IS NOT NULL",
            "outbound_event (request_id(191))",
        ),
    },
    Index {
        name: "outbound_event_parent_request",
        on: partial(
            "outbound_event (parent_request_id) WHERE parent_request_id IS NOT NULL",
            "outbound_event (parent_request_id(191))",
        ),
    },
    Index {
        name: "inbound_event_due",
        on: partial(
            "inbound_event (config_key, due_at, seq) WHERE status = 'pending'",
            "inbound_event (due_config, due_at, seq)",
        ),
    },
    Index {
        name: "inbound_event_failed",
        on: partial(
            "inbound_event (config_key, seq) WHERE status = 'error'",
            "inbound_event (failed_config, seq)",
        ),
    },
    Index {
        name: "inbound_event_request",
        on: partial(
            "inbound_event (request_id) WHERE request_id IS NOT NULL",
            "inbound_event (request_id(191))",
        ),
    },
    Index {
        name: "inbound_event_parent_request",
        on: partial(
            "inbound_event (parent_request_id) WHERE parent_request_id IS NOT NULL",
            "inbound_event (parent_request_id(191))",
        ),
    },
    Index {
        name: "inbound_dedupe_created",
        on: Sql {
            sqlite: "inbound_dedupe (config_key, created_at)",
            // In the other two a key ends in the primary one.
            postgres: "inbound_dedupe (config_key, created_at, dedupe_key)",
            mysql: "inbound_dedupe (config_key, created_at)",
        },
    },
    Index {
        name: "quarantined_message_received",
        on: Sql::same("quarantined_message (config_key, received_at)"),
    },
    Index {
        name: "quarantined_message_arrival",
        on: Sql::same("quarantined_message (arrival_digest)"),
    },
];

/// Unique keys, which SQLite does not let anybody drop: table, column, and the name in PostgreSQL.
const UNIQUE: [(&str, &str, &str); 4] = [
    ("outbound_event", "id", "outbound_event_id_key"),
    ("inbound_event", "id", "inbound_event_id_key"),
    ("inbound_dedupe", "dedupe_key", "inbound_dedupe_pkey"),
    ("event_bus_runtime_config", "config_key", "event_bus_runtime_config_config_key_key"),
];

/// An index that only `partial` databases can leave rows out of.
const fn partial(partial: &'static str, mysql: &'static str) -> Sql {
    Sql { sqlite: partial, postgres: partial, mysql }
}

/// Each index that there is, and whether it can be used: one whose making failed halfway cannot.
const THERE: Sql = Sql {
    sqlite: "SELECT name, true AS usable FROM sqlite_schema WHERE type = 'index'",
    postgres: "\
SELECT c.relname::text AS name, i.indisvalid AND i.indisready AS usable
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE pg_table_is_visible(i.indrelid)",
    mysql: "\
SELECT DISTINCT CAST(index_name AS char) AS name, 1 AS usable FROM information_schema.statistics
WHERE table_schema = database()
UNION SELECT CAST(concat(table_name, '.', column_name) AS char), 1 FROM information_schema.statistics
WHERE table_schema = database() AND non_unique = 0 AND seq_in_index = 1",
};

#[derive(FromQueryResult)]
struct There {
    name: String,
    usable: bool,
}

/// Whether every index of the migrations is there; the advice is what makes the missing ones.
pub(super) async fn indexes(db: &Database) -> Result<Finding, DbErr> {
    const CHECK: &str = "indexes";
    let there = every::<There>(db, THERE.text(db.dialect())).await?;
    let missing = missing(db.dialect(), &there);
    Ok(if missing.is_empty() {
        Finding::ok(CHECK, format!("all {} there", INDEXES.len()))
    } else {
        let (names, mend): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        let found = format!("missing or not usable: {}", names.join(", "));
        Finding::failure(CHECK, found, mend.join("; "))
    })
}

/// Names of the indexes that are not there, with what makes them.
fn missing(dialect: Dialect, there: &[There]) -> Vec<(String, String)> {
    let named = |name: &str| there.iter().find(|index| index.name == name);
    let mut missing = Vec::new();
    for Index { name, on } in &INDEXES {
        let on = on.text(dialect);
        match named(name) {
            Some(index) if index.usable => {}
            Some(_) => missing.push((
                (*name).to_owned(),
                format!("DROP INDEX {name}; CREATE INDEX CONCURRENTLY {name} ON {on}"),
            )),
            None if dialect == Dialect::Postgres => missing
                .push(((*name).to_owned(), format!("CREATE INDEX CONCURRENTLY {name} ON {on}"))),
            None => missing.push(((*name).to_owned(), format!("CREATE INDEX {name} ON {on}"))),
        }
    }
    for (table, column, name) in UNIQUE {
        let is_there = match dialect {
            Dialect::Sqlite => true,
            Dialect::Postgres => named(name).is_some_and(|index| index.usable),
            Dialect::MySql => named(&format!("{table}.{column}")).is_some(),
        };
        if !is_there {
            let make = format!("CREATE UNIQUE INDEX {name} ON {table} ({column})");
            missing.push((format!("the unique key of {table}.{column}"), make));
        }
    }
    missing
}
