//! What the program writes to disk is for its user alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{Letter, Mosquitto, Postroad, Publisher, TOPIC, configure_mqtt};

/// Every file and folder below, with its permissions.
fn below(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // It may be gone by now.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            found.extend(below(&path));
        }
        found.push((path, metadata.permissions().mode() & 0o7777));
    }
    found
}

#[track_caller]
fn check(folder: &Path, expected: &[&str]) {
    let found = below(folder);
    for name in expected {
        let is_there = |(path, _): &(PathBuf, u32)| path.to_string_lossy().contains(name);
        assert!(found.iter().any(is_there), "no `{name}` in {found:?}");
    }
    for (path, mode) in &found {
        let fits = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, fits, "{} has {mode:o}", path.display());
    }
}

/// A folder that holds nothing but what the program makes.
fn postroad() -> (TempDir, Postroad) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/bus.db?mode=rwc", folder.path().display());
    let postroad = Postroad::new(url, folder.path());
    (folder, postroad)
}

#[tokio::test]
async fn a_database_and_its_side_files_are() {
    let (folder, postroad) = postroad();
    postroad.done(&["migrate", "up"]);
    let config = "[config.default]\nbroker_type = 'memory'\nsource_service = 'ebmr'\n";
    postroad.import(config);
    fs::remove_file(folder.path().join("import.toml")).unwrap();
    let worker = postroad.worker(&[]);
    postroad.until_status("default", "running").await;
    // It is killed, so that they stay.
    drop(worker);
    // The log is the test's.
    let log =
        below(folder.path()).into_iter().find(|(path, _)| path.to_string_lossy().ends_with(".log"));
    fs::remove_file(log.unwrap().0).unwrap();
    check(folder.path(), &["bus.db", "bus.db-wal", "bus.db-shm"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn spool_and_locks_are() {
    let (folder, postroad) = postroad();
    let mosquitto = Mosquitto::start().await;
    postroad.done(&["migrate", "up"]);
    for (more, expected) in [
        (&["mqtt.clean_session=false"][..], &["/spool/log/", "/spool/session"][..]),
        (
            &["mqtt.shared_group=ebmr", "mqtt.protocol_version=5"],
            &["/spool/0.lock", "/spool/0/log/"],
        ),
    ] {
        configure_mqtt(&postroad, &mosquitto, more);
        let worker = postroad.worker(&[]);
        postroad.until_status("default", "running").await;
        let mut publisher = Publisher::connect(mosquitto.address).await.unwrap();
        publisher.publish(&[Letter::new(TOPIC, "{}")]).await.unwrap();
        worker.stop().await;
        check(&folder.path().join("spool"), &[]);
        let found = below(folder.path());
        for name in expected {
            let is_there = |(path, _): &(PathBuf, u32)| path.to_string_lossy().contains(name);
            assert!(found.iter().any(is_there), "no `{name}` in {found:?}");
        }
    }
}
