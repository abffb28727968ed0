//! Where one cell happens: a database, a place at a broker, a network before both that breaks on demand, workers and traffic.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postroad_testbed::Worker;
use postroad_transport::testing::Proxy;
use tempfile::TempDir;

use crate::amqp::Client;
use crate::cell::Cell;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::ids::Way;
use crate::launch::Launch;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::recorder::{Place, Recorder};
use crate::servers::{Broker, Db, Kind, Lent, Server, Servers};
use crate::sql::Sql;
use crate::traffic::{Pace, Traffic};
use crate::verdict::Terms;

/// The most that may go out twice for each incident: what is published and not settled.
pub(crate) const WINDOW: u64 = 256;
/// The shortest there is.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// Seconds; two of them without a sign of life end a connection.
pub(crate) const HEARTBEAT: u64 = 4;
/// For a worker to be ready on a busy machine.
const START: Duration = Duration::from_mins(1);
/// For RabbitMQ to write down that it has a new queue.
const WRITTEN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
/// The folder of its files, in the world's.
const BROKER: &str = "broker";

/// All that a fault can be put into.
#[derive(Debug)]
pub(crate) struct World {
    /// Which cell this is.
    pub(crate) cell: Cell,
    /// What makes its names its own.
    pub(crate) tag: String,
    /// All chance of the fault itself.
    pub(crate) dice: fastrand::Rng,
    /// What was put in and what came of it.
    pub(crate) ledger: Arc<Ledger>,
    /// Past all faults.
    pub(crate) sql: Sql,
    /// The server of the database; `None` for SQLite.
    pub(crate) server: Option<Lent<Server>>,
    /// The network before it.
    pub(crate) database: Option<Proxy>,
    /// The broker.
    pub(crate) broker: Lent<Broker>,
    /// The network before it.
    pub(crate) network: Proxy,
    /// The messages that keep coming.
    pub(crate) traffic: Traffic,
    /// Those that are expected to run at the end.
    pub(crate) workers: Vec<Worker>,
    /// What the verdict allows.
    pub(crate) terms: Terms,
    /// How long the rest may take once all is well again.
    pub(crate) drain: Duration,
    /// Whether all was waited for, so that what is missing is lost.
    pub(crate) settled: bool,
    /// Messages that belong into quarantine.
    pub(crate) expected_quarantine: u64,
    /// Notes for the report.
    pub(crate) notes: Vec<String>,
    /// The program.
    pub(crate) launch: Launch,
    recorder: Recorder,
    pub(crate) place: Place,
    /// Of RabbitMQ, and of everything else. They go in this order, before the folder they are in.
    pub(crate) disks: Vec<Disk>,
    pub(crate) folder: TempDir,
    /// The database as we know it.
    direct: String,
    /// Of the database.
    pub(crate) name: String,
    /// The clock of the database's server, where it can be set.
    pub(crate) clock: Option<Clock>,
}

/// The broker of a cell, and the disks that it needs.
async fn lend_broker(
    cell: &Cell,
    folder: &Path,
    servers: &Servers,
) -> Result<(Lent<Broker>, Vec<Disk>)> {
    let needs = cell.fault.needs;
    let place = folder.join(BROKER);
    let mut disks = Vec::new();
    let broker = if needs.small_disk {
        disks.push(Disk::mount(folder)?);
        fs::create_dir(&place)?;
        if cell.broker == Kind::Rabbitmq {
            disks.insert(0, Disk::mount(&place)?);
        }
        Lent::Own(Servers::broker_in(cell.broker, &place).await?)
    } else if needs.short_queues {
        Lent::Own(Servers::forgetful(&place).await?)
    } else {
        servers.broker(cell.broker, needs.broker).await
    };
    Ok((broker, disks))
}

