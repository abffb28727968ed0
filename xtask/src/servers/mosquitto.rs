//! Mosquitto, with the settings that lose nothing.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::find;
use crate::process::{Ask, Process};
use crate::servers::site::Site;

pub(super) fn program() -> Option<PathBuf> {
    find::program("mosquitto")
}

pub(super) fn spawn(site: &Site) -> anyhow::Result<Vec<Process>> {
    let program = program().context("Mosquitto is not installed")?;
    let config = site.write("mosquitto.conf", &config(site))?;
    let mut command = site.command(program)?;
    command.arg("-c").arg(config);
    Ok(vec![Process::spawn(&mut command, Ask::Terminate)?])
}

/// The settings of `docker/mosquitto.conf`, at our address and in our folder.
fn config(site: &Site) -> String {
    let mut text = include_str!("../../../docker/mosquitto.conf")
        .lines()
        .filter(|line| !line.starts_with("listener ") && !line.starts_with("persistence_location "))
        .fold(String::new(), |text, line| text + line + "\n");
    let folder = site.folder.display();
    writeln!(text, "listener {} 127.0.0.1\npersistence_location {folder}/", site.ports.main)
        .expect("a string takes all");
    text
}
