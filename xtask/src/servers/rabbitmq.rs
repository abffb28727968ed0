//! RabbitMQ, with an Erlang port mapper of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::handshake::Protocol;
use crate::process::{Ask, Process};
use crate::servers::site::Site;
use crate::servers::wait_until_ready;
use crate::{find, ports};

/// It shares the machine with all tests, so it does not wait for work by turning in circles.
const ERLANG: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";

/// Debian's program on the PATH is a wrapper that changes user and folder; the real one is not on it.
pub(super) fn program() -> Option<PathBuf> {
    let packaged = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if packaged.is_file() { Some(packaged.to_owned()) } else { find::program("rabbitmq-server") }
}

pub(super) fn spawn(site: &Site) -> anyhow::Result<Vec<Process>> {
    let epmd_port = ports::free()?;
    let epmd = spawn_epmd(site, epmd_port)?;
    let config = site.write("rabbitmq.conf", &config(site))?;
    let nothing = site.write("nothing", "")?;
    let plugins = site.write("plugins", "[rabbitmq_mqtt].\n")?;
    let no_files = site.path("conf.d");
    fs::create_dir(&no_files).context("cannot make a folder")?;

    let program = program().context("RabbitMQ is not installed")?;
    let mut command = site.command(program)?;
    command
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("postroad-{}@localhost", site.ports.main))
        .env("RABBITMQ_DIST_PORT", ports::free()?.to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
        .env("RABBITMQ_CONFIG_FILE", config)
        .env("RABBITMQ_MNESIA_BASE", site.path("mnesia"))
        .env("RABBITMQ_LOG_BASE", site.path("log"))
        .env("RABBITMQ_LOGS", "-")
        // Nothing of the machine's own RabbitMQ.
        .env("RABBITMQ_CONF_ENV_FILE", &nothing)
        .env("RABBITMQ_CONFIG_FILES", no_files)
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", site.path("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
        // The script replaces itself with the server, so that the process is the server.
        .env("RUNNING_UNDER_SYSTEMD", "true");
    Ok(vec![epmd, Process::spawn(&mut command, Ask::Terminate)?])
}

/// Ours and in the foreground. Else the server would start one in the background that outlives it.
fn spawn_epmd(site: &Site, port: u16) -> anyhow::Result<Process> {
    let program = find::program("epmd").context("`epmd`, a part of Erlang, is not on the PATH")?;
    let mut command = site.command(program)?;
    command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
    let mut epmd = Process::spawn(&mut command, Ask::Terminate)?;
    wait_until_ready(Protocol::Epmd, ports::loopback(port), || match epmd.ended()? {
        Some(status) => anyhow::bail!("epmd ended by itself with {status}"),
        None => Ok(()),
    })?;
    Ok(epmd)
}

fn config(site: &Site) -> String {
    format!(
        "listeners.tcp.1 = {address}\n\
         mqtt.listeners.tcp.1 = {mqtt}\n\
         mqtt.allow_anonymous = false\n\
         default_user = {user}\n\
         default_pass = {password}\n\
         log.console = true\n\
         disk_free_limit.absolute = 50MB\n",
        address = site.address(),
        mqtt = ports::loopback(site.ports.mqtt),
        user = Site::USER,
        password = site.password,
    )
}
