//! When negative confirms are the connection's fault.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Negative confirms that go on for so long on one connection are worth trying another one.
const FIRST: Duration = Duration::from_secs(3);
/// The queue may just be full: then other connections, tried ever less often, do not help.
const LONGEST: Duration = Duration::from_mins(5);
/// Without a negative confirm for so long the trouble is over.
const CALM: Duration = Duration::from_mins(1);

/// What the connections of one transport have in common.
///
/// A channel of RabbitMQ 3.10 that first publishes to a quorum queue while the queue's leader is just gone refuses every
/// message from then on, and for as long as it lives. A new one does not.
#[derive(Debug)]
pub(crate) struct Patience(Mutex<Duration>);

impl Default for Patience {
    fn default() -> Self {
        Self(Mutex::new(FIRST))
    }
}

impl Patience {
    fn get(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, patience: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = patience;
    }
}

/// The negative confirms of one connection.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    spell: Option<Spell>,
}

#[derive(Debug)]
struct Spell {
    first: Instant,
    last: Instant,
}

impl Refusals {
    /// There was one more; whether to try another connection.
    pub(crate) fn more(&mut self, patience: &Patience, now: Instant) -> bool {
        self.calm_down(patience, now);
        let spell = self.spell.get_or_insert(Spell { first: now, last: now });
        spell.last = now;
        let limit = patience.get();
        let worth_it = now - spell.first >= limit;
        if worth_it {
            patience.set((2 * limit).min(LONGEST));
        }
        worth_it
    }

    /// A message was confirmed.
    pub(crate) fn none(&mut self, patience: &Patience, opened: Instant, now: Instant) {
        self.calm_down(patience, now);
        if self.spell.is_none() && now - opened >= CALM {
            patience.set(FIRST);
        }
    }

    fn calm_down(&mut self, patience: &Patience, now: Instant) {
        // Where it is tried ever less often, the pauses between tries are no calm.
        let calm = CALM.max(2 * patience.get());
        self.spell.take_if(|spell| now - spell.last >= calm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_connection_is_tried_when_negative_confirms_go_on_and_ever_less_often() {
        let (patience, now) = (Patience::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut first = Refusals::default();
        assert!(!first.more(&patience, now));
        assert!(!first.more(&patience, after(2)));
        assert!(first.more(&patience, after(3)));
        let mut second = Refusals::default();
        assert!(!second.more(&patience, after(4)));
        assert!(!second.more(&patience, after(9)));
        assert!(second.more(&patience, after(10)));
        assert_eq!(patience.get(), 4 * FIRST);
    }

    #[test]
    fn single_ones_long_apart_are_nothing_to_the_connection() {
        let (patience, now) = (Patience::default(), Instant::now());
        let mut refusals = Refusals::default();
        for minutes in 0..5 {
            assert!(!refusals.more(&patience, now + Duration::from_mins(2 * minutes)));
        }
    }

    #[test]
    fn a_connection_without_them_makes_the_next_trouble_a_new_one() {
        let (patience, now) = (Patience::default(), Instant::now());
        patience.set(LONGEST);
        let mut refusals = Refusals::default();
        refusals.none(&patience, now, now + Duration::from_secs(59));
        assert_eq!(patience.get(), LONGEST);
        refusals.none(&patience, now, now + CALM);
        assert_eq!(patience.get(), FIRST);
    }
}
