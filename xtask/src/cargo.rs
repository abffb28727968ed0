//! Cargo, called from a program that cargo itself runs.

use std::env;
use std::process::Command;

use crate::find;

/// What `cargo run` sets for us. Build scripts that watch these (ring's does) would build again at every change.
const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// `cargo <task>` in the root of the workspace.
pub(crate) fn cargo(task: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.arg(task).current_dir(find::workspace());
    command
}
