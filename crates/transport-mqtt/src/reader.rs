//! Reading the spool ahead of whoever consumes it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::spool::{Place, Spool, Spooled};

/// Reads messages in order, at most as many as may be unacknowledged.
pub(crate) struct Reader {
    spool: Arc<Spool>,
    /// Follows the end of the spool.
    end: watch::Receiver<u64>,
    prefetch: usize,
    /// The next number to be read.
    next: u64,
    reading: Option<JoinHandle<Result<Vec<Spooled>, String>>>,
    ready: VecDeque<Spooled>,
    /// What was handed out and not removed.
    open: VecDeque<Place>,
}

impl Reader {
    /// Begins with the first message that was not removed.
    pub(crate) fn new(spool: Arc<Spool>, prefetch: usize) -> Self {
        Self {
            end: spool.end(),
            next: spool.first(),
            spool,
            prefetch,
            reading: None,
            ready: VecDeque::new(),
            open: VecDeque::new(),
        }
    }

    pub(crate) fn prefetch(&self) -> usize {
        self.prefetch
    }

    /// The next message, and whether it was handed out before. `None` when there is none, if that is not to be waited
    /// for. Dropping the future loses nothing: what is being read stays in `reading`.
    pub(crate) async fn next(&mut self, wait: bool) -> Result<Option<(Spooled, bool)>, String> {
        loop {
            if let Some(spooled) = self.ready.pop_front() {
                self.open.push_back(spooled.place);
                let again = self.spool.hand_out(spooled.place.number);
                return Ok(Some((spooled, again)));
            }
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                self.take(read.map_err(|error| error.to_string())??);
                continue;
            }
            let room = self.prefetch.saturating_sub(self.open.len());
            if room == 0 {
                // Until something is removed, which takes this reader.
                std::future::pending::<()>().await;
            }
            if *self.end.borrow_and_update() > self.next {
                self.read(room);
            } else if wait {
                self.end.changed().await.map_err(|error| error.to_string())?;
            } else {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, most: usize) {
        let (spool, next) = (Arc::clone(&self.spool), self.next);
        self.reading = Some(spawn_blocking(move || {
            spool.read(next, most).map_err(|error| format!("cannot read the spool: {error}"))
        }));
    }

    fn take(&mut self, read: Vec<Spooled>) {
        self.next = match read.last() {
            Some(last) => last.place.number + 1,
            // There was something by its number, and there is not: the disk has lost it.
            None => *self.end.borrow(),
        };
        self.ready.extend(read);
    }

    /// Removes the oldest `count` messages of those handed out. `Ok`: they do not come again.
    pub(crate) async fn remove(&mut self, count: usize) -> Result<(), String> {
        let places: Vec<_> = self.open.iter().take(count).copied().collect();
        let spool = Arc::clone(&self.spool);
        let removed = spawn_blocking(move || spool.remove(&places)).await;
        removed
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("cannot remove from the spool: {error}"))?;
        self.open.drain(..count);
        Ok(())
    }

    /// How many messages are handed out and not removed.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}
