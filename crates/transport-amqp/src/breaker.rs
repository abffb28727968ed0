//! Notices a message that kills every connection it is delivered to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A connection that lived longer was not killed by what it was delivered first.
const QUICK: Duration = Duration::from_secs(5);

/// So many quick deaths in a row are no accident.
const STREAK: u32 = 3;

/// amqprs closes the connection at headers it cannot decode, and the broker delivers the message again, for ever. Once
/// that is suspected, deliveries are asked for one at a time, so that what stands before the message gets through and
/// the message can be found at the head of its queue.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    quick_deaths: Mutex<u32>,
}

impl Breaker {
    /// Whether to take deliveries one at a time.
    pub(crate) fn is_open(&self) -> bool {
        *self.lock() >= STREAK
    }

    /// A connection broke without a word from the broker. `true`: the breaker has just opened.
    pub(crate) fn broke(&self, lived: Duration, acknowledged: bool) -> bool {
        let mut quick_deaths = self.lock();
        if lived >= QUICK || acknowledged {
            *quick_deaths = 0;
            return false;
        }
        *quick_deaths += 1;
        *quick_deaths == STREAK
    }

    /// A connection lived well.
    pub(crate) fn close(&self) {
        *self.lock() = 0;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u32> {
        self.quick_deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(100);

    #[test]
    fn three_quick_deaths_in_a_row_open_it() {
        let breaker = Breaker::default();
        assert!(!breaker.broke(MOMENT, false));
        assert!(!breaker.broke(MOMENT, false));
        assert!(!breaker.is_open());
        assert!(breaker.broke(MOMENT, false));
        assert!(breaker.is_open());
        assert!(!breaker.broke(MOMENT, false), "it is told once");
    }

    #[test]
    fn an_acknowledgement_or_a_long_life_starts_over() {
        for (lived, acknowledged) in [(MOMENT, true), (QUICK, false)] {
            let breaker = Breaker::default();
            for _ in 0..2 {
                breaker.broke(MOMENT, false);
            }
            breaker.broke(lived, acknowledged);
            breaker.broke(MOMENT, false);
            assert!(!breaker.is_open());
        }
    }

    #[test]
    fn a_good_life_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..STREAK {
            breaker.broke(MOMENT, false);
        }
        breaker.close();
        assert!(!breaker.is_open());
    }
}
