//! A place at the real servers: a database, an exchange and a broken network on demand before both.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use postroad_testbed::Url;
use postroad_transport::testing::Proxy;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::postroad::Postroad;
use super::rabbit::Rabbit;
use super::scratch::{Scratch, Server, resolve, tell};
use super::sql::Sql;

/// How the program gets the broker's password.
const PASSWORD: &str = "POSTROAD_TEST_BROKER_PASSWORD";

/// The program reaches both servers through proxies, `sql` and `rabbit` do not.
pub(crate) struct Bus {
    pub(crate) postroad: Postroad,
    pub(crate) sql: Sql,
    pub(crate) rabbit: Rabbit,
    pub(crate) broker: Proxy,
    pub(crate) database: Proxy,
    pub(crate) url: Url,
    scratch: Scratch,
    exchange: String,
    /// Makes the names of this test its own.
    tag: String,
    _folder: TempDir,
}

/// Runs a test on a new bus with each database there is, and takes down what it left whatever comes of the test.
pub(crate) async fn on_servers(test: impl AsyncFn(&Bus)) {
    for server in Server::wanted() {
        tell(server);
        on_server(server, &test).await;
    }
}

/// The same with one database.
pub(crate) async fn on_server(server: Server, test: impl AsyncFn(&Bus)) {
    on_server_and_broker(server, Url::from_environment(), test).await;
}

/// The same with a RabbitMQ that is not that of the other tests.
pub(crate) async fn on_server_and_broker(server: Server, url: Url, test: impl AsyncFn(&Bus)) {
    let bus = Bus::open(server, url).await;
    let outcome = AssertUnwindSafe(test(&bus)).catch_unwind().await;
    bus.close().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl Bus {
    async fn open(server: Server, url: Url) -> Self {
        let tag = Uuid::new_v4().simple().to_string();
        let exchange = format!("e2e-{tag}");
        let rabbit = Rabbit::connect(&url, &exchange).await;
        let broker = Proxy::start(resolve(&format!("{}:{}", url.host, url.port))).await.unwrap();

        let scratch = Scratch::create(server, &tag).await;
        let sql = scratch.sql().await;
        let (database, database_url) = scratch.behind_proxy().await;
        let folder = TempDir::new().unwrap();
        let postroad = Postroad::new(database_url, folder.path()).with(PASSWORD, &url.password);
        postroad.done(&["migrate", "up"]);
        Self {
            postroad,
            sql,
            rabbit,
            broker,
            database,
            url,
            scratch,
            exchange,
            tag,
            _folder: folder,
        }
    }

    async fn close(self) {
        for row in self.sql.rows("SELECT config_key FROM event_bus_runtime_config").await {
            let key = row["config_key"].as_str().unwrap();
            self.rabbit.delete_queue(&self.inbox(key)).await;
        }
        self.rabbit.delete_exchange().await;
        self.scratch.remove(self.sql).await;
    }

    pub(crate) fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The service of a config. Its name is one segment of a topic and this test's own.
    pub(crate) fn service(&self, config_key: &str) -> String {
        format!("{config_key}_{}", self.tag)
    }

    /// The queue of a config.
    pub(crate) fn inbox(&self, config_key: &str) -> String {
        format!("{}.inbox", self.service(config_key))
    }

    /// Makes a config in a hurry, with these settings more.
    pub(crate) fn configure(&self, config_key: &str, more: &[&str]) {
        self.postroad.import(&self.config(config_key));
        if !more.is_empty() {
            self.postroad.done(&[&["config", "set", config_key], more].concat());
        }
    }

    /// The program on another database, which knows the broker's password too.
    pub(crate) fn postroad_on(&self, url: String) -> Postroad {
        Postroad::new(url, self.postroad.folder()).with(PASSWORD, &self.url.password)
    }

    /// The program on a new SQLite file with the same config, and the file, in a folder that goes when it is dropped.
    pub(crate) async fn on_sqlite(&self) -> (TempDir, Postroad, Sql) {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/bus.db?mode=rwc", folder.path().display());
        let (postroad, sql) = (self.postroad_on(url.clone()), Sql::connect(&url).await);
        postroad.done(&["migrate", "up"]);
        postroad.import(&self.config("default"));
        (folder, postroad, sql)
    }

    /// A config in a hurry, as it is imported.
    pub(crate) fn config(&self, config_key: &str) -> String {
        let address = self.broker.addr();
        let service = self.service(config_key);
        let Url { username, virtual_host, .. } = &self.url;
        let exchange = &self.exchange;
        format!(
            r#"
            [config.{config_key}]
            host = "{address}"
            username = "{username}"
            password = "env:{PASSWORD}"
            source_service = "{service}"
            connect_timeout = 10
            retry_interval_seconds = 1
            poll_interval_ms = 50
            heartbeat_interval_seconds = 1
            [config.{config_key}.rabbitmq]
            virtual_host = "{virtual_host}"
            exchange = "{exchange}"
            "#
        )
    }

    /// Writes so many rows of one event, as any service would.
    pub(crate) async fn enqueue(&self, rows: u32) {
        let insert = format!(
            "INSERT INTO outbound_event (topic, event_type, payload) \
             SELECT 'event.machine.spindle.started', 'started', {} FROM {}",
            self.sql.object(),
            self.sql.numbers(rows as usize)
        );
        assert_eq!(self.sql.execute(&insert).await, u64::from(rows));
    }

    /// How many rows were sent.
    pub(crate) async fn published(&self) -> i64 {
        self.sql.count("SELECT count(*) FROM outbound_event WHERE status = 'published'").await
    }

    /// What `postroad status --json` says of a config.
    pub(crate) fn status(&self, config_key: &str) -> Value {
        self.postroad.status(config_key)
    }

    pub(crate) async fn until_status(&self, config_key: &str, expected: &str) {
        self.postroad.until_status(config_key, expected).await;
    }

    /// Waits until the inbox of a config holds so many messages, and checks that each is there once.
    pub(crate) async fn until_received(&self, config_key: &str, messages: i64) {
        let from = format!("FROM inbound_event WHERE config_key = '{config_key}'");
        let distinct = format!("SELECT count(DISTINCT concat(message_id, ' ', topic)) {from}");
        self.sql.until_count(messages, &distinct).await;
        assert_eq!(self.sql.count(&format!("SELECT count(*) {from}")).await, messages);
    }
}
