//! PostgreSQL, with a fresh cluster. `fsync` stays on: what is tested is that nothing is lost.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::find;
use crate::process::{self, Ask, Process};
use crate::servers::site::Site;

/// A program of the newest installed version. Debian keeps the server's off the PATH.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let mut packaged: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|version| {
            Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path()))
        })
        .map(|(version, folder)| (version, folder.join("bin").join(name)))
        .filter(|(_, file)| file.is_file())
        .collect();
    packaged.sort();
    packaged.pop().map(|(_, file)| file).or_else(|| find::program(name))
}

pub(super) fn spawn(site: &Site) -> anyhow::Result<Vec<Process>> {
    let data = site.path("data");
    let password = site.write("password", &site.password)?;
    let mut initdb = site.command(program("initdb").context("`initdb` is not installed")?)?;
    initdb.args([
        "--username",
        Site::USER,
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
    ]);
    initdb.arg("--no-sync").arg("--pwfile").arg(password).arg("--pgdata").arg(&data);
    process::run(&mut initdb)?;

    let mut server = site.command(program("postgres").context("PostgreSQL is not installed")?)?;
    server.arg("-D").arg(data).args(["-p", &site.ports.main.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
    {
        server.args(["-c", setting]);
    }
    Ok(vec![Process::spawn(&mut server, Ask::Quit)?])
}
