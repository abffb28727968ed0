//! Messages that the broker was told are ours, until they are committed.

mod log;
mod record;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use postroad_transport::MqttFlags;
use tokio::sync::watch;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::log::{Log, LogError};
use crate::settings::MqttSettings;

pub(crate) use self::record::Record;

/// How much is read at once, unless one message alone is larger.
const READ_BYTES: usize = 8 << 20;

/// What waits in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolDepth {
    /// Messages that are not committed yet.
    pub messages: u64,
    /// Their bytes, as [`crate::MqttSettings::spool_max_bytes`] counts them.
    pub bytes: u64,
}

/// A queue on disk. It blocks; async code calls it on threads for that.
pub(crate) struct Spool {
    folder: PathBuf,
    log: Log,
    max_bytes: u64,
    /// Held through an append, so that messages become visible in order.
    appending: Mutex<()>,
    held: Mutex<Held>,
    /// Told when something was removed, or a wait has ended.
    room: Condvar,
    /// The number that the next message gets; everything below has been appended.
    end: watch::Sender<u64>,
    /// Everything below was handed out before.
    handed_out: AtomicU64,
    /// Whether the last append failed.
    failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    depth: SpoolDepth,
    /// Everything below has been removed.
    first: u64,
}

/// A message with its place in the spool.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) place: Place,
    pub(crate) record: Record,
}

/// Where a message is, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) size: u64,
}

impl Spool {
    /// Opens what an earlier run left, or makes the folder. Nobody else can open it until this is dropped.
    pub(crate) fn open(settings: &MqttSettings) -> Result<Self, LogError> {
        let folder = settings.spool_dir.clone();
        let log = Log::open(&folder.join("log"), settings.spool_sync)?;
        let sizes = log.sizes()?;
        let depth = SpoolDepth {
            messages: sizes.len() as u64,
            bytes: sizes.iter().map(|(_, size)| size).sum(),
        };
        let first = sizes.first().map_or(0, |(number, _)| *number);
        let end = sizes.last().map_or(0, |(number, _)| number + 1);
        if depth.messages > 0 {
            info!(
                messages = depth.messages,
                bytes = depth.bytes,
                "messages of an earlier run are in the spool"
            );
        }
        Ok(Self {
            folder,
            log,
            max_bytes: settings.spool_max_bytes,
            appending: Mutex::default(),
            held: Mutex::new(Held { depth, first }),
            room: Condvar::new(),
            end: watch::Sender::new(end),
            // Whether the earlier run handed them out is not known.
            handed_out: AtomicU64::new(end),
            failing: AtomicBool::new(false),
        })
    }

    /// `Ok`: the message is in the spool. This never waits for room, see [`Spool::wait_for_room`].
    pub(crate) fn append(
        &self,
        flags: MqttFlags,
        topic: &str,
        body: &[u8],
    ) -> Result<(), LogError> {
        let bytes = record::encode(Uuid::now_v7(), flags, topic, body);
        let turn = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *self.end.borrow();
        self.told(self.log.append(number, &bytes))?;
        let mut held = self.held();
        held.depth.messages += 1;
        held.depth.bytes += bytes.len() as u64;
        drop(held);
        self.end.send_replace(number + 1);
        drop(turn);
        Ok(())
    }

    /// Says once that writing fails, and once that it works again.
    fn told(&self, written: Result<(), LogError>) -> Result<(), LogError> {
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        let folder = self.folder.display();
        match &written {
            Err(error) if !failed_before => {
                error!(%folder, %error, "cannot write to the spool, nothing is acknowledged until that works");
            }
            Ok(()) if failed_before => info!(%folder, "the spool takes messages again"),
            Ok(()) | Err(_) => {}
        }
        written
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held().depth.bytes >= self.max_bytes
    }

