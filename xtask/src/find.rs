//! Where programs are on this machine.

use std::env;
use std::path::{Path, PathBuf};

/// Where servers live that are not on everybody's PATH.
const SYSTEM: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/// The full path of a program, by PATH and then by the system's folders.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    workspace().join(chosen.unwrap_or_else(|| "target".into()))
}
