//! The PostgreSQL of the tests, told by SQL to speak TLS. The other tests do not notice: they ask for plain text.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use postroad_store::{Database, connect};
use postroad_tls::testing::{Identity, Pki};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use uuid::Uuid;

use crate::Server;

const SETTINGS: [&str; 4] = ["ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file"];

pub(crate) struct Postgres {
    admin: Database,
    url: String,
    /// Its rules of who may connect how, as they were.
    rules: String,
}

impl Postgres {
    pub(crate) async fn prepare() -> Self {
        let url =
            std::env::var("POSTROAD_TEST_POSTGRES_URL").expect("POSTROAD_TEST_POSTGRES_URL is set");
        let admin = connect(&url).await.unwrap();
        let rules = show(&admin, "SELECT pg_read_file(current_setting('hba_file')) AS value").await;
        let server = Self { admin, url, rules };
        server.run("DROP ROLE IF EXISTS tls_user").await;
        server.run("CREATE ROLE tls_user LOGIN").await;
        let rule = "hostssl all tls_user all cert\nhost all tls_user all reject\n";
        server.write_rules(&format!("{rule}{}", server.rules)).await;
        server
    }

    pub(crate) async fn restore(self) {
        for setting in SETTINGS {
            self.run(&format!("ALTER SYSTEM RESET {setting}")).await;
        }
        self.write_rules(&self.rules).await;
        self.run("SELECT pg_reload_conf()").await;
        self.run("DROP ROLE tls_user").await;
        self.admin.close().await;
    }

    async fn write_rules(&self, rules: &str) {
        let file = show(&self.admin, "SELECT current_setting('hba_file') AS value").await;
        self.write(&file, rules).await;
    }

    /// By the server, which may be another user's or on another machine, and readable for it alone.
    async fn write(&self, file: &str, text: &str) {
        let lines: Vec<_> = text.lines().map(|line| format!("('{}')", quoted(line))).collect();
        let program = format!("umask 077 && cat > {file}.new && mv {file}.new {file}");
        self.run(&format!(
            "COPY (SELECT * FROM (VALUES {}) AS lines) TO PROGRAM '{}' WITH (FORMAT text)",
            lines.join(", "),
            quoted(&program),
        ))
        .await;
    }

    async fn copy(&self, from: &Path, to: &str) {
        // `text` would double a backslash; there is none in PEM.
        self.write(to, &fs::read_to_string(from).unwrap()).await;
    }

    async fn run(&self, sql: &str) {
        let done = self.admin.connection().execute_unprepared(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Server for Postgres {
    fn url(&self) -> String {
        let (_, place) = self.url.rsplit_once('@').expect("the URL names a user");
        format!("postgres://tls_user@{place}")
    }

    async fn appear(&self, pki: &Pki, identity: &Identity) {
        let folder = show(&self.admin, "SELECT current_setting('data_directory') AS value").await;
        let file = |kind: &str| format!("{folder}/{kind}-{}.pem", Uuid::new_v4());
        let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
        self.copy(&pki.ca(), &ca).await;
        self.copy(&identity.cert, &cert).await;
        self.copy(&identity.key, &key).await;
        for (setting, value) in SETTINGS.into_iter().zip(["on", &cert, &key, &ca]) {
            self.run(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await;
        }
        self.run("SELECT pg_reload_conf()").await;
        // The server that a new connection comes from has taken it up.
        let began = Instant::now();
        loop {
            let probe = connect(&self.url).await.unwrap();
            let found = show(&probe, "SELECT current_setting('ssl_cert_file') AS value").await;
            probe.close().await;
            if found == cert {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not reload");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn disconnect(&self) {
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tls_user'",
        )
        .await;
    }
}

async fn show(database: &Database, sql: &str) -> String {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = database.connection().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "value").unwrap()
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