    /// Returns when there is room, or `ended` is set and [`Spool::wake`] was called.
    pub(crate) fn wait_for_room(&self, ended: &AtomicBool) {
        let full =
            |held: &mut Held| held.depth.bytes >= self.max_bytes && !ended.load(Ordering::Relaxed);
        let mut held = self.held();
        if full(&mut held) {
            let SpoolDepth { messages, bytes } = held.depth;
            warn!(messages, bytes, "the spool is full, the broker is held back");
            held = self.room.wait_while(held, full).unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
    }

    /// Makes whoever waits for room look again whether that has ended.
    pub(crate) fn wake(&self) {
        let held = self.held();
        self.room.notify_all();
        drop(held);
    }

    /// At most so many messages, in order, from number `from` on.
    pub(crate) fn read(&self, from: u64, most: usize) -> Result<Vec<Spooled>, LogError> {
        // What is being appended is not counted yet.
        let end = *self.end.borrow();
        let found = self.log.read(from..end, most, READ_BYTES)?;
        let spooled = found.into_iter().map(|(number, bytes)| Spooled {
            place: Place { number, size: bytes.len() as u64 },
            record: record::decode(&bytes).unwrap_or_else(|| {
                error!(number, "a message in the spool cannot be read, it is handed over as it is");
                Record::unreadable(&bytes)
            }),
        });
        Ok(spooled.collect())
    }

    /// Removes messages, given in order. `Ok`: they are not read again. What has been removed before does not matter.
    pub(crate) fn remove(&self, places: &[Place]) -> Result<(), LogError> {
        let numbers = places.iter().map(|place| place.number);
        let Some(last) = numbers.clone().next_back() else { return Ok(()) };
        self.log.remove(numbers)?;
        let mut held = self.held();
        let first = held.first;
        for place in places.iter().filter(|place| place.number >= first) {
            held.depth.messages -= 1;
            held.depth.bytes -= place.size;
        }
        held.first = first.max(last + 1);
        self.room.notify_all();
        drop(held);
        Ok(())
    }

    /// Gets over a write that failed.
    pub(crate) fn mend(&self) -> Result<(), LogError> {
        self.log.mend()
    }

    pub(crate) fn depth(&self) -> SpoolDepth {
        self.held().depth
    }

    /// The number of the first message that was not removed.
    pub(crate) fn first(&self) -> u64 {
        self.held().first
    }

    /// Follows the number that the next message gets.
    pub(crate) fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// Notes that a message is being handed out; whether it was before, in this run or perhaps in an earlier one.
    pub(crate) fn hand_out(&self, number: u64) -> bool {
        self.handed_out.fetch_max(number + 1, Ordering::Relaxed) > number
    }

    /// Whether the broker was seen to keep a session for this client.
    pub(crate) fn knows_session(&self, client_id: &str) -> bool {
        fs::read_to_string(self.session_file()).is_ok_and(|known| known == client_id)
    }

    /// Notes that the broker keeps a session for this client, or that it does not.
    pub(crate) fn note_session(&self, client_id: Option<&str>) {
        let file = self.session_file();
        let noted = match client_id {
            Some(_) if client_id.is_some_and(|id| self.knows_session(id)) => Ok(()),
            Some(client_id) => fs::write(&file, client_id),
            None if file.exists() => fs::remove_file(&file),
            None => Ok(()),
        };
        if let Err(error) = noted {
            warn!(file = %file.display(), %error, "a session that the broker loses will not be noticed");
        }
    }

    fn session_file(&self) -> PathBuf {
        self.folder.join("session")
    }

    /// How many messages the broker had thrown away when it was last asked; `None` where nobody ever asked.
    pub(crate) fn dropped(&self) -> Option<u64> {
        fs::read_to_string(self.dropped_file()).ok()?.trim().parse().ok()
    }

    /// Notes it.
    pub(crate) fn note_dropped(&self, messages: u64) {
        let file = self.dropped_file();
        if let Err(error) = fs::write(&file, messages.to_string()) {
            warn!(file = %file.display(), %error, "what the broker throws away may be told twice or not at all");
        }
    }

    fn dropped_file(&self) -> PathBuf {
        self.folder.join("dropped")
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
