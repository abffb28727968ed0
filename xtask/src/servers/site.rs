//! Where one server works: its folder, port, password and log, and the user it runs as.

use std::fs::{self, DirBuilder, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::ports;
use crate::servers::{Kind, Ports};

/// One server's place.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) log: PathBuf,
    pub(super) ports: Ports,
    pub(super) password: String,
    account: Option<Account>,
}

impl Site {
    /// The user that the tests log in as.
    pub(super) const USER: &'static str = "postroad";

    pub(super) fn new(kind: Kind, parent: &Path) -> anyhow::Result<Self> {
        let name = kind.user();
        let folder = parent.join(name);
        // Its files hold passwords, and its parent is open to the users that servers run as.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        let account = Account::to_become(name, &folder)?;
        if let Some(account) = &account {
            account.own(&folder)?;
        }
        Ok(Self {
            log: parent.join(format!("{name}.log")),
            ports: Ports::free()?,
            // A throw-away server on the loopback interface needs no better dice.
            password: (0..20).map(|_| fastrand::alphanumeric()).collect(),
            folder,
            account,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        ports::loopback(self.ports.main)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file that only the server reads.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let file = self.path(name);
        fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
        if let Some(account) = &self.account {
            account.own(&file)?;
        }
        Ok(file)
    }

    /// A command that runs in the folder, as the server's user, and writes to the log.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> anyhow::Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("cannot write the log")?;
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            // Ours may be closed to the server's user.
            .env("TMPDIR", &self.folder)
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(account) = &self.account {
            command.uid(account.user).gid(account.group);
        }
        Ok(command)
    }
}

/// The user of a server's package. PostgreSQL and MariaDB do not run as root, and the others need not.
#[derive(Debug)]
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account to change to, where we are root (then `ours`, which we made, is root's) and there is such a user.
    fn to_become(name: &str, ours: &Path) -> anyhow::Result<Option<Self>> {
        if fs::metadata(ours)?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read `/etc/passwd`")?;
        Ok(users.lines().find_map(|line| Self::in_line(line, name)))
    }

    /// `name:password:user:group:...`
    fn in_line(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let user = fields.nth(1)?.parse().ok()?;
        Some(Self { user, group: fields.next()?.parse().ok()? })
    }

    fn own(&self, path: &Path) -> anyhow::Result<()> {
        chown(path, Some(self.user), Some(self.group))
            .with_context(|| format!("cannot give away `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        let account = Account::in_line(line, "postgres").unwrap();
        assert_eq!((account.user, account.group), (101, 104));
        assert!(Account::in_line(line, "post").is_none());
    }
}
