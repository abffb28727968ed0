//! A cell of the matrix: a fault, a database and a broker.

use std::fmt;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::servers::{Db, Kind};
use crate::world::World;

/// Something that goes wrong.
#[derive(Debug)]
pub struct Fault {
    /// `F1` and so on.
    pub id: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// What it breaks.
    pub needs: Needs,
    /// Whether it can happen with these.
    pub applies: fn(Db, Kind) -> Applies,
    /// Starts workers, breaks things and mends them. At its end all is well and at least one worker runs; what the fault
    /// demands beside the verdict is checked here.
    pub inject: for<'w> fn(&'w mut World) -> LocalBoxFuture<'w, Result<()>>,
}

/// Which servers a cell has for itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// The broker.
    pub broker: bool,
    /// The server of the database.
    pub database: bool,
    /// Several workers share an MQTT subscription.
    pub group: bool,
}

/// Whether a fault can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applies {
    /// It can.
    Yes,
    /// There is no such thing here.
    No(&'static str),
    /// There is, but not on this machine.
    Skipped(String),
    /// A test proves it.
    Covered(&'static str),
}

/// One cell.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// What goes wrong.
    pub fault: &'static Fault,
    /// With which database.
    pub db: Db,
    /// And which broker.
    pub broker: Kind,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.fault.id, self.db.name(), self.broker.name())
    }
}

/// Everywhere.
pub fn always(_: Db, _: Kind) -> Applies {
    Applies::Yes
}

/// Only with RabbitMQ.
pub fn rabbitmq_only(_: Db, broker: Kind) -> Applies {
    match broker {
        Kind::Rabbitmq => Applies::Yes,
        Kind::Mqtt => Applies::No("MQTT has no such thing"),
    }
}

/// Only with MQTT.
pub fn mqtt_only(_: Db, broker: Kind) -> Applies {
    match broker {
        Kind::Mqtt => Applies::Yes,
        Kind::Rabbitmq => Applies::No("RabbitMQ has no such thing"),
    }
}

/// Only where a database is a server.
pub fn server_only(db: Db, _: Kind) -> Applies {
    match db {
        Db::Sqlite => Applies::No("SQLite is a file, with no network before it"),
        Db::Postgres | Db::Mariadb => Applies::Yes,
    }
}
