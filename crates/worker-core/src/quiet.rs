//! One log line for each kind of thing in ten seconds, with how many there were more, however often it happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was told of each kind, and what was held back. The clock is the caller's.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    kinds: Mutex<BTreeMap<&'static str, Kind>>,
}

#[derive(Debug)]
struct Kind {
    told_at: Instant,
    held_back: u64,
}

impl Quiet {
    /// Whether this one is to be told now, and with how many others that were held back; `None` counts it.
    pub(crate) fn tell(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.lock();
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind, Kind { told_at: now, held_back: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(known.told_at) < INTERVAL {
            known.held_back += 1;
            return None;
        }
        known.told_at = now;
        Some(std::mem::take(&mut known.held_back))
    }

    /// What was held back and is due to be told, since nothing of its kind has come after it. Counts as told.
    pub(crate) fn due(&self, now: Instant) -> Vec<(&'static str, u64)> {
        self.take(|kind| now.saturating_duration_since(kind.told_at) >= INTERVAL, now)
    }

    /// The same of everything, at the end.
    pub(crate) fn rest(&self, now: Instant) -> Vec<(&'static str, u64)> {
        self.take(|_| true, now)
    }

    fn take(&self, is_due: impl Fn(&Kind) -> bool, now: Instant) -> Vec<(&'static str, u64)> {
        let mut kinds = self.lock();
        let due = kinds.iter_mut().filter(|(_, kind)| kind.held_back > 0 && is_due(kind));
        due.map(|(name, kind)| {
            kind.told_at = now;
            (*name, std::mem::take(&mut kind.held_back))
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kind>> {
        // The counts are valid at every step, so a panic elsewhere does not spoil them.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_million_of_a_kind_are_one_line_in_ten_seconds_and_none_is_left_out_of_the_count() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let (mut lines, mut counted) = (0, 0);
        for number in 0..1_000_000 {
            // Over 50 s.
            let now = start + SECOND * 50 * number / 1_000_000;
            if let Some(more) = quiet.tell("bad", now) {
                (lines, counted) = (lines + 1, counted + 1 + more);
            }
        }
        assert_eq!(lines, 5);
        let rest = quiet.due(start + 60 * SECOND);
        assert_eq!(rest.len(), 1);
        assert_eq!(counted + rest[0].1, 1_000_000);
        assert_eq!(quiet.rest(start + 99 * SECOND), []);
    }

    #[test]
    fn kinds_do_not_keep_each_other_quiet() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.tell("bad", start), Some(0));
        assert_eq!(quiet.tell("bad", start + SECOND), None);
        assert_eq!(quiet.tell("worse", start + SECOND), Some(0));
        assert_eq!(quiet.tell("bad", start + 10 * SECOND), Some(1));
        assert_eq!(quiet.tell("bad", start + 11 * SECOND), None);
        assert_eq!(quiet.due(start + 12 * SECOND), [], "it was told of two seconds ago");
        assert_eq!(quiet.rest(start + 12 * SECOND), [("bad", 1)]);
    }
}
