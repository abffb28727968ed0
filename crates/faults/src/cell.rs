//! A cell of the matrix: a fault, a database and a broker.

use std::fmt;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::servers::{Db, Kind};
use crate::world::World;

/// Something that goes wrong.
#[derive(Debug)]
pub(crate) struct Fault {
    /// `F1` and so on.
    pub(crate) id: &'static str,
    /// What it is, in a line.
    pub(crate) title: &'static str,
    /// What it breaks.
    pub(crate) needs: Needs,
    /// Whether it can happen with these.
    pub(crate) applies: fn(Db, Kind) -> Applies,
    /// Starts workers, breaks things and mends them. At its end all is well and at least one worker runs; what the fault
    /// demands beside the verdict is checked here.
    pub(crate) inject: for<'w> fn(&'w mut World) -> LocalBoxFuture<'w, Result<()>>,
}

/// Which servers a cell has for itself.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a need of its own")]
pub(crate) struct Needs {
    /// The broker.
    pub(crate) broker: bool,
    /// The server of the database.
    pub(crate) database: bool,
    /// Several workers share an MQTT subscription.
    pub(crate) group: bool,
    /// The worker, the broker and the database have a disk of few bytes.
    pub(crate) small_disk: bool,
    /// The broker keeps only a few messages for a subscriber that is away.
    pub(crate) short_queues: bool,
    /// The server of the database goes by a clock that can be set.
    pub(crate) clock: bool,
}

impl Needs {
    /// Nothing of its own.
    pub(crate) const NOTHING: Self = Self {
        broker: false,
        database: false,
        group: false,
        small_disk: false,
        short_queues: false,
        clock: false,
    };
    /// The broker.
    pub(crate) const BROKER: Self = Self { broker: true, ..Self::NOTHING };
    /// The server of the database.
    pub(crate) const DATABASE: Self = Self { database: true, ..Self::NOTHING };
    /// Several workers.
    pub(crate) const GROUP: Self = Self { group: true, ..Self::NOTHING };
    /// A disk that can be filled.
    pub(crate) const SMALL_DISK: Self = Self { small_disk: true, ..Self::ALL };
    /// A broker that throws away what it cannot keep.
    pub(crate) const SHORT_QUEUES: Self = Self { short_queues: true, ..Self::BROKER };
    /// A clock that can be set.
    pub(crate) const CLOCK: Self = Self { clock: true, ..Self::DATABASE };
    /// Everything that can be killed.
    pub(crate) const ALL: Self = Self { broker: true, ..Self::DATABASE };
}

/// Whether a fault can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applies {
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
pub(crate) struct Cell {
    /// What goes wrong.
    pub(crate) fault: &'static Fault,
    /// With which database.
    pub(crate) db: Db,
    /// And which broker.
    pub(crate) broker: Kind,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.fault.id, self.db.name(), self.broker.name())
    }
}

/// Everywhere.
pub(crate) fn always(_: Db, _: Kind) -> Applies {
    Applies::Yes
}

/// Only with RabbitMQ.
pub(crate) fn rabbitmq_only(_: Db, broker: Kind) -> Applies {
    match broker {
        Kind::Rabbitmq => Applies::Yes,
        Kind::Mqtt => Applies::No("MQTT has no such thing"),
    }
}

/// Only with MQTT.
pub(crate) fn mqtt_only(_: Db, broker: Kind) -> Applies {
    match broker {
        Kind::Mqtt => Applies::Yes,
        Kind::Rabbitmq => Applies::No("RabbitMQ has no such thing"),
    }
}

/// Only where a database is a server.
pub(crate) fn server_only(db: Db, _: Kind) -> Applies {
    match db {
        Db::Sqlite => Applies::No("SQLite is a file, with no network before it"),
        Db::Postgres | Db::Mariadb => Applies::Yes,
    }
}
