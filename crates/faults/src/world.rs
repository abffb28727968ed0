//! Where one cell happens: a database, a place at a broker, a network before both that breaks on demand, workers and traffic.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postroad_testbed::Worker;
use postroad_transport::testing::Proxy;
use serde_json::Value;
use tempfile::TempDir;

use crate::amqp::Client;
use crate::cell::Cell;
use crate::ids::Way;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::recorder::{Place, Recorder};
use crate::servers::{Broker, Db, Kind, Lent, Server, Servers};
use crate::sql::Sql;
use crate::traffic::{Pace, Traffic};
use crate::verdict::Terms;

/// How the program gets the broker's password.
const PASSWORD: &str = "POSTROAD_FAULTS_BROKER_PASSWORD";
/// The most that may go out twice for each incident: what is published and not settled.
pub const WINDOW: u64 = 256;
/// The shortest there is.
pub const LEASE: Duration = Duration::from_secs(5);
/// Seconds; two of them without a sign of life end a connection.
pub const HEARTBEAT: u64 = 4;
/// For a worker to be ready on a busy machine.
const START: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
/// Rows of the inbox that are read in one go.
const PAGE: usize = 20_000;

/// All that a fault can be put into.
#[derive(Debug)]
pub struct World {
    /// Which cell this is.
    pub cell: Cell,
    /// What makes its names its own.
    pub tag: String,
    /// All chance of the fault itself.
    pub dice: fastrand::Rng,
    /// What was put in and what came of it.
    pub ledger: Arc<Ledger>,
    /// Past all faults.
    pub sql: Sql,
    /// The server of the database; `None` for SQLite.
    pub server: Option<Lent<Server>>,
    /// The network before it.
    pub database: Option<Proxy>,
    /// The broker.
    pub broker: Lent<Broker>,
    /// The network before it.
    pub network: Proxy,
    /// The messages that keep coming.
    pub traffic: Traffic,
    /// Those that are expected to run at the end.
    pub workers: Vec<Worker>,
    /// What the verdict allows.
    pub terms: Terms,
    /// How long the rest may take once all is well again.
    pub drain: Duration,
    /// Messages that belong into quarantine.
    pub expected_quarantine: u64,
    /// Notes for the report.
    pub notes: Vec<String>,
    /// The program, and how many messages.
    pub options: Arc<Options>,
    recorder: Recorder,
    place: Place,
    folder: TempDir,
    /// As the program knows it.
    url: String,
    /// As we do.
    direct: String,
    name: String,
}

