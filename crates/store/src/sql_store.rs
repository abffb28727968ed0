//! The store of one config.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Database;
use crate::outbox_postgres::Held;
use crate::set_back::Seen;
use crate::turns::Turns;
use crate::wake::Wake;

/// The engine's outbox, inbox and list of workers in a database, for one `config_key`. Clones share the connections.
#[derive(Debug, Clone)]
pub struct SqlStore {
    database: Database,
    config_key: String,
    delete_on_publish: bool,
    turns: Arc<Mutex<Turns>>,
    held: Arc<Mutex<Held>>,
    /// Whether the last claim found nothing.
    quiet: Arc<AtomicBool>,
    wake: Arc<Wake>,
    /// The database's clock, once it was looked at.
    seen: Arc<Mutex<Option<Seen>>>,
}

impl SqlStore {
    /// A store on `database`. The config itself need not be there.
    pub fn new(database: Database, config_key: impl Into<String>) -> Self {
        Self {
            database,
            config_key: config_key.into(),
            delete_on_publish: false,
            turns: Arc::default(),
            held: Arc::default(),
            quiet: Arc::default(),
            wake: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Whether a row that is published is deleted at once, in the same statement, instead of being kept as `published`.
    #[must_use]
    pub fn delete_on_publish(mut self, yes: bool) -> Self {
        self.delete_on_publish = yes;
        self
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn config_key(&self) -> &str {
        &self.config_key
    }

    pub(crate) fn deletes_on_publish(&self) -> bool {
        self.delete_on_publish
    }

    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    pub(crate) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }
}
