//! What a check-up finds.

use postroad_store::health::{Scope, Unfit, check, require};
use postroad_worker_core::{Finding, Level};
use serde_json::Value;

use super::home::Home;

impl Home {
    /// Everything there is to say of the database and its config `default`.
    pub(crate) async fn findings(&self) -> Vec<Finding> {
        let scope = Scope {
            tables: true,
            config_keys: vec!["default".to_owned()],
            max_message_bytes: 1 << 20,
        };
        check(&self.database, &scope).await
    }

    /// The line of that name.
    pub(crate) async fn finding(&self, name: &str) -> Finding {
        let findings = self.findings().await;
        let line = findings.iter().find(|finding| finding.check == name);
        line.unwrap_or_else(|| panic!("no `{name}` in {findings:#?}")).clone()
    }

    /// The error of a program that is about to start.
    pub(crate) async fn unfit(&self) -> String {
        match require(&self.database).await {
            Err(Unfit::Database { found, advice }) => format!("{found}: {advice}"),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn a_healthy_database_has_nothing_to_complain_of(home: Home) {
    require(&home.database).await.unwrap();
    for finding in home.findings().await {
        assert_eq!(finding.level, Level::Ok, "{finding:#?}");
        assert!(!finding.found.is_empty(), "{finding:#?}");
    }
    for name in ["version", "write access", "durability", "indexes", "leases", "waiting rows"] {
        home.finding(name).await;
    }
    // Of an empty database nothing is said but what the server is.
    let scope = Scope::default();
    let findings = check(&home.database, &scope).await;
    assert!(findings.iter().all(|finding| finding.check != "indexes"), "{findings:#?}");
}

pub(crate) async fn each_index_of_the_migrations_is_missed_and_the_advice_makes_it_again(
    home: Home,
) {
    let indexes = indexes(&home).await;
    assert!(indexes.len() >= 11, "{indexes:#?}");
    for index in &indexes {
        let (name, table) = (index["name"].as_str().unwrap(), index["on_table"].as_str().unwrap());
        let on = if home.is_mysql() { format!(" ON {table}") } else { String::new() };
        home.execute(&format!("DROP INDEX {name}{on}")).await;
        let finding = home.finding("indexes").await;
        assert_eq!(finding.level, Level::Failure, "{name}: {finding:#?}");
        assert!(finding.found.ends_with(name), "{finding:#?}");
        home.execute(&finding.advice).await;
        assert_eq!(home.finding("indexes").await.level, Level::Ok);
    }
    assert_eq!(self::indexes(&home).await, indexes, "the advice makes other indexes");
}

/// Every index that is no key, with what it is made of, by name.
async fn indexes(home: &Home) -> Vec<Value> {
    let query = if home.is_sqlite() {
        "SELECT name, tbl_name AS on_table, replace(sql, char(10) || '    ', ' ') AS definition \
         FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    } else if home.is_mysql() {
        "SELECT index_name AS name, table_name AS on_table, \
             group_concat(column_name, coalesce(sub_part, '') ORDER BY seq_in_index) AS definition \
         FROM information_schema.statistics WHERE table_schema = database() AND non_unique = 1 \
         GROUP BY index_name, table_name ORDER BY 1"
    } else {
        "SELECT indexname::text AS name, tablename::text AS on_table, indexdef AS definition \
         FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE 'CREATE UNIQUE%' ORDER BY 1"
    };
    home.rows(query).await
}

pub(crate) async fn a_row_that_nobody_takes_is_told(home: Home) {
    let hour_ago = home.seconds_from_now(-3_600);
    for key in ["NULL", "'k'"] {
        home.execute("DELETE FROM outbound_event").await;
        home.execute(&format!(
            "INSERT INTO outbound_event (topic, payload, ordering_key, enqueued_at) \
             VALUES ('event.a.b.c', '{{}}', {key}, {hour_ago})"
        ))
        .await;
        let finding = home.finding("waiting rows").await;
        assert_eq!(finding.level, Level::Warning, "{finding:#?}");
        assert!(finding.found.contains("60 min"), "{finding:#?}");
    }
    // One that is to be tried again tomorrow is not late.
    let tomorrow = home.seconds_from_now(86_400);
    home.execute(&format!("UPDATE outbound_event SET next_retry_at = {tomorrow}")).await;
    assert_eq!(home.finding("waiting rows").await.level, Level::Ok);
}

pub(crate) async fn a_lease_of_a_dead_worker_is_told(home: Home) {
    let ends = |seconds| home.seconds_from_now(seconds);
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, claim_token, claimed_until) \
         VALUES ('event.a.b.c', '{{}}', 'dead', {}), ('event.a.b.c', '{{}}', 'alive', {})",
        ends(-120),
        ends(20)
    ))
    .await;
    let finding = home.finding("leases").await;
    assert_eq!(finding.level, Level::Warning, "{finding:#?}");
    assert!(finding.found.starts_with("1 rows"), "{finding:#?}");
}
