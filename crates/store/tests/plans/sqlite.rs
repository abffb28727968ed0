//! SQLite's plans.

use postroad_store::hot;
use sea_orm::{ConnectionTrait, Statement};

use super::full::{DUE, Full, LIMIT, Shape, TOKEN};

/// Before and after SQLite knows how its columns are distributed.
pub(crate) async fn check(url: &str) {
    let full = Full::new(url, Shape::Mixed).await;
    for analyzed in [false, true] {
        if analyzed {
            full.execute("ANALYZE").await;
        }
        let plan = plan(&full, &hot::heads_in_sqlite("default", LIMIT)).await;
        // The first row of the first key, and of each next key.
        let ordering =
            "USING COVERING INDEX outbound_event_ordering (config_key=? AND ordering_key>?)";
        assert_eq!(plan.matches(ordering).count(), 2, "{plan}");
        let claim = hot::claim_in_sqlite("default", TOKEN, LIMIT, &keys(&full).await);
        let plan = self::plan(&full, &claim).await;
        // The first row of each key, and due rows without a key.
        let ordering =
            "USING COVERING INDEX outbound_event_ordering (config_key=? AND ordering_key=?)";
        assert_eq!(plan.matches(ordering).count(), 1, "{plan}");
        let due = "USING INDEX outbound_event_due (config_key=? AND due_at<?)";
        assert_eq!(plan.matches(due).count(), 1, "{plan}");

        let mut others =
            vec![hot::peek(&full.database, "default"), hot::renew(&full.database, TOKEN)];
        others.extend(full.settle(&[1, 2, 3]));
        others.extend(full.dedupe());
        others.extend(full.cleanup());
        for statement in others {
            self::plan(&full, &statement).await;
        }
    }
    // The plan is that of a claim that works.
    let claim = hot::claim_in_sqlite("default", TOKEN, LIMIT, &keys(&full).await);
    let rows = full.database.connection().query_all_raw(claim).await.unwrap();
    assert_eq!(rows.len(), LIMIT.min(DUE.iter().sum::<u32>() as usize));
    full.database.close().await;
}

/// What the first statement of a claim finds.
async fn keys(full: &Full) -> Vec<String> {
    let heads = hot::heads_in_sqlite("default", LIMIT);
    let rows = full.database.connection().query_all_raw(heads).await.unwrap();
    assert_eq!(rows.len(), LIMIT / 2);
    rows.iter().map(|row| row.try_get("", "ordering_key").unwrap()).collect()
}

/// The plan of a statement, which neither scans a table nor sorts.
async fn plan(full: &Full, statement: &Statement) -> String {
    let mut explain = statement.clone();
    explain.sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let rows = full.database.connection().query_all_raw(explain).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    let plan = format!("{}\n\n{}", statement.sql, plan.join("\n"));
    for bad in [
        "SCAN outbound_event",
        "SCAN o",
        "SCAN d",
        "SCAN e",
        "SCAN inbound",
        "TEMP B-TREE FOR ORDER",
    ] {
        let found = plan.lines().any(|line| line == bad || line.starts_with(&format!("{bad} ")));
        assert!(!found, "`{bad}` in\n{plan}");
    }
    plan
}
