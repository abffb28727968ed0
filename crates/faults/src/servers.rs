//! The servers of a run: shared where a fault does not touch them, else lent to one cell at a time.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use postroad_testbed::{Mariadb, Mosquitto, Postgres, Rabbitmq};
use serde::Serialize;
use tokio::sync::OnceCell;

/// Of Mosquitto: everybody is let in.
const OPEN: &str = "allow_anonymous true";

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Db {
    /// A file of the cell's own.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
}

/// A kind of broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// RabbitMQ.
    Rabbitmq,
    /// Mosquitto.
    Mqtt,
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) enum Broker {
    /// By AMQP.
    Rabbitmq(Rabbitmq),
    /// By MQTT.
    Mosquitto(Mosquitto),
}

/// A server of databases that runs.
#[derive(Debug)]
pub(crate) enum Server {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MariaDB.
    Mariadb(Mariadb),
}

/// A server that several cells use, or that one has for itself.
#[derive(Debug)]
pub(crate) enum Lent<T> {
    /// It must not be touched.
    Shared(Arc<T>),
    /// It may be killed; it must run when it is given back.
    Own(T),
}

/// All servers of a run, each started when it is first wanted.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    rabbitmq: OnceCell<Arc<Broker>>,
    mosquitto: OnceCell<Arc<Broker>>,
    postgres: OnceCell<Arc<Server>>,
    mariadb: OnceCell<Arc<Server>>,
    /// RabbitMQ takes ten seconds to start, so those that were lent are lent again.
    idle: Mutex<Vec<Broker>>,
}

impl Servers {
    /// A broker in a folder of its own that is there, as on a small disk.
    pub(crate) async fn broker_in(kind: Kind, folder: &Path) -> Result<Broker> {
        Ok(match kind {
            Kind::Rabbitmq => Broker::Rabbitmq(Rabbitmq::start_in(folder).await),
            Kind::Mqtt => {
                Broker::Mosquitto(Mosquitto::start_in(folder, OPEN, Mosquitto::DURABLE).await)
            }
        })
    }

    /// A Mosquitto that keeps only a few messages for a subscriber that is away, and often tells how many it has thrown away.
    pub(crate) async fn forgetful(folder: &Path) -> Result<Broker> {
        fs::create_dir(folder)?;
        let keeping = "max_queued_messages 200\nsys_interval 1\n";
        Ok(Broker::Mosquitto(Mosquitto::start_in(folder, OPEN, keeping).await))
    }

    /// A server of databases in a folder of its own, with these variables in its environment; `None` for SQLite.
    pub(crate) async fn database_in(
        db: Db,
        folder: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Option<Server>> {
        fs::create_dir(folder)?;
        Ok(match db {
            Db::Sqlite => None,
            Db::Postgres => Some(Server::Postgres(Postgres::start_in(folder, environment).await)),
            Db::Mariadb => Some(Server::Mariadb(Mariadb::start_in(folder, environment).await)),
        })
    }

    /// A broker, for this cell alone where that is wanted.
    pub(crate) async fn broker(&self, kind: Kind, own: bool) -> Lent<Broker> {
        if own {
            return Lent::Own(self.own(kind).await);
        }
        let cell = match kind {
            Kind::Rabbitmq => &self.rabbitmq,
            Kind::Mqtt => &self.mosquitto,
        };
        Lent::Shared(cell.get_or_init(async || Arc::new(start(kind).await)).await.clone())
    }

    async fn own(&self, kind: Kind) -> Broker {
        let idle = match kind {
            Kind::Rabbitmq => self.idle.lock().expect("nobody panics with it").pop(),
            // It is started faster than it is cleaned up.
            Kind::Mqtt => None,
        };
        match idle {
            Some(broker) => broker,
            None => start(kind).await,
        }
    }

    /// Takes back a broker that runs.
    pub(crate) fn give_back(&self, broker: Lent<Broker>) {
        if let Lent::Own(broker @ Broker::Rabbitmq(_)) = broker {
            self.idle.lock().expect("nobody panics with it").push(broker);
        }
    }

    /// A server of databases; `None` for SQLite, which needs none.
    pub(crate) async fn database(&self, db: Db, own: bool) -> Option<Lent<Server>> {
        let cell = match db {
            Db::Sqlite => return None,
            Db::Postgres => &self.postgres,
            Db::Mariadb => &self.mariadb,
        };
        Some(if own {
            Lent::Own(Server::start(db).await)
        } else {
            Lent::Shared(cell.get_or_init(async || Arc::new(Server::start(db).await)).await.clone())
        })
    }
}

async fn start(kind: Kind) -> Broker {
    match kind {
        Kind::Rabbitmq => Broker::Rabbitmq(Rabbitmq::start().await),
        Kind::Mqtt => Broker::Mosquitto(Mosquitto::start().await),
    }
}

impl<T> Lent<T> {
    /// The server, to be killed.
    pub(crate) fn own(&mut self) -> Result<&mut T> {
        match self {
            Self::Shared(_) => anyhow::bail!("the server is not this cell's own"),
            Self::Own(server) => Ok(server),
        }
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

impl Broker {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Rabbitmq(node) => node.address,
            Self::Mosquitto(mosquitto) => mosquitto.address,
        }
    }

