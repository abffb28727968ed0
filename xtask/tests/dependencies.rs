//! Which of our crates may depend on which, and what the lightest of them must not bring along.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Each crate and those of ours that it may depend on, dev-dependencies aside. A new crate or a new arrow is a line here.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("postroad-edgex", &["envelope"]),
    ("postroad-envelope", &[]),
    ("postroad-fault-points", &[]),
    ("postroad-transport", &["envelope"]),
    ("postroad-transport-memory", &["envelope", "transport"]),
    ("postroad-transport-amqp", &["fault-points", "tls", "transport"]),
    ("postroad-transport-mqtt", &["fault-points", "tls", "transport"]),
    ("postroad-tls", &[]),
    ("postroad-worker-core", &["envelope", "fault-points", "transport"]),
    ("postroad-store", &["envelope", "fault-points", "tls", "worker-core", "migration"]),
    ("postroad-migration", &[]),
    (
        "postroad-cli",
        &[
            "edgex",
            "envelope",
            "fault-points",
            "migration",
            "store",
            "tls",
            "transport",
            "transport-amqp",
            "transport-memory",
            "transport-mqtt",
            "worker-core",
        ],
    ),
    (
        "postroad-bench",
        &[
            "cli",
            "envelope",
            "migration",
            "store",
            "transport",
            "transport-amqp",
            "transport-memory",
            "transport-mqtt",
            "worker-core",
        ],
    ),
    (
        "postroad-fuzz",
        &[
            "edgex",
            "envelope",
            "migration",
            "store",
            "transport",
            "transport-amqp",
            "transport-mqtt",
            "worker-core",
        ],
    ),
    ("postroad-testbed", &[]),
    ("postroad-faults", &["store", "testbed", "transport"]),
    ("postroad-xtask", &[]),
];

#[test]
fn our_crates_depend_on_each_other_only_as_the_table_allows() {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let arrows = arrows();
    assert_eq!(
        arrows.keys().collect::<Vec<_>>(),
        allowed.keys().collect::<Vec<_>>(),
        "crates there are, and the table's"
    );
    for (from, targets) in &arrows {
        for to in targets {
            let short = to.trim_start_matches("postroad-");
            assert!(
                allowed[from.as_str()].contains(&short),
                "{from} depends on {to}, which the table does not allow"
            );
        }
    }
}

#[test]
fn the_envelope_brings_no_database_and_no_broker_client() {
    let tree =
        cargo(&["tree", "--package", "postroad-envelope", "--edges", "normal", "--prefix", "none"]);
    assert!(tree.contains("serde_json v"), "{tree}");
    for heavy in ["sqlx", "sea-orm", "sea-query", "amqprs", "tokio"] {
        assert!(!tree.lines().any(|line| line.starts_with(heavy)), "`{heavy}` in\n{tree}");
    }
}

/// Each of our crates, and those of ours that it depends on to be built.
fn arrows() -> BTreeMap<String, Vec<String>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let ours = dependencies
                .iter()
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| text(&dependency["name"]));
            (text(&package["name"]), ours.filter(|name| name.starts_with("postroad-")).collect())
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .arg("--offline")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
