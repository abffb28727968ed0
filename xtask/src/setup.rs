//! What the build and the tests need of the machine, and how it is installed where it is missing.

use std::env;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::args::Brokers;
use crate::find;
use crate::say::say;
use crate::servers::{Kind, NEEDED};

/// Something that must be there, and the packages that bring it.
struct Need {
    what: &'static str,
    there: fn() -> bool,
    apt: &'static [&'static str],
    dnf: &'static [&'static str],
    brew: &'static [&'static str],
}

/// All but the compiler are for the MQTT client, which is built from its C source.
const BUILD: [Need; 4] = [
    Need {
        what: "a C compiler",
        there: || find::program("cc").is_some(),
        apt: &["gcc", "libc6-dev", "make"],
        dnf: &["gcc", "make"],
        brew: &["gcc"],
    },
    Need {
        what: "CMake",
        there: || find::program("cmake").is_some(),
        apt: &["cmake", "make"],
        dnf: &["cmake", "make"],
        brew: &["cmake"],
    },
    Need {
        what: "pkg-config",
        there: || find::program("pkg-config").is_some(),
        apt: &["pkg-config"],
        dnf: &["pkgconf-pkg-config"],
        brew: &["pkgconf"],
    },
    Need {
        what: "the headers of OpenSSL",
        there: openssl_headers,
        apt: &["libssl-dev"],
        dnf: &["openssl-devel"],
        brew: &["openssl@3"],
    },
];

/// Of use to a few cells of the fault matrix, which are skipped without it.
const CLOCK: Need = Need {
    what: "libfaketime",
    there: || {
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
            .iter()
            .any(|folder| Path::new(folder).join("faketime/libfaketime.so.1").is_file())
    },
    apt: &["libfaketime"],
    dnf: &["libfaketime"],
    brew: &["libfaketime"],
};

fn server(kind: Kind) -> Need {
    match kind {
        Kind::Rabbitmq => Need {
            what: "RabbitMQ",
            there: || Kind::Rabbitmq.program().is_some(),
            apt: &["rabbitmq-server"],
            dnf: &["rabbitmq-server"],
            brew: &["rabbitmq"],
        },
        Kind::Postgres => Need {
            what: "PostgreSQL",
            there: || Kind::Postgres.program().is_some(),
            apt: &["postgresql"],
            dnf: &["postgresql-server"],
            brew: &["postgresql@17"],
        },
        Kind::Mosquitto => Need {
            what: "Mosquitto",
            there: || Kind::Mosquitto.program().is_some(),
            apt: &["mosquitto"],
            dnf: &["mosquitto"],
            brew: &["mosquitto"],
        },
        Kind::Mariadb => Need {
            what: "MariaDB",
            there: || Kind::Mariadb.program().is_some(),
            apt: &["mariadb-server"],
            dnf: &["mariadb-server"],
            brew: &["mariadb"],
        },
    }
}

fn openssl_headers() -> bool {
    let known = [
        "/usr/include",
        "/usr/local/include",
        "/opt/homebrew/opt/openssl@3/include",
        "/usr/local/opt/openssl@3/include",
    ];
    known.iter().any(|folder| Path::new(folder).join("openssl/ssl.h").is_file())
        || Command::new("pkg-config")
            .args(["--exists", "openssl"])
            .status()
            .is_ok_and(|status| status.success())
}

/// What the build needs.
pub(crate) fn build() -> anyhow::Result<()> {
    install(&BUILD.iter().collect::<Vec<_>>(), false)
}

/// What the build and the tests need, with servers where no Docker engine answers.
pub(crate) fn everything(yes: bool) -> anyhow::Result<()> {
    for_tests(yes, Brokers::or_detected(None))?;
    say("all that the build and the tests need is there");
    Ok(())
}

/// What the build and the tests need when the servers come from there.
pub(crate) fn for_tests(yes: bool, brokers: Brokers) -> anyhow::Result<()> {
    let servers: Vec<_> = match brokers {
        Brokers::Local => NEEDED.into_iter().map(server).collect(),
        Brokers::Docker | Brokers::Given => Vec::new(),
    };
    install(&BUILD.iter().chain(&servers).collect::<Vec<_>>(), yes)?;
    if matches!(brokers, Brokers::Local)
        && let Err(error) = install(&[&CLOCK], yes)
    {
        say(format_args!("some cells of the fault matrix will be skipped: {error:#}"));
    }
    Ok(())
}