impl World {
    /// With tables, a config, traffic and no worker.
    pub async fn open(
        cell: Cell,
        seed: u64,
        servers: &Servers,
        options: Arc<Options>,
    ) -> Result<Self> {
        let needs = cell.fault.needs;
        let mut dice = fastrand::Rng::with_seed(seed);
        // Not by the seed: two runs side by side must not meet.
        let tag = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let folder = tempfile::Builder::new().prefix("postroad-faults-").tempdir()?;
        let broker = servers.broker(cell.broker, needs.broker).await;
        let server = servers.database(cell.db, needs.database).await;
        let network = Proxy::start(broker.address()).await?;
        let name = format!("faults_{tag}");
        let (direct, url, database) = match &server {
            None => {
                let url = format!("sqlite://{}/bus.db?mode=rwc", folder.path().display());
                (url.clone(), url, None)
            }
            Some(server) => {
                let admin = Sql::connect(&server.admin()).await?;
                admin.execute(&format!("CREATE DATABASE {name}")).await?;
                admin.close().await;
                let proxy = Proxy::start(server.address()).await?;
                let direct = server.url(&name);
                let (ours, theirs) = (server.address().to_string(), proxy.addr().to_string());
                (direct.clone(), direct.replace(&ours, &theirs), Some(proxy))
            }
        };
        let ledger = Arc::new(Ledger::new(dice.u64(..)));
        let place = match &*broker {
            Broker::Rabbitmq(node) => Place::Amqp {
                url: node.url(),
                exchange: format!("faults-{tag}"),
                queue: format!("recorder-{tag}"),
            },
            Broker::Mosquitto(mosquitto) => {
                Place::Mqtt { address: mosquitto.address, tag: tag.clone() }
            }
        };
        let recorder = Recorder::start(place.clone(), ledger.clone()).await?;
        let sql = Sql::connect(&direct).await?;
        let rate = Pace { batch: 12, pause: Duration::from_millis(50) };
        let writer = Sql::connect(&direct).await?;
        let file = folder.path().join("import.toml");
        let world = Self {
            // It has no tables before `migrate`.
            traffic: Traffic::idle(),
            cell,
            dice,
            ledger,
            sql,
            server,
            database,
            broker,
            network,
            workers: Vec::new(),
            terms: Terms { duplicates: 0, broker_may_lose: false, loops: true },
            drain: Duration::from_mins(1),
            expected_quarantine: 0,
            notes: Vec::new(),
            options,
            recorder,
            place,
            folder,
            url,
            direct,
            name,
            tag,
        };
        world.run(&["migrate", "up"])?;
        fs::write(&file, world.config())?;
        world.run(&["config", "import", "import.toml"])?;
        world.subscribe().await?;
        Ok(world.with_traffic(writer, rate))
    }

    /// Lets a worker make its queue or session, so that nothing is put in before there is a place for it.
    async fn subscribe(&self) -> Result<()> {
        let mut worker = self.worker(&[]);
        self.until_status(START, "running").await?;
        // One that is stopped would give up its place in a group.
        worker.kill();
        self.sql.execute("DELETE FROM event_bus_worker").await?;
        self.sql.execute("UPDATE event_bus_runtime_config SET worker_status = NULL").await?;
        Ok(())
    }

    fn with_traffic(mut self, writer: Sql, rate: Pace) -> Self {
        self.traffic = Traffic::start(&self.ledger, writer, self.place.clone(), &self.tag, rate);
        self
    }

    /// Starts the traffic anew at another rate.
    pub async fn set_pace(&mut self, rate: Pace) -> Result<()> {
        std::mem::replace(&mut self.traffic, Traffic::idle()).stop().await;
        let writer = Sql::connect(&self.direct).await?;
        self.traffic = Traffic::start(&self.ledger, writer, self.place.clone(), &self.tag, rate);
        Ok(())
    }

    fn config(&self) -> String {
        let address = self.network.addr();
        let tag = &self.tag;
        let common = format!(
            "[config.default]\nhost = \"{address}\"\nsource_service = \"svc_{tag}\"\nconnect_timeout = 2\n\
             retry_interval_seconds = 1\npoll_interval_ms = 100\nheartbeat_interval_seconds = 1\n"
        );
        match &self.place {
            Place::Amqp { url, exchange, .. } => format!(
                "{common}broker_type = \"rabbitmq\"\nusername = \"{}\"\npassword = \"env:{PASSWORD}\"\n\
                 [config.default.rabbitmq]\nvirtual_host = \"{}\"\nexchange = \"{exchange}\"\n\
                 binding_keys = [\"event.{tag}.#\"]\nheartbeat_seconds = {HEARTBEAT}\n",
                url.username, url.virtual_host
            ),
            Place::Mqtt { .. } => {
                let topics = Way::ALL.map(|way| way.topic(tag));
                let group = if self.cell.fault.needs.group { "shared_group = \"g\"\n" } else { "" };
                format!(
                    "{common}broker_type = \"mqtt\"\n[config.default.mqtt]\nclient_id = \"{tag}\"\n\
                     keep_alive_seconds = {HEARTBEAT}\ninbound_topics = {topics:?}\n\
                     spool_dir = \"{}/spool\"\n{group}",
                    self.folder.path().display()
                )
            }
        }
    }