impl World {
    /// With tables, a config, traffic and no worker.
    pub(crate) async fn open(
        cell: Cell,
        seed: u64,
        servers: &Servers,
        options: Arc<Options>,
    ) -> Result<Self> {
        let needs = cell.fault.needs;
        let mut dice = fastrand::Rng::with_seed(seed);
        // Not by the seed: two runs side by side must not meet.
        let tag = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let mut folder = tempfile::Builder::new();
        // Servers run as users of their own.
        let folder = folder
            .prefix("postroad-faults-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let (broker, disks) = lend_broker(&cell, folder.path(), servers).await?;
        let clock =
            if needs.clock { Some(Clock::new(folder.path(), "database-clock")?) } else { None };
        let server = if needs.clock || needs.small_disk {
            let environment = clock.as_ref().map(Clock::environment).transpose()?;
            let environment = environment.as_ref().map_or(&[][..], |variables| variables);
            let place = folder.path().join("database");
            Servers::database_in(cell.db, &place, environment).await?.map(Lent::Own)
        } else {
            servers.database(cell.db, needs.database).await
        };
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
        let password = match &*broker {
            Broker::Rabbitmq(node) => node.url().password,
            Broker::Mosquitto(_) => String::new(),
        };
        let launch = Launch { options, url, password, folder: folder.path().to_owned() };
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
        let rate = Pace::free(12, Duration::from_millis(50));
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
            terms: Terms { duplicates: 0, loops: true },
            drain: Duration::from_secs(launch.options.drain_seconds),
            settled: false,
            expected_quarantine: 0,
            notes: Vec::new(),
            launch,
            recorder,
            place,
            disks,
            folder,
            direct,
            name,
            clock,
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
        if self.cell.broker == Kind::Rabbitmq && self.cell.fault.needs.broker {
            // A node that is killed right after it made a quorum queue comes back with one that answers nobody: it
            // writes down what queues it has twice a second, and does not tell when it has.
            tokio::time::sleep(WRITTEN).await;
        }
        self.sql.execute("DELETE FROM event_bus_worker").await?;
        self.sql.execute("UPDATE event_bus_runtime_config SET worker_status = NULL").await?;
        Ok(())
    }

    fn with_traffic(mut self, writer: Sql, rate: Pace) -> Self {
        self.traffic = Traffic::start(&self.ledger, writer, self.place.clone(), &self.tag, rate);
        self
    }

    /// Starts the traffic anew at another rate.
    pub(crate) async fn set_pace(&mut self, rate: Pace) -> Result<()> {
        std::mem::replace(&mut self.traffic, Traffic::idle()).stop().await;
        let writer = Sql::connect(&self.direct).await?;
        self.traffic = Traffic::start(&self.ledger, writer, self.place.clone(), &self.tag, rate);
        Ok(())
    }

    /// Changes settings of the config.
    pub(crate) fn set(&self, settings: &[&str]) -> Result<()> {
        self.run(&[&["config", "set", "default"], settings].concat()).map(drop)
    }

    /// What the program prints where it has to succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.launch.run(arguments)
    }

    /// Starts a worker that is expected to run at the end.
    pub(crate) fn start_worker(&mut self) {
        let worker = self.worker(&[]);
        self.workers.push(worker);
    }

    /// Starts a worker with these variables more in its environment.
    pub(crate) fn worker(&self, environment: &[(&str, &str)]) -> Worker {
        self.launch.worker(environment)
    }

