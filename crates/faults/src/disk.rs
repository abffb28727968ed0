//! A disk that can be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// A disk of few bytes.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// At a folder that is there.
    pub(crate) fn mount(folder: &Path) -> Result<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=384m,mode=755", "tmpfs"]).arg(folder);
        ensure!(mount.status()?.success(), "cannot mount a small disk");
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: something may still have a file open there.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
