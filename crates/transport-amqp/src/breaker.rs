//! Notices a message that kills every connection it is delivered to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::trouble::Seldom;

/// A connection that lived longer was not killed by what it was delivered first.
const QUICK: Duration = Duration::from_secs(5);

/// So many quick deaths in a row are no accident.
const STREAK: u32 = 3;

/// amqprs closes the connection at headers it cannot decode, and the broker delivers the message again, for ever. Once
/// that is suspected, a reader of our own takes the messages at the head of the queue one at a time (`rescue`).
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    quick_deaths: Mutex<u32>,
    /// Of its opening.
    pub(crate) openings: Seldom,
    /// Of messages that amqprs could not decode.
    pub(crate) rescues: Seldom,
}

impl Breaker {
    /// Whether to let the other reader at the queue.
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

    /// The other reader came to its end: one more quick death opens it again.
    pub(crate) fn half_open(&self) {
        *self.lock() = STREAK - 1;
    }

    /// The other reader cannot connect, so it is no better.
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
    fn after_the_other_reader_one_quick_death_is_enough() {
        let breaker = Breaker::default();
        breaker.half_open();
        assert!(!breaker.is_open());
        assert!(breaker.broke(MOMENT, false));
    }

    #[test]
    fn it_can_be_closed() {
        let breaker = Breaker::default();
        for _ in 0..STREAK {
            breaker.broke(MOMENT, false);
        }
        breaker.close();
        assert!(!breaker.is_open());
    }
}
