//! The servers of docker-compose.yml, under a project name of our own, so that nobody else's are touched.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::{self, Ask, Process};
use crate::say::say;
use crate::servers::{Kind, Ports, wait_until_ready};
use crate::{find, ports};

/// An engine that takes longer to say what it is does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long taking the containers down may take.
const DOWN_LIMIT: Duration = Duration::from_mins(1);

/// How Compose is called here, where a Docker engine answers and there is Compose.
pub(crate) fn compose() -> Option<&'static [&'static str]> {
    let known: [&'static [&'static str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    if !answers(&["docker", "info"]) {
        return None;
    }
    known.into_iter().find(|words| answers(&[*words, &["version"]].concat()))
}

fn answers(words: &[&str]) -> bool {
    let mut command = command(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut process) = Process::spawn(&mut command, Ask::Terminate) else {
        return false;
    };
    process.ends_within(ANSWER_LIMIT)
        && process.ended().is_ok_and(|end| end.is_some_and(|status| status.success()))
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(find::workspace());
    command
}

/// Containers of ours. They and their volumes are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Compose {
    words: &'static [&'static str],
    project: String,
    password: String,
    services: Vec<(Kind, Ports)>,
}

impl Compose {
    /// Starts all of them. After `Ok` each takes clients; after `Err` none is left.
    pub(crate) fn start(kinds: &[Kind]) -> anyhow::Result<Self> {
        let words = compose().context("no Docker engine with Compose answers")?;
        let mut services = Vec::new();
        for kind in kinds {
            services.push((*kind, Ports::free()?));
        }
        let text = |length| (0..length).map(|_| fastrand::lowercase()).collect::<String>();
        let ours = Self {
            words,
            project: format!("postroad-itest-{}", text(8)),
            password: text(20),
            services,
        };
        ours.up()?;
        Ok(ours)
    }

    /// Environment variables and the URLs they take to the tests.
    pub(crate) fn urls(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.services.iter().flat_map(|(kind, ports)| {
            let urls = kind.urls(*ports, user(*kind), &self.password);
            kind.variables().iter().copied().zip(urls)
        })
    }

    fn up(&self) -> anyhow::Result<()> {
        say(format_args!("starting the containers of `{}`", self.project));
        let began = Instant::now();
        let mut up = self.command(&["up", "--detach"]);
        up.args(self.services.iter().map(|(kind, _)| service(*kind)));
        process::run(&mut up)
            .context("Compose did not start the containers; `--brokers local` does without it")?;
        for (kind, Ports { main: port, .. }) in &self.services {
            let ready =
                wait_until_ready(kind.protocol(), ports::loopback(*port), || self.check(*kind));
            if let Err(error) = ready {
                // What the container said is a help, not a must.
                process::run(&mut self.command(&["logs", "--tail=30", service(*kind)])).ok();
                return Err(error.context(format!("{kind} did not start")));
            }
            say(format_args!(
                "{kind} on 127.0.0.1:{port} ready in {:.1} s",
                began.elapsed().as_secs_f32()
            ));
        }
        Ok(())
    }

    /// `Err` where the container of this service is gone.
    fn check(&self, kind: Kind) -> anyhow::Result<()> {
        let mut ps = self.command(&["ps", "--quiet", service(kind)]);
        ps.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::spawn(&mut ps, Ask::Terminate)?;
        process.wait()?;
        let mut ids = String::new();
        process.child().stdout.take().expect("it is piped").read_to_string(&mut ids)?;
        if ids.trim().is_empty() {
            bail!("its container is gone");
        }
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(self.words);
        command
            .args(["--project-name", &self.project])
            .args(words)
            .env("POSTROAD_PASSWORD", &self.password);
        for kind in [Kind::Rabbitmq, Kind::Postgres, Kind::Mosquitto, Kind::Mariadb] {
            let ports = self.services.iter().find(|(started, _)| *started == kind);
            let (main, mqtt) = ports.map_or((0, 0), |(_, ports)| (ports.main, ports.mqtt));
            let name = format!("POSTROAD_{}", service(kind).to_uppercase());
            command.env(format!("{name}_PORT"), main.to_string());
            command.env(format!("{name}_MQTT_PORT"), mqtt.to_string());
        }
        // Published, but of no use to a test: Docker chooses the port.
        command.env("POSTROAD_RABBITMQ_MANAGEMENT_PORT", "0");
        command
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        say(format_args!("removing the containers of `{}`", self.project));
        let mut down = self.command(&["down", "--volumes", "--timeout", "2"]);
        let done = Process::spawn(&mut down, Ask::Terminate).and_then(|mut down| {
            down.ends_within(DOWN_LIMIT);
            down.ended()
        });
        if !done.is_ok_and(|end| end.is_some_and(|status| status.success())) {
            say(format_args!(
                "`{} --project-name {} down --volumes` failed",
                self.words.join(" "),
                self.project
            ));
        }
    }
}

/// Its name in docker-compose.yml.
fn service(kind: Kind) -> &'static str {
    match kind {
        Kind::Rabbitmq => "rabbitmq",
        Kind::Postgres => "postgres",
        Kind::Mosquitto => "mosquitto",
        Kind::Mariadb => "mariadb",
    }
}

/// The user there who may create what a test wants.
fn user(kind: Kind) -> &'static str {
    match kind {
        Kind::Mariadb => "root",
        Kind::Rabbitmq | Kind::Postgres | Kind::Mosquitto => "postroad",
    }
}
