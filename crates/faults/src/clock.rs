//! A clock of a process that is set at will, by libfaketime.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where distributions put it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

/// It is as far from the true time as its file says.
#[derive(Debug, Clone)]
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// One that is right, in a folder that is there.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self> {
        let clock = Self(folder.join(name));
        clock.set("+0")?;
        Ok(clock)
    }

    /// `+2d`, `+3600` and so on.
    pub(crate) fn set(&self, jump: &str) -> Result<()> {
        // Not in two steps: an empty file is no time.
        let next = self.0.with_extension("next");
        fs::write(&next, jump)?;
        fs::rename(&next, &self.0)?;
        Ok(())
    }

    /// What a process needs in its environment to go by it.
    pub(crate) fn environment(&self) -> Result<[(&str, &str); 4]> {
        Ok([
            ("LD_PRELOAD", library().context("libfaketime is not installed")?),
            ("FAKETIME_TIMESTAMP_FILE", self.0.to_str().context("it is text")?),
            ("FAKETIME_NO_CACHE", "1"),
            // Only the time of day jumps, as it does on a real machine.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])
    }
}

/// Where it is, if it is installed.
pub(crate) fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|file| Path::new(file).is_file())
}
