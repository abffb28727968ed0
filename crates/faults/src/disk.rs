//! A disk that can be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

const BLOCK: [u8; 8_192] = [7; 8_192];

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

    /// Fills it but for so many bytes, until what this returns is deleted.
    pub(crate) fn fill(&self, room: u64) -> Result<PathBuf> {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast)?;
        let mut block = BLOCK.len();
        while block > 0 {
            while self.free()? > room && file.write_all(&BLOCK[..block]).is_ok() {}
            block /= 2;
        }
        // Open, it would keep its space. It is closed here.
        Ok(ballast)
    }

    fn free(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(&self.0)?;
        Ok(found.f_bavail * found.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: something may still have a file open there.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