    /// Waits until the condition holds, which a server that is away does not make fail.
    pub(crate) async fn until(
        &self,
        limit: Duration,
        what: &str,
        mut holds: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        let limit = limit * self.patience();
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
    pub(crate) async fn received(&self) -> Result<u64> {
        self.sql.count("SELECT count(*) FROM inbound_event").await
    }

    /// Waits until so many more were received, so that both ways are at work.
    pub(crate) async fn moved(&self, more: u64) -> Result<()> {
        let goal = self.received().await? + more;
        let what = format!("{more} more messages are in the inbox");
        self.until(self.drain, &what, async || Ok(self.received().await? >= goal)).await
    }

    /// What the config's `worker_status` is.
    pub(crate) async fn status(&self) -> Result<Option<String>> {
        let rows = self.sql.rows("SELECT worker_status FROM event_bus_runtime_config").await?;
        let row = rows.first().context("there is a config")?;
        Ok(row["worker_status"].as_str().map(str::to_owned))
    }

    /// Waits until it is so.
    pub(crate) async fn until_status(&self, limit: Duration, status: &str) -> Result<()> {
        let what = format!("the status is `{status}`");
        self.until(limit, &what, async || Ok(self.status().await?.as_deref() == Some(status))).await
    }

    /// How many times as long as usual everything may take on this machine.
    pub(crate) fn patience(&self) -> u32 {
        self.launch.options.patience
    }

    /// Waits until a worker has rows in hand.
    pub(crate) async fn until_claimed(&self, limit: Duration) -> Result<()> {
        let claimed = "SELECT count(*) FROM outbound_event WHERE claim_token IS NOT NULL";
        let any = async || Ok(self.sql.count(claimed).await? > 0);
        self.until(limit, "rows are claimed", any).await
    }

    /// Puts nothing in any more until the traffic is let go on, and waits until all of it has arrived.
    pub(crate) async fn calm(&self) -> Result<()> {
        self.traffic.pause(true);
        // For what is in hand.
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.until(self.drain, "all has arrived", async || {
            self.note_inbox().await?;
            Ok(self.ledger.missing_in_inbox() == 0)
        })
        .await
    }

    /// After `Ok` the recorder has noted all that the broker had for it.
    pub(crate) async fn catch_up(&mut self) -> Result<()> {
        self.recorder.catch_up().await
    }

    /// Starts a worker that may not have more than so many files open.
    pub(crate) fn worker_with_files(&self, files: u32) -> Worker {
        self.launch.worker_with_files(files)
    }

    /// Copies that each of so many incidents may cost.
    pub(crate) fn incidents(&mut self, incidents: u64) {
        self.terms.duplicates += incidents * WINDOW;
    }

    /// Stops the traffic once there was enough, and waits until everything has arrived.
    pub(crate) async fn settle(&mut self) -> Result<Duration> {
        let enough = self.launch.options.messages;
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
        self.arrive().await?;
        Ok(began.elapsed())
    }

    /// Stops the workers in good order.
    pub(crate) async fn stop_workers(&mut self) -> Result<()> {
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

    /// A client of RabbitMQ past all faults.
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(&self.broker.rabbitmq()?.url()).await
    }

    /// The exchange of this cell.
    pub(crate) fn exchange(&self) -> String {
        format!("faults-{}", self.tag)
    }

    /// A topic that the worker hears and the recorder does not.
    pub(crate) fn poison_topic(&self) -> String {
        format!("event.{}.poison.sent", self.tag)
    }

    /// The queue of this cell.
    pub(crate) fn queue(&self) -> String {
        format!("svc_{}.inbox", self.tag)
    }

    /// The name of this cell's database.
    pub(crate) fn database_name(&self) -> &str {
        &self.name
    }

    /// Lets nobody else into the SQLite file; what is returned ends when it is free again.
    pub(crate) async fn lock_sqlite(
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
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes down what is left of it, and gives the servers back.
    pub(crate) async fn close(self, servers: &Servers) {
        drop(self.workers);
        drop(self.disks);
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
            if !self.cell.fault.needs.small_disk {
                servers.give_back(self.broker);
            }
        }
    }

    /// Keeps the logs of workers and broker where they can be read.
    pub(crate) fn save_logs(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        if let Ok(node) = self.broker.rabbitmq() {
            fs::write(folder.join("rabbitmq.log"), node.log())?;
        }
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::copy(&path, folder.join(path.file_name().context("it has a name")?))?;
            }
        }
        Ok(())
    }
}

/// The end of a log, for an error.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
