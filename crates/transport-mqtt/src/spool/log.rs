//! The spool's store on disk: fjall, opened again when a write has failed.

use std::fs::DirBuilder;
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::SpoolSync;

/// With one, fjall's worker waits for room in a queue that only it empties.
const WORKERS: usize = 2;
/// What fjall holds in memory until it goes into tables. Most messages are gone by then.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The least that fjall takes for journals.
const JOURNAL_BYTES: u64 = 64 << 20;
const CACHE_BYTES: u64 = 8 << 20;

/// Records by number, in one keyspace: an idle second one would keep the journals of the first for ever.
pub(super) struct Log {
    path: PathBuf,
    sync: SpoolSync,
    store: RwLock<Option<Store>>,
}

struct Store {
    database: Database,
    records: Keyspace,
}

/// Why the disk did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("it is in use by another process or transport")]
    Locked,
    #[error("cannot make the folder: {0}")]
    Folder(io::Error),
    /// fjall takes no writes after one that failed, until it is opened again.
    #[error("a write failed before")]
    Broken,
    #[error(
        "its files are damaged: keep its folder `log` elsewhere, messages are in it, to begin with an empty one"
    )]
    Damaged,
    #[error("{0}")]
    Store(String),
}

impl LogError {
    /// Whether somebody else has it open.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::Locked)
    }
}

impl From<fjall::Error> for LogError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Locked,
            fjall::Error::Poisoned => Self::Broken,
            fjall::Error::JournalRecovery(_) => Self::Damaged,
            fjall::Error::Io(error) => Self::Store(error.to_string()),
            other => Self::Store(other.to_string()),
        }
    }
}

impl Log {
    /// Opens what an earlier run left, or makes the folder.
    pub(super) fn open(path: &Path, sync: SpoolSync) -> Result<Self, LogError> {
        let store = Store::open(path)?;
        Ok(Self { path: path.to_owned(), sync, store: RwLock::new(Some(store)) })
    }

    /// `Ok`: the record survives what the settings say.
    pub(super) fn append(&self, number: u64, record: &[u8]) -> Result<(), LogError> {
        self.with(|store| {
            // fjall has given it to the operating system when this returns.
            store.records.insert(number.to_be_bytes(), record)?;
            match self.sync {
                SpoolSync::Os => Ok(()),
                SpoolSync::Always => store.database.persist(PersistMode::SyncData),
            }
        })
    }

    /// At most so many records and, from the second on, bytes, of these numbers.
    pub(super) fn read(
        &self,
        numbers: Range<u64>,
        most: usize,
        most_bytes: usize,
    ) -> Result<Vec<(u64, fjall::Slice)>, LogError> {
        self.with(|store| {
            let range = numbers.start.to_be_bytes()..numbers.end.to_be_bytes();
            let (mut found, mut bytes) = (Vec::new(), 0);
            for entry in store.records.range(range).take(most) {
                let (key, record) = entry.into_inner()?;
                bytes += record.len();
                if bytes > most_bytes && !found.is_empty() {
                    break;
                }
                found.push((number(&key), record));
            }
            Ok(found)
        })
    }

    /// Removes the records of these numbers, all or none.
    pub(super) fn remove(&self, numbers: impl Iterator<Item = u64>) -> Result<(), LogError> {
        self.with(|store| {
            let mut batch = store.database.batch().durability(Some(PersistMode::Buffer));
            for number in numbers {
                batch.remove(&store.records, number.to_be_bytes());
            }
            batch.commit()
        })
    }

    /// Every record's number and size.
    pub(super) fn sizes(&self) -> Result<Vec<(u64, u64)>, LogError> {
        self.with(|store| {
            let entries = store.records.iter().map(|entry| {
                let (key, record) = entry.into_inner()?;
                Ok((number(&key), record.len() as u64))
            });
            entries.collect()
        })
    }

    /// Opens the store again if a write has failed, which is the only way to make it take writes again.
    pub(super) fn mend(&self) -> Result<(), LogError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let broken = match &*store {
            // Nothing is written by this where nothing is wrong.
            Some(store) => store.database.persist(PersistMode::Buffer).is_err(),
            None => true,
        };
        if broken {
            // It holds the lock of the folder until it is dropped.
            *store = None;
            *store = Some(Store::open(&self.path)?);
        }
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&Store) -> Result<T, fjall::Error>) -> Result<T, LogError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let store = store.as_ref().ok_or(LogError::Broken)?;
        Ok(caught(|| work(store))??)
    }
}

impl Drop for Log {
    /// fjall waits for its workers, which may be writing.
    fn drop(&mut self) {
        let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        std::thread::spawn(move || drop(store));
    }
}

impl Store {
    fn open(path: &Path) -> Result<Self, LogError> {
        caught(|| Self::open_files(path))?
    }

    fn open_files(path: &Path) -> Result<Self, LogError> {
        // What is inside is nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(LogError::Folder)?;
        let database = Database::builder(path)
            .worker_threads(WORKERS)
            .max_journaling_size(JOURNAL_BYTES)
            .cache_size(CACHE_BYTES)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let records = database.keyspace("spool", options)?;
        Ok(Self { database, records })
    }
}

/// fjall believes some of what it reads in its files; what it panics over later is an error here.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, LogError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| LogError::Damaged)
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.try_into().expect("every key is a number of ours"))
}
