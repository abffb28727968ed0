//! Commands that need no database, and what holds for all of them.

use std::io;
use std::process::Stdio;

use serde_json::json;

use crate::support::Home;

const GOOD: &str = r#"{"schema":"interservice.envelope.v1","message_id":"m-1","message_type":"event",
    "topic":"event.machine.spindle.started","source_service":"lathe","event_type":"started","payload":null}"#;

#[tokio::test]
async fn wrong_usage_exits_with_2_and_names_the_help() {
    let home = Home::empty().await;
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["status", "--frobnicate"],
        &["outbox", "list", "--status", "lost"],
        &["outbox", "send", "--topic", "event.a.b.c"],
        &["outbox", "retry"],
        &["outbox", "skip"],
        &["prune", "--dry"],
        &["quarantine", "purge"],
        &["worker", "--lease-seconds", "1"],
        &["topic", "check"],
    ] {
        let ran = home.postroad.run(arguments).exits(2);
        assert!(ran.err.contains("--help"), "{arguments:?}: {ran:?}");
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn help_and_version_are_asked_for_and_exit_with_0() {
    let home = Home::empty().await;
    assert!(home.postroad.done(&["--version"]).starts_with("postroad 0."));
    for command in
        ["worker", "config", "outbox", "inbox", "quarantine", "migrate", "prune", "status"]
    {
        let help = home.postroad.done(&[command, "--help"]);
        assert!(help.contains("Examples:"), "{command}: {help}");
    }
}

#[tokio::test]
async fn an_error_is_one_line_that_says_what_to_do() {
    let home = Home::empty().await;
    let check = |arguments: &[&str], parts: &[&str]| {
        home.postroad.run(arguments).fails_saying(parts);
    };
    check(&["status"], &["no tables", "run `postroad migrate up`"]);
    check(&["--database-url", "oracle://x", "status"], &["--database-url", "`postgres:`"]);
    check(&["--database-url", "sqlite:///no/such/folder/x.db?mode=rwc", "status"], &["/no/such"]);
    home.postroad.done(&["migrate"]);
    check(&["config", "show", "nope"], &["`nope`", "`postroad config list`"]);
    check(&["config", "import", "nope.toml"], &["`nope.toml`"]);
    check(&["status", "--config-key", "nope"], &["`nope`", "`postroad config list`"]);
    check(&["worker", "--config-key", "nope"], &["`nope`", "`postroad config import FILE.toml`"]);
    check(&["outbox", "show", "nope"], &["`nope`", "`postroad outbox list`"]);
    check(&["outbox", "retry", "nope"], &["`nope`", "`postroad outbox list`"]);
    check(&["outbox", "skip", "nope"], &["`nope`", "`postroad outbox list`"]);
    check(&["prune", "--config-key", "nope"], &["`nope`", "`postroad config list`"]);
    check(&["inbox", "done", "nope"], &["`nope`", "`postroad inbox list`"]);
    check(&["quarantine", "show", "nope"], &["`nope`", "`postroad quarantine list`"]);
    check(&["envelope", "validate", "nope.json"], &["`nope.json`"]);
}

#[tokio::test]
async fn an_envelope_is_checked_as_on_the_wire() {
    let home = Home::empty().await;
    let file = home.postroad.file("good.json", GOOD);
    let said = home.postroad.done(&["envelope", "validate", &file]);
    assert_eq!(said, "valid: event event.machine.spindle.started\n");
    let ran =
        home.postroad.run_with_input(&["envelope", "validate", "-", "--json"], GOOD.as_bytes());
    let expected = json!({
        "valid": true, "message_type": "event", "topic": "event.machine.spindle.started", "faults": [],
    });
    assert_eq!(ran.exits(0).json(), expected);
}

#[tokio::test]
async fn every_fault_of_an_envelope_is_named() {
    let home = Home::empty().await;
    let bad = GOOD.replace("\"m-1\"", "7").replace("event.machine", "machine");
    let file = home.postroad.file("bad.json", bad);
    let ran = home.postroad.run(&["envelope", "validate", &file]).exits(1);
    assert_eq!(ran.out, "");
    for part in ["message_id: ", "topic: ", "error: `bad.json` is not a valid"] {
        assert!(ran.err.lines().any(|line| line.starts_with(part)), "{part}: {ran:?}");
    }
    let verdict = home.postroad.run(&["envelope", "validate", &file, "--json"]).exits(1).json();
    assert_eq!(verdict["valid"], false);
    let fields: Vec<_> =
        verdict["faults"].as_array().unwrap().iter().map(|it| &it["field"]).collect();
    assert_eq!(fields, ["message_id", "topic"]);
}

#[tokio::test]
async fn the_schema_of_the_envelope_is_printed() {
    let home = Home::empty().await;
    let schema = home.postroad.run(&["envelope", "schema"]).exits(0).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["schema"]["const"], "interservice.envelope.v1");
}

#[tokio::test]
async fn topics_are_checked_against_the_grammar() {
    let home = Home::empty().await;
    let good = ["a.request.b.c", "a.response.b.c", "event.a.b.c", "event.a.b.c.d-e_F"];
    let said = home.postroad.json(&[&["topic", "check"], &good[..]].concat());
    let types: Vec<_> = said.as_array().unwrap().iter().map(|it| &it["message_type"]).collect();
    assert_eq!(types, ["request", "response", "event", "event"]);

    let long = format!("event.a.b.{}", "c".repeat(246));
    for bad in ["event.a.b", "event.a.b.#", "event.a..c", "a.event.b.c", "a.b.c.d", "", &long] {
        let ran = home.postroad.run(&["topic", "check", good[0], bad, "--json"]).exits(1);
        let said = ran.json();
        assert_eq!(said[0]["valid"], true);
        assert_eq!(said[1]["valid"], false, "{bad}");
        assert!(!said[1]["error"].as_str().unwrap().is_empty(), "{bad}");
    }
}

#[tokio::test]
async fn each_shell_gets_its_completions() {
    let home = Home::empty().await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.postroad.done(&["completions", shell]);
        assert!(script.contains("postroad") && script.contains("quarantine"), "{shell}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let home = Home::configured().await;
    for arguments in [
        &["completions", "bash"][..],
        &["envelope", "schema"],
        &["topic", "check", "event.a.b.c"],
        &["config", "show", "default"],
        &["config", "list", "--json"],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = home.postroad.command(arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        // The parent's end of the pipe goes with the command.
        drop(command);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{arguments:?}");
    }
}
