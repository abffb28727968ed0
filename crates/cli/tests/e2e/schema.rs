//! `postroad migrate`, and programs on a schema that is not theirs.

use crate::support::Home;

const STEP: &str = "m0001_create_tables";
const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'outbound_event'";

#[tokio::test]
async fn the_tables_come_and_go() {
    let home = Home::empty().await;
    let status = |code| home.postroad.run(&["migrate", "status", "--json"]).exits(code).json();
    assert_eq!(status(1)[0]["applied"], false);
    let table = home.postroad.run(&["migrate", "status"]).exits(1).out;
    assert!(table.contains(STEP) && table.contains("missing"), "{table}");

    let up = home.postroad.done(&["migrate", "up"]);
    assert!(up.starts_with(&format!("applied {STEP}\n")), "{up}");
    assert_eq!(status(0)[0]["applied"], true);
    assert_eq!(home.sql.count(TABLES).await, 1);
    let again = home.postroad.done(&["migrate"]);
    assert_eq!(again, "nothing to do, the schema is current\n");

    // As many as there are.
    let steps = up.lines().count().to_string();
    let down = home.postroad.done(&["migrate", "down", "--steps", &steps]);
    assert!(down.ends_with(&format!("took back {STEP}\n")), "{down}");
    assert_eq!(status(1)[0]["applied"], false);
    assert_eq!(home.sql.count(TABLES).await, 0);
    let again = home.postroad.done(&["migrate", "down"]);
    assert_eq!(again, "nothing to do, no migration is applied\n");
    home.postroad.done(&["migrate", "up"]);
    assert_eq!(status(0)[0]["applied"], true);
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
