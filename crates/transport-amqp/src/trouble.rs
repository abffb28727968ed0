//! What a person has to see to, while it lasts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two log lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// The newest trouble of one kind.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    text: Mutex<Option<String>>,
    /// When it was logged.
    pub(crate) lines: Seldom,
}

impl Trouble {
    /// It is this now. `true`: there was none before.
    pub(crate) fn is(&self, text: String) -> bool {
        self.lock().replace(text).is_none()
    }

    /// It is over. `true`: there was one.
    pub(crate) fn over(&self) -> bool {
        self.lock().take().is_some()
    }

    pub(crate) fn text(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One log line of a kind in ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Counts `times` more. The sum, where it is to be logged now.
    pub(crate) fn tell(&self, times: u64, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told_at, held_back) = &mut *state;
        *held_back += times;
        if told_at.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return None;
        }
        *told_at = Some(now);
        Some(std::mem::take(held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_back_is_in_the_next_sum() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.tell(1, start), Some(1));
        assert_eq!(seldom.tell(2, start + INTERVAL / 2), None);
        assert_eq!(seldom.tell(3, start + INTERVAL), Some(5));
    }
}
