//! `postroad demo`: what somebody runs first.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{Home, Postroad, Ran};

/// What the closing table says, by service and rows.
const TABLE: [(&str, &str, u32); 12] = [
    ("ebmr", "outbox, published", 4),
    ("ebmr", "outbox, invalid", 1),
    ("ebmr", "outbox, not settled", 0),
    ("ebmr", "inbox, processed", 8),
    ("ebmr", "inbox, left over", 0),
    ("ebmr", "quarantine", 0),
    ("edgenexus", "outbox, published", 9),
    ("edgenexus", "outbox, invalid", 0),
    ("edgenexus", "outbox, not settled", 0),
    ("edgenexus", "inbox, processed", 4),
    ("edgenexus", "inbox, left over", 0),
    ("edgenexus", "quarantine", 0),
];

/// What the closing table of `--edgex` says, by rows of `ebmr`.
const EDGEX: [(&str, u32); 8] = [
    ("inbox, edgex.event", 4),
    ("inbox, edgex.metric", 1),
    ("inbox, mqtt.json", 1),
    ("inbox, processed", 6),
    ("inbox, left over", 0),
    ("duplicates, not stored", 1),
    ("quarantine", 1),
    ("spool, left over", 0),
];

/// Runs the demo, whose temporary files come into the home's folder.
fn demo(home: &Home, arguments: &[&str]) -> Ran {
    let folder = temporary(home);
    fs::create_dir(&folder).unwrap();
    let mut command = home.postroad.command(&[&["demo"], arguments].concat());
    Ran::of(command.env("TMPDIR", folder).output().unwrap()).exits(0)
}

fn temporary(home: &Home) -> PathBuf {
    home.postroad.folder().join("temporary")
}

#[tokio::test]
async fn the_demo_ends_well_and_leaves_nothing() {
    let home = Home::empty().await;
    let ran = demo(&home, &[]);
    for (service, rows, count) in TABLE {
        tells(&ran, service, rows, count);
    }
    ends_well(&home, &ran, "what could not be sent says why.");
}

#[tokio::test]
async fn what_a_device_of_edgex_says_is_taken_in_and_nothing_is_left() {
    let home = Home::empty().await;
    let ran = demo(&home, &["--edgex"]);
    for (rows, count) in EDGEX {
        tells(&ran, "ebmr", rows, count);
    }
    ends_well(&home, &ran, "what could not be read is kept as it came.");
}

#[tokio::test]
async fn the_closing_table_of_edgex_comes_as_json_too() {
    let home = Home::empty().await;
    let ran = demo(&home, &["--edgex", "--json"]);
    let table = EDGEX.map(
        |(row, count)| json!({ "service": "ebmr", "row": row, "expected": count, "found": count }),
    );
    assert_eq!(ran.json(), json!({ "as_expected": true, "table": table }));
}

#[tokio::test]
async fn the_database_of_edgex_holds_what_the_table_counts() {
    let home = Home::empty().await;
    let ran = demo(&home, &["--edgex", "--file", "demo.db"]);
    assert!(ran.out.contains("postroad inbox list"), "{}", ran.out);
    let file = home.postroad.folder().join("demo.db");
    let postroad = Postroad::new(format!("sqlite://{}", file.display()), home.postroad.folder());
    let rows = postroad.json(&["inbox", "list", "--status", "processed"]);
    let types = rows.as_array().unwrap().iter().map(|row| row["event_type"].as_str().unwrap());
    let mut types: Vec<_> = types.collect();
    types.sort_unstable();
    let events = ["edgex.event"; 4];
    assert_eq!(types, [&events[..], &["edgex.metric", "mqtt.json"]].concat());
    let kept = postroad.json(&["quarantine", "list"]);
    assert_eq!(kept[0]["reason"], "edgex.malformed");
}

/// The closing table has this line once, and it is as expected.
#[track_caller]
fn tells(ran: &Ran, service: &str, rows: &str, count: u32) {
    let count = count.to_string();
    let has = |line: &&str| {
        let words: Vec<_> = line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
        words == [service, rows, &count, &count, "ok"]
    };
    assert_eq!(ran.out.lines().filter(has).count(), 1, "{service}, {rows}: {}", ran.out);
}

/// The last words are these, nothing was complained of and no file is left.
#[track_caller]
fn ends_well(home: &Home, ran: &Ran, words: &str) {
    assert!(ran.out.trim_end().ends_with(words), "{}", ran.out);
    assert_eq!(ran.err, "");
    let left: Vec<_> = fs::read_dir(temporary(home)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_closing_table_comes_as_json_too() {
    let home = Home::empty().await;
    let ran = demo(&home, &["--json"]);
    let table = TABLE.map(|(service, row, count)| {
        json!({ "service": service, "row": row, "expected": count, "found": count })
    });
    assert_eq!(ran.json(), json!({ "as_expected": true, "table": table }));
}

#[tokio::test]
async fn a_named_file_stays_and_is_not_used_twice() {
    let home = Home::empty().await;
    demo(&home, &["--file", "demo.db"]);
    let file = home.postroad.folder().join("demo.db");
    let url = format!("sqlite://{}", file.display());
    look_into(&Postroad::new(url, home.postroad.folder()));
    home.postroad.run(&["demo", "--file", "demo.db"]).fails_saying(&["`demo.db` is there already"]);
}

#[tokio::test]
async fn a_kept_database_can_be_looked_into_as_the_demo_says() {
    let home = Home::empty().await;
    let ran = demo(&home, &["--keep"]);
    let (_, rest) = ran.out.split_once("DATABASE_URL='").expect("it says where the database is");
    let (url, command) = rest.split_once("' ").unwrap();
    assert_eq!(command.trim_end(), "postroad outbox list");
    look_into(&Postroad::new(url, home.postroad.folder()));
}

/// The rows that the table counts are there.
#[track_caller]
fn look_into(postroad: &Postroad) {
    let rows = postroad.json(&["outbox", "list"]);
    assert_eq!(rows.as_array().unwrap().len(), 14);
    let rows = postroad.json(&["inbox", "list", "--status", "processed"]);
    assert_eq!(rows.as_array().unwrap().len(), 12);
    let invalid = postroad.json(&["outbox", "list", "--status", "invalid"]);
    let error = invalid[0]["last_error"].as_str().unwrap();
    assert!(error.contains("reply_to"), "{error}");
}
