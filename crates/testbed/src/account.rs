//! The users that servers run as where the tests run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// PostgreSQL and MariaDB do not run as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account to change to, where we are root and there is such a user.
    pub(crate) fn to_become(name: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").ok()?;
        users.lines().find_map(|line| Self::in_line(line, name))
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

    pub(crate) fn own(self, path: &Path) {
        chown(path, Some(self.user), Some(self.group)).unwrap();
    }

    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