    /// Changes settings of the config.
    pub fn set(&self, settings: &[&str]) -> Result<()> {
        self.run(&[&["config", "set", "default"], settings].concat()).map(drop)
    }

    /// The program with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.options.postroad);
        let password = match &self.place {
            Place::Amqp { url, .. } => url.password.as_str(),
            Place::Mqtt { .. } => "",
        };
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .env("RUST_LOG", &self.options.log)
            .env(PASSWORD, password)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if let Some(bug) = &self.options.bug {
            command.env("POSTROAD_BUG", bug);
        }
        command
    }

    /// What the program prints where it has to succeed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("cannot start the program")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`postroad {}`: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a worker that is expected to run at the end.
    pub fn start_worker(&mut self) {
        let worker = self.worker(&[]);
        self.workers.push(worker);
    }

    /// Starts a worker with these variables more in its environment.
    pub fn worker(&self, environment: &[(&str, &str)]) -> Worker {
        let lease = LEASE.as_secs().to_string();
        let mut command = self.command(&["worker", "--lease-seconds", &lease]);
        command.envs(environment.iter().copied());
        Worker::start(command, self.folder.path())
    }

    /// Waits until the condition holds, which a server that is away does not make fail.
    pub async fn until(
        &self,
        limit: Duration,
        what: &str,
        mut holds: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            let last = match holds().await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if began.elapsed() >= limit {
                let why = last.map(|error| format!(" ({error:#})")).unwrap_or_default();
                bail!("not within {} s: {what}{why}", limit.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How many messages the inbox holds.
    pub async fn received(&self) -> Result<u64> {
        self.sql.count("SELECT count(*) FROM inbound_event").await
    }

    /// Waits until so many more were received, so that both ways are at work.
    pub async fn moved(&self, more: u64) -> Result<()> {
        let goal = self.received().await? + more;
        let what = format!("{more} more messages are in the inbox");
        self.until(self.drain, &what, async || Ok(self.received().await? >= goal)).await
    }

    /// What the config's `worker_status` is.
    pub async fn status(&self) -> Result<Option<String>> {
        let rows = self.sql.rows("SELECT worker_status FROM event_bus_runtime_config").await?;
        let row = rows.first().context("there is a config")?;
        Ok(row["worker_status"].as_str().map(str::to_owned))
    }

    /// Waits until it is so.
    pub async fn until_status(&self, limit: Duration, status: &str) -> Result<()> {
        let what = format!("the status is `{status}`");
        self.until(limit, &what, async || Ok(self.status().await?.as_deref() == Some(status))).await
    }

    /// Copies that each of so many incidents may cost.
    pub fn incidents(&mut self, incidents: u64) {
        self.terms.duplicates += incidents * WINDOW;
    }

    /// Stops the traffic once there was enough, and waits until everything has arrived.
    pub async fn settle(&mut self) -> Result<Duration> {
        let enough = self.options.messages;
        let enough_of = |way| self.ledger.attempted(way) >= enough;
        self.until(Duration::from_mins(5), "enough messages were put in", async || {
            Ok(Way::ALL.into_iter().all(enough_of))
        })
        .await?;
        std::mem::replace(&mut self.traffic, Traffic::idle()).stop().await;
        let began = Instant::now();
        let pending = "SELECT count(*) FROM outbound_event WHERE status = 'pending'";
        self.until(self.drain, "no row is pending any more", async || {
            Ok(self.sql.count(pending).await? == 0)
        })
        .await?;
        self.recorder.catch_up().await?;
        let due: u64 = Way::ALL.map(|way| self.ledger.committed(way)).into_iter().sum();
        let what = format!("{due} messages are in the inbox");
        let drained =
            self.until(self.drain, &what, async || Ok(self.received().await? >= due)).await;
        // What is missing now is named by the verdict, where the broker may have lost it.
        if !self.terms.broker_may_lose {
            drained?;
        }
        Ok(began.elapsed())
    }

    /// Stops the workers in good order.
    pub async fn stop_workers(&mut self) -> Result<()> {
        for mut worker in self.workers.drain(..) {
            let log = worker.log();
            ensure!(worker.runs(), "a worker ended by itself: {}", tail(&log));
            worker.terminate();
            let code = worker.ended().await;
            ensure!(code == 0, "a worker stopped with {code}: {}", tail(&worker.log()));
            let log = worker.log();
            ensure!(!log.contains("panicked at"), "a task panicked: {}", tail(&log));
        }
        Ok(())
    }

    /// Notes all that the inbox holds, and returns how much is in quarantine.
    pub async fn read_inbox(&self) -> Result<u64> {
        self.ledger.forget_inbox();
        let mut last = 0;
        loop {
            let page = self
                .sql
                .rows(&format!(
                    "SELECT seq, message_id, payload FROM inbound_event WHERE seq > {last} ORDER BY seq LIMIT {PAGE}"
                ))
                .await?;
            for row in &page {
                last = row["seq"].as_i64().context("seq is a number")?;
                let id = row["message_id"].as_str().context("an id is text")?;
                self.ledger.stored(id, &json(&row["payload"]));
            }
            if page.len() < PAGE {
                break;
            }
        }
        self.sql.count("SELECT count(*) FROM quarantined_message").await
    }

    /// A client of RabbitMQ past all faults.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(&self.broker.rabbitmq()?.url()).await
    }

    /// The exchange of this cell.
    pub fn exchange(&self) -> String {
        format!("faults-{}", self.tag)
    }

    /// The queue of this cell.
    pub fn queue(&self) -> String {
        format!("svc_{}.inbox", self.tag)
    }

    /// The name of this cell's database.
    pub fn database_name(&self) -> &str {
        &self.name
    }

    /// Lets nobody else into the SQLite file; what is returned ends when it is free again.
    pub async fn lock_sqlite(
        &self,
        time: Duration,
    ) -> Result<impl Future<Output = Result<()>> + use<>> {
        let sql = Sql::connect(&self.direct).await?;
        sql.execute("BEGIN EXCLUSIVE").await?;
        Ok(async move {
            tokio::time::sleep(time).await;
            sql.execute("COMMIT").await?;
            sql.close().await;
            Ok(())
        })
    }

    /// Where the program works.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Takes down what is left of it, and gives the servers back.
    pub async fn close(self, servers: &Servers) {
        drop(self.workers);
        drop(self.recorder);
        drop(self.traffic);
        self.sql.close().await;
        // What cannot be taken down stays until its server goes.
        if let Some(server) = &self.server
            && let Ok(admin) = Sql::connect(&server.admin()).await
        {
            let force = if self.cell.db == Db::Postgres { " WITH (FORCE)" } else { "" };
            admin.execute(&format!("DROP DATABASE {}{force}", self.name)).await.ok();
            admin.close().await;
        }
        if self.cell.broker == Kind::Rabbitmq
            && let Ok(url) = self.broker.rabbitmq().map(postroad_testbed::Rabbitmq::url)
            && let Ok(mut client) = Client::connect(&url).await
        {
            client.delete_queue(&format!("recorder-{}", self.tag)).await.ok();
            client.delete_queue(&format!("svc_{}.inbox", self.tag)).await.ok();
            client.delete_exchange(&format!("faults-{}", self.tag)).await.ok();
            servers.give_back(self.broker);
        }
    }

    /// Keeps the workers' logs where they can be read.
    pub fn save_logs(&self, folder: &std::path::Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::copy(&path, folder.join(path.file_name().context("it has a name")?))?;
            }
        }
        Ok(())
    }
}

/// SQLite and MariaDB give JSON as text.
fn json(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

/// The end of a log, for an error.
pub fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
