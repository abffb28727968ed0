//! MariaDB's plans, measured by how many rows are read.

use postroad_store::hot;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Statement};

use super::full::{Full, LIMIT, Shape, TOKEN};

/// Rows that a statement over [`LIMIT`] rows may read: each a dozen times.
const READS: i64 = 6_000;
/// As a claim has it for so many rows with a key.
const STRETCH: usize = 4 * (LIMIT / 2);

/// Each statement runs in a transaction that is taken back.
pub(crate) async fn check(url: String, shape: Shape) {
    let full = Full::new(&url, shape).await;
    full.execute("ANALYZE TABLE outbound_event, inbound_dedupe, inbound_event").await;
    let transaction = full.database.begin().await.unwrap();
    let heads = measure(&transaction, &hot::mysql_heads("default", STRETCH)).await;
    let heads: Vec<i64> =
        heads.iter().map(|row| row.try_get("", "seq").unwrap()).take(LIMIT / 2).collect();
    assert_eq!(heads.len(), LIMIT / 2);
    measure(&transaction, &hot::peek(&full.database, "default")).await;
    let [first, locks @ ..] = hot::mysql_locks("default", &heads, LIMIT - heads.len());
    assert_eq!(measure(&transaction, &first).await.len(), heads.len());
    let mut claimed = Vec::new();
    for lock in locks {
        let rows = measure(&transaction, &lock).await;
        claimed.extend(rows.iter().map(|row| row.try_get::<i64>("", "seq").unwrap()));
    }
    assert_eq!(claimed.len(), LIMIT);
    measure(&transaction, &hot::mysql_take(TOKEN, &claimed)).await;
    measure(&transaction, &hot::renew(&full.database, TOKEN)).await;
    for statement in full.settle(&claimed) {
        measure(&transaction, &statement).await;
    }
    for statement in full.dedupe().into_iter().chain(full.cleanup()) {
        measure(&transaction, &statement).await;
    }
    transaction.rollback().await.unwrap();
    full.database.close().await;
}

/// Runs a statement that neither scans a table nor sorts one, and reads few rows; the rows that it returns.
async fn measure(transaction: &DatabaseTransaction, statement: &Statement) -> Vec<QueryResult> {
    check_plan(transaction, statement).await;
    let before = reads(transaction).await;
    let rows = transaction.query_all_raw(statement.clone()).await.unwrap();
    let read = reads(transaction).await - before;
    assert!(read < READS, "{read} rows are read by {}", statement.sql);
    rows
}

async fn check_plan(transaction: &DatabaseTransaction, statement: &Statement) {
    let mut explain = statement.clone();
    explain.sql = format!("EXPLAIN {}", statement.sql);
    let mut shown = vec![statement.sql.clone()];
    let steps = transaction.query_all_raw(explain).await.unwrap();
    for step in &steps {
        let column = |name| step.try_get::<Option<String>>("", name).unwrap().unwrap_or_default();
        let (table, access, extra) = (column("table"), column("type"), column("Extra"));
        shown.push(format!("{table}: {access}, {}, {extra}", column("key")));
        // What the statement brings itself, and what it has found so far, are read as they are.
        if ["outbound_event", "o", "inbound_dedupe", "d", "inbound_event", "e"].contains(&&*table) {
            assert!(!["ALL", "index"].contains(&&*access), "{shown:#?}");
            assert!(!extra.contains("filesort") && !extra.contains("temporary"), "{shown:#?}");
        }
    }
}

/// How many rows this session has read from tables and indexes.
async fn reads(transaction: &DatabaseTransaction) -> i64 {
    let query = "SELECT CAST(sum(variable_value) AS signed) AS rows_read FROM information_schema.session_status \
                 WHERE variable_name LIKE 'Handler_read%' AND variable_name NOT LIKE '%tmp%'";
    let query = Statement::from_string(DbBackend::MySql, query);
    transaction.query_one_raw(query).await.unwrap().unwrap().try_get("", "rows_read").unwrap()
}
