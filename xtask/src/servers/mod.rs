//! The servers of the tests, started from what is installed, on loopback ports and in a temporary folder of their own.

mod mariadb;
mod mosquitto;
mod postgres;
mod rabbitmq;
mod site;

use std::fmt;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use crate::handshake::Protocol;
use crate::process::Process;
use crate::say::say;
use crate::servers::site::Site;
use crate::{interrupt, ports};

/// The servers that some test needs; what `setup` installs.
pub(crate) const NEEDED: [Kind; 4] =
    [Kind::Rabbitmq, Kind::Postgres, Kind::Mosquitto, Kind::Mariadb];

/// How long a server may take until it answers.
pub(crate) const READY_LIMIT: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(100);

/// A kind of server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    Rabbitmq,
    Postgres,
    Mosquitto,
    Mariadb,
}

impl Kind {
    /// The environment variables that take its URLs to the tests.
    pub(crate) fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Rabbitmq => &["POSTROAD_TEST_AMQP_URL", "POSTROAD_TEST_RABBITMQ_MQTT_URL"],
            Self::Postgres => &["POSTROAD_TEST_POSTGRES_URL"],
            Self::Mosquitto => &["POSTROAD_TEST_MQTT_URL"],
            Self::Mariadb => &["POSTROAD_TEST_MARIADB_URL"],
        }
    }

    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Rabbitmq => Protocol::Amqp,
            Self::Postgres => Protocol::Postgres,
            Self::Mosquitto => Protocol::Mqtt,
            Self::Mariadb => Protocol::Mariadb,
        }
    }

    /// The program that must be there to start it.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Rabbitmq => rabbitmq::program(),
            Self::Postgres => postgres::program("postgres"),
            Self::Mosquitto => mosquitto::program(),
            Self::Mariadb => mariadb::program(),
        }
    }

    pub(crate) fn check_installed(self) -> anyhow::Result<()> {
        if self.program().is_none() {
            bail!("{self} is not installed; `cargo xtask setup` installs what the tests need");
        }
        Ok(())
    }

    /// The user that its package makes for it.
    fn user(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Postgres => "postgres",
            Self::Mosquitto => "mosquitto",
            Self::Mariadb => "mysql",
        }
    }

    /// Starts its processes, the one that serves last.
    fn spawn(self, site: &Site) -> anyhow::Result<Vec<Process>> {
        match self {
            Self::Rabbitmq => rabbitmq::spawn(site),
            Self::Postgres => postgres::spawn(site),
            Self::Mosquitto => mosquitto::spawn(site),
            Self::Mariadb => mariadb::spawn(site),
        }
    }

    /// The URLs of a server of this kind, in the order of its variables. Its user may create what a test wants.
    pub(crate) fn urls(self, ports: Ports, user: &str, password: &str) -> Vec<String> {
        let Ports { main, mqtt } = ports;
        let place = |port| format!("{user}:{password}@127.0.0.1:{port}");
        match self {
            Self::Rabbitmq => {
                vec![format!("amqp://{}/%2f", place(main)), format!("mqtt://{}", place(mqtt))]
            }
            Self::Postgres => vec![format!("postgres://{}/postgres", place(main))],
            Self::Mosquitto => vec![format!("mqtt://127.0.0.1:{main}")],
            Self::Mariadb => vec![format!("mysql://{}/postroad", place(main))],
        }
    }
}

/// Where a server listens on the loopback interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// For the protocol of its kind.
    pub(crate) main: u16,
    /// For RabbitMQ's MQTT plugin; nobody else has one.
    pub(crate) mqtt: u16,
}

impl Ports {
    pub(crate) fn free() -> anyhow::Result<Self> {
        Ok(Self { main: ports::free()?, mqtt: ports::free()? })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rabbitmq => "RabbitMQ",
            Self::Postgres => "PostgreSQL",
            Self::Mosquitto => "Mosquitto",
            Self::Mariadb => "MariaDB",
        })
    }
}

/// Running servers of ours. They are stopped, and their folder is removed, when this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    running: Vec<Server>,
    _folder: TempDir,
}

impl Servers {
    /// Starts all of them side by side. After `Ok` each takes clients; after `Err` none runs.
    pub(crate) fn start(kinds: &[Kind]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("postroad-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .context("cannot make a temporary folder")?;
        let running = thread::scope(|scope| {
            let starting: Vec<_> = kinds
                .iter()
                .map(|kind| scope.spawn(|| Server::start(*kind, folder.path())))
                .collect();
            starting
                .into_iter()
                .map(|server| server.join().expect("starting a server does not panic"))
                .collect::<Vec<_>>()
        });
        // Collected only now, so that all that did start are stopped where one did not.
        Ok(Self { running: running.into_iter().collect::<anyhow::Result<_>>()?, _folder: folder })
    }

    /// Environment variables and the URLs they take to the tests.
    pub(crate) fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.running.iter().flat_map(|server| {
            server.kind.variables().iter().copied().zip(server.urls.iter().map(String::as_str))
        })
    }

    /// `Err` where one of them is no longer there.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Server::check)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // All are asked before the first is waited for.
        for process in self.running.iter_mut().flat_map(|server| &mut server.processes).rev() {
            process.ask_to_end();
        }
    }
}

#[derive(Debug)]
struct Server {
    kind: Kind,
    urls: Vec<String>,
    processes: Vec<Process>,
}

impl Server {
    fn start(kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        kind.check_installed()?;
        let site = Site::new(kind, folder)?;
        let address = site.address();
        say(format_args!("starting {kind} on {address}"));
        let began = Instant::now();
        let server = Self::start_in(kind, &site).map_err(|error| explain(error, kind, &site))?;
        say(format_args!("{kind} on {address} ready in {:.1} s", began.elapsed().as_secs_f32()));
        Ok(server)
    }

    fn start_in(kind: Kind, site: &Site) -> anyhow::Result<Self> {
        let urls = kind.urls(site.ports, Site::USER, &site.password);
        let mut server = Self { kind, urls, processes: kind.spawn(site)? };
        wait_until_ready(kind.protocol(), site.address(), || server.check())?;
        Ok(server)
    }

    fn check(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                bail!("{} ended by itself with {status}", self.kind);
            }
        }
        Ok(())
    }
}

/// Waits until a server answers, as long as `alive` says that it may.
pub(crate) fn wait_until_ready(
    protocol: Protocol,
    address: SocketAddr,
    mut alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        interrupt::check()?;
        alive()?;
        match protocol.greet(address) {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > READY_LIMIT => {
                return Err(error).with_context(|| {
                    format!("{address} is not ready after {} s", READY_LIMIT.as_secs())
                });
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Shows what the server itself said, unless it was the user who stopped it.
fn explain(error: anyhow::Error, kind: Kind, site: &Site) -> anyhow::Error {
    if error.is::<interrupt::Interrupted>() {
        return error;
    }
    let log = fs::read_to_string(&site.log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    if !lines.is_empty() {
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        say(format_args!("the end of the log of {kind}:\n{tail}"));
    }
    error.context(format!("{kind} did not start"))
}
