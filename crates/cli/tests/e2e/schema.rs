//! `postroad migrate`, and programs on a schema that is not theirs.

use serde_json::Value;

use crate::support::Home;

const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'outbound_event'";

#[tokio::test]
async fn the_tables_come_and_go() {
    let home = Home::empty().await;
    let status = |code| home.postroad.run(&["migrate", "status", "--json"]).exits(code).json();
    let steps = names(&status(1), false);
    assert_eq!(steps.first().map(String::as_str), Some("m0001_create_tables"));
    let table = home.postroad.run(&["migrate", "status"]).exits(1).out;
    assert!(table.contains(&steps[0]) && table.contains("missing"), "{table}");

    assert_eq!(home.postroad.done(&["migrate", "up"]), lines("applied", &steps));
    assert_eq!(names(&status(0), true), steps);
    assert_eq!(home.sql.count(TABLES).await, 1);
    let again = home.postroad.done(&["migrate"]);
    assert_eq!(again, "nothing to do, the schema is current\n");

    let newest = steps.last().unwrap();
    assert_eq!(home.postroad.done(&["migrate", "down"]), lines("took back", [newest]));
    assert_eq!(names(&status(1), false), [newest.as_str()]);
    assert_eq!(home.sql.count(TABLES).await, 1);
    let rest = steps.iter().rev().skip(1);
    assert_eq!(home.postroad.done(&["migrate", "down", "--steps", "99"]), lines("took back", rest));
    assert_eq!(names(&status(1), false), steps);
    assert_eq!(home.sql.count(TABLES).await, 0);
    let again = home.postroad.done(&["migrate", "down"]);
    assert_eq!(again, "nothing to do, no migration is applied\n");
    home.postroad.done(&["migrate", "up"]);
    assert_eq!(names(&status(0), true), steps);
}

/// The steps that are applied, or those that are not.
fn names(status: &Value, applied: bool) -> Vec<String> {
    let steps = status.as_array().unwrap().iter().filter(|step| step["applied"] == applied);
    steps.map(|step| step["name"].as_str().unwrap().to_owned()).collect()
}

fn lines<'s>(did: &str, steps: impl IntoIterator<Item = &'s String>) -> String {
    steps.into_iter().map(|step| [did, " ", step, "\n"].concat()).collect()
}

#[tokio::test]
async fn a_worker_without_tables_says_how_to_make_them() {
    let home = Home::empty().await;
    let mut worker = home.postroad.worker(&[]);
    assert_eq!(worker.ended().await, 1);
    let log = worker.log();
    assert!(log.contains("error: ") && log.contains("run `postroad migrate up`"), "{log}");
}

#[tokio::test]
async fn nobody_works_on_a_schema_that_is_newer_than_the_program() {
    let home = Home::configured().await;
    home.sql
        .execute("INSERT INTO postroad_migrations (version, applied_at) VALUES ('m9999_later', 0)")
        .await;
    let mut worker = home.postroad.worker(&[]);
    assert_eq!(worker.ended().await, 1);
    for said in [worker.log(), home.postroad.run(&["status"]).exits(1).err] {
        assert!(said.contains("newer than this program"), "{said}");
        assert!(said.contains("m9999_later") && said.contains("upgrade postroad"), "{said}");
    }
}