/// After `Ok` all of it is there.
fn install(needs: &[&Need], yes: bool) -> anyhow::Result<()> {
    let missing: Vec<_> = needs.iter().copied().filter(|need| !(need.there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(format_args!("missing: {}", names(&missing)));
    let Some(apt) = Apt::here(yes) else {
        bail!("install what is missing by hand, then try again:\n{}", by_hand(&missing));
    };
    let packages = packages(&missing, |need| need.apt);
    if !yes && is_asked() && !confirm(&format!("install {} by apt-get?", packages.join(" ")))? {
        bail!("not installed: {}", names(&missing));
    }
    say(format_args!("installing {} by apt-get", packages.join(" ")));
    apt.run(&["update"])?;
    apt.run(&[&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat())?;
    let missing: Vec<_> = missing.into_iter().filter(|need| !(need.there)()).collect();
    if !missing.is_empty() {
        bail!("installed, but still not found: {}", names(&missing));
    }
    Ok(())
}

fn names(needs: &[&Need]) -> String {
    needs.iter().map(|need| need.what).collect::<Vec<_>>().join(", ")
}

/// The packages of all needs, each once.
fn packages(needs: &[&Need], of: fn(&Need) -> &'static [&'static str]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for package in needs.iter().flat_map(|need| of(need)) {
        if !all.contains(package) {
            all.push(*package);
        }
    }
    all
}

/// The commands for the package managers that are here, or for all we know.
fn by_hand(missing: &[&Need]) -> String {
    let commands = [
        (
            "apt-get",
            format!("sudo apt-get install {}", packages(missing, |need| need.apt).join(" ")),
        ),
        ("dnf", format!("sudo dnf install {}", packages(missing, |need| need.dnf).join(" "))),
        ("brew", format!("brew install {}", packages(missing, |need| need.brew).join(" "))),
    ];
    let any = commands.iter().any(|(manager, _)| find::program(manager).is_some());
    let shown = commands.iter().filter(|(manager, _)| !any || find::program(manager).is_some());
    shown.map(|(_, command)| format!("    {command}")).collect::<Vec<_>>().join("\n")
}

/// Whether there is somebody to ask.
fn is_asked() -> bool {
    env::var_os("CI").is_none_or(|ci| ci != "true")
        && io::stdin().is_terminal()
        && io::stderr().is_terminal()
}

fn confirm(question: &str) -> anyhow::Result<bool> {
    write!(io::stderr(), "{question} [Y/n] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.ends_with('\n') && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

/// `apt-get` that may install: as root, or by sudo.
struct Apt {
    before: &'static [&'static str],
}

impl Apt {
    fn here(yes: bool) -> Option<Self> {
        find::program("apt-get")?;
        if is_root() {
            return Some(Self { before: &["env"] });
        }
        find::program("sudo")?;
        // Where nobody is asked, nobody types a password.
        let before: &[&str] =
            if yes || !is_asked() { &["sudo", "-n", "env"] } else { &["sudo", "env"] };
        Some(Self { before })
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.before[0]);
        command
            .args(&self.before[1..])
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"])
            .args(words);
        // The terminal stays with it, for sudo's question.
        let status = command.stdout(Stdio::null()).status().context("cannot run apt-get")?;
        if !status.success() {
            bail!("`apt-get {}` ended with {status}", words.join(" "));
        }
        Ok(())
    }
}

fn is_root() -> bool {
    // On Linux a process owns its own entry there.
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_two_needs_share_is_installed_once() {
        let packages = packages(&[&BUILD[0], &BUILD[1]], |need| need.apt);
        assert_eq!(packages, ["gcc", "libc6-dev", "make", "cmake"]);
    }

    #[test]
    fn the_commands_by_hand_name_what_is_missing() {
        let commands = by_hand(&[&BUILD[3], &server(Kind::Rabbitmq)]);
        assert!(commands.contains("rabbitmq"), "{commands}");
        assert!(commands.contains("openssl") || commands.contains("libssl-dev"), "{commands}");
    }
}
