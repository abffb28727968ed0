//! MariaDB, with a fresh data folder.

use std::path::PathBuf;

use anyhow::Context;

use crate::find;
use crate::process::{self, Ask, Process};
use crate::servers::site::Site;

pub(super) fn program() -> Option<PathBuf> {
    find::program("mariadbd")
}

pub(super) fn spawn(site: &Site) -> anyhow::Result<Vec<Process>> {
    let data = site.path("data");
    let mut install = site.command(
        find::program("mariadb-install-db").context("`mariadb-install-db` is not installed")?,
    )?;
    install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
    install.arg(setting("datadir", &data));
    process::run(&mut install)?;

    let users = site.write("users.sql", &users(site))?;
    let mut server = site.command(program().context("MariaDB is not installed")?)?;
    server.args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        &format!("--port={}", site.ports.main),
    ]);
    server.arg(setting("datadir", &data)).arg(setting("init-file", &users));
    server.arg(setting("socket", &site.path("socket"))).arg(setting("pid-file", &site.path("pid")));
    Ok(vec![Process::spawn(&mut server, Ask::Terminate)?])
}

fn setting(name: &str, path: &std::path::Path) -> String {
    format!("--{name}={}", path.display())
}

/// Read by the server before it takes clients; one statement a line.
fn users(site: &Site) -> String {
    let (user, password) = (Site::USER, &site.password);
    format!(
        "CREATE DATABASE postroad;\n\
         CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
    )
}