    /// It, where it is RabbitMQ.
    pub(crate) fn rabbitmq(&self) -> Result<&Rabbitmq> {
        match self {
            Self::Rabbitmq(node) => Ok(node),
            Self::Mosquitto(_) => anyhow::bail!("this is of RabbitMQ"),
        }
    }

    /// Runs `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) -> Result<String> {
        let said = self.rabbitmq()?.control(arguments);
        said.with_context(|| format!("`rabbitmqctl {}` failed", arguments.join(" ")))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Rabbitmq(node) => node.kill(),
            Self::Mosquitto(mosquitto) => mosquitto.kill(),
        }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        match self {
            Self::Rabbitmq(node) => node.stop().await,
            Self::Mosquitto(mosquitto) => mosquitto.stop().await,
        }
    }

    /// Starts it again; it takes clients then.
    pub(crate) async fn run(&mut self) {
        match self {
            Self::Rabbitmq(node) => node.run().await,
            Self::Mosquitto(mosquitto) => mosquitto.run().await,
        }
    }

    /// Starts it again where it has ended by itself.
    pub(crate) async fn revive(&mut self) {
        let runs = match self {
            Self::Rabbitmq(node) => node.runs(),
            Self::Mosquitto(mosquitto) => mosquitto.runs(),
        };
        if !runs {
            self.run().await;
        }
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        match self {
            Self::Rabbitmq(node) => node.freeze(),
            Self::Mosquitto(mosquitto) => mosquitto.freeze(),
        }
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        match self {
            Self::Rabbitmq(node) => node.go_on(),
            Self::Mosquitto(mosquitto) => mosquitto.go_on(),
        }
    }
}

impl Server {
    async fn start(db: Db) -> Self {
        match db {
            Db::Mariadb => Self::Mariadb(Mariadb::start().await),
            Db::Postgres | Db::Sqlite => Self::Postgres(Postgres::start().await),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Postgres(server) => server.address,
            Self::Mariadb(server) => server.address,
        }
    }

    /// For administration.
    pub(crate) fn admin(&self) -> String {
        match self {
            Self::Postgres(server) => server.admin(),
            Self::Mariadb(server) => server.admin(),
        }
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        match self {
            Self::Postgres(server) => server.url(database),
            Self::Mariadb(server) => server.url(database),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::Mariadb(server) => server.kill(),
        }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        match self {
            Self::Postgres(server) => server.stop().await,
            Self::Mariadb(server) => server.stop().await,
        }
    }

    /// Starts it again; it takes clients then.
    pub(crate) async fn run(&mut self) {
        match self {
            Self::Postgres(server) => server.run().await,
            Self::Mariadb(server) => server.run().await,
        }
    }
}

impl Db {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
        }
    }
}

impl Kind {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Mqtt => "mqtt",
        }
    }
}
