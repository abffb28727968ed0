//! A MariaDB of a test's own: one that was started without TLS cannot be told to speak it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postroad_store::{Database, connect};
use postroad_tls::testing::{Flaw, Identity, Pki, replace};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

use crate::Server;

const SOON: Duration = Duration::from_mins(1);

/// Killed when this is dropped.
pub(crate) struct Mariadb {
    admin: Database,
    port: u16,
    identity: Identity,
    ca: PathBuf,
    child: Child,
    _folder: TempDir,
}

impl Mariadb {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let place = |name: &str| folder.path().join(name);
        let (ca, identity) =
            (place("ca.pem"), Identity { cert: place("server.pem"), key: place("server.key") });
        let pki = Pki::new();
        replace(&pki.ca(), &ca);
        pki.server(Flaw::None).replace(&identity);

        let data = setting("datadir", &place("data"));
        let mut install = Command::new("mariadb-install-db");
        install.args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]);
        install.args(as_whom()).arg(&data);
        let output = install.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let users = place("users.sql");
        fs::write(
            &users,
            "CREATE DATABASE bus;\n\
             CREATE USER admin@'127.0.0.1' IDENTIFIED BY 'secret';\n\
             GRANT ALL ON *.* TO admin@'127.0.0.1';\n\
             CREATE USER tls_user@'127.0.0.1' REQUIRE X509;\n\
             GRANT ALL ON bus.* TO tls_user@'127.0.0.1';\n",
        )
        .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program())
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args(as_whom())
            .arg(format!("--port={port}"))
            .args([data, setting("init-file", &users), setting("socket", &place("socket"))])
            .args([setting("pid-file", &place("pid")), setting("ssl-ca", &ca)])
            .args([setting("ssl-cert", &identity.cert), setting("ssl-key", &identity.key)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let admin = connect(&format!("mysql://admin:secret@127.0.0.1:{port}/bus")).await.unwrap();
        let mut server = Self { admin, port, identity, ca, child, _folder: folder };
        server.until_ready().await;
        server
    }

    async fn until_ready(&mut self) {
        let began = Instant::now();
        while let Err(error) = self.admin.ping().await {
            assert!(self.child.try_wait().unwrap().is_none(), "MariaDB ended by itself");
            assert!(began.elapsed() < SOON, "{error:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, sql: &str) {
        let done = self.admin.connection().execute_unprepared(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Server for Mariadb {
    fn url(&self) -> String {
        format!("mysql://tls_user@127.0.0.1:{}/bus", self.port)
    }

    async fn appear(&self, pki: &Pki, identity: &Identity) {
        replace(&pki.ca(), &self.ca);
        identity.replace(&self.identity);
        self.run("FLUSH SSL").await;
    }

    async fn disconnect(&self) {
        self.run("KILL CONNECTION USER tls_user@'127.0.0.1'").await;
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        // It may have ended before.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// As root it has to be told that it may be.
fn as_whom() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.contains("Uid:\t0\t").then_some("--user=root")
}

fn setting(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("mariadbd"))
        .find(|program| program.is_file())
        .expect("MariaDB is installed")
}
