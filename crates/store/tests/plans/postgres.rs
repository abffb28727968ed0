//! PostgreSQL's plans, measured.

use postroad_store::hot;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Statement, Value};
use serde_json::Value as Json;

use super::full::{Full, LIMIT, Shape, TOKEN};

/// Pages of 8 KiB that a statement over [`LIMIT`] rows may touch: some 20 for a row that is found and updated in all its indexes.
const PAGES: u64 = 30 * LIMIT as u64;

/// With the values known, as the first few times, and for any values, as later on. Each statement runs and is taken back.
pub(crate) async fn check(url: String, shape: Shape) {
    let full = Full::new(&url, shape).await;
    full.execute("ANALYZE").await;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let transaction = full.database.begin().await.unwrap();
        run(&transaction, &format!("SET LOCAL plan_cache_mode = {mode}")).await;
        self::plan(&transaction, &hot::peek(&full.database, "default")).await;
        let heads = hot::heads_in_postgres("default", LIMIT);
        let plan = self::plan(&transaction, &heads).await;
        check_walks(&plan, "outbound_event_ordering", 2);
        let (keys, seqs) = heads_of(&transaction, heads).await;
        assert_eq!(keys.len(), LIMIT / 2);
        let claim = hot::claim_in_postgres("default", TOKEN, LIMIT, keys, seqs);
        let plan = self::plan(&transaction, &claim).await;
        check_walks(&plan, "outbound_event_ordering", 1);
        check_walks(&plan, "outbound_event_due", 1);
        let claimed = rows_of(&transaction).await;
        assert_eq!(claimed.len(), LIMIT);
        self::plan(&transaction, &hot::renew(&full.database, TOKEN)).await;
        for statement in full.settle(&claimed) {
            self::plan(&transaction, &statement).await;
        }
        assert!(rows_of(&transaction).await.is_empty());
        for statement in full.dedupe().into_iter().chain(full.cleanup()) {
            self::plan(&transaction, &statement).await;
        }
        transaction.rollback().await.unwrap();
    }
    full.database.close().await;
}

/// How often a plan walks an index.
fn check_walks(plan: &str, index: &str, walks: usize) {
    let found = plan.matches(&format!("\"Index Name\":\"{index}\"")).count();
    assert_eq!(found, walks, "{index} in {plan}");
}

async fn heads_of(
    transaction: &DatabaseTransaction,
    statement: Statement,
) -> (Vec<String>, Vec<i64>) {
    let rows = transaction.query_all_raw(statement).await.unwrap();
    let head = |row: &QueryResult| -> (String, i64) {
        (row.try_get("", "ordering_key").unwrap(), row.try_get("", "seq").unwrap())
    };
    rows.iter().map(head).unzip()
}

async fn rows_of(transaction: &DatabaseTransaction) -> Vec<i64> {
    let query =
        format!("SELECT seq FROM outbound_event WHERE claim_token = '{TOKEN}' ORDER BY seq");
    let query = Statement::from_string(DbBackend::Postgres, query);
    let rows = transaction.query_all_raw(query).await.unwrap();
    rows.iter().map(|row| row.try_get("", "seq").unwrap()).collect()
}

/// The plan of a statement, which neither scans a table nor sorts, and touches few pages when it is run.
async fn plan(transaction: &DatabaseTransaction, statement: &Statement) -> String {
    run(transaction, &format!("PREPARE hot AS {}", statement.sql)).await;
    let values: Vec<_> =
        statement.values.iter().flat_map(|all| all.0.iter()).map(literal).collect();
    let explain =
        format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot({})", values.join(", "));
    let row = transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, explain)).await;
    let plan: Json = row.unwrap().unwrap().try_get_by_index(0).unwrap();
    run(transaction, "DEALLOCATE hot").await;
    let top = &plan[0]["Plan"];
    let shown = format!("{}\n{top}", statement.sql);
    check_node(top, &shown);
    let pages = ["Shared Hit Blocks", "Shared Read Blocks"];
    let pages: u64 = pages.iter().map(|name| top[name].as_u64().unwrap()).sum();
    assert!(pages < PAGES, "{pages} pages for {shown}");
    shown
}

fn check_node(node: &Json, shown: &str) {
    // Locks and the catalogue are in memory; there are few of them.
    if node["Subplan Name"] == "CTE writer" {
        return;
    }
    let kind = node["Node Type"].as_str().unwrap();
    assert!(!["Seq Scan", "Sort", "Incremental Sort"].contains(&kind), "{kind} in {shown}");
    for child in node["Plans"].as_array().into_iter().flatten() {
        check_node(child, shown);
    }
}

async fn run(transaction: &DatabaseTransaction, sql: &str) {
    let done = transaction.execute_unprepared(sql).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn literal(value: &Value) -> String {
    match value {
        Value::BigInt(Some(number)) => number.to_string(),
        Value::String(Some(text)) => format!("'{text}'"),
        Value::String(None) => "NULL".to_owned(),
        Value::Array(_, Some(items)) => {
            let items: Vec<_> = items.iter().map(|item| literal(item).replace('\'', "")).collect();
            format!("'{{{}}}'", items.join(","))
        }
        other => panic!("{other:?} is no parameter of these statements"),
    }
}
