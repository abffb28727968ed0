//! How often a relay looks for rows that has none.

use std::time::Duration;

use crate::Hint;

/// After a hint the relay looks again so soon, then after twice as long and so on.
const EAGER: Duration = Duration::from_millis(1);
/// So many times slower does a relay look that is told of new rows anyway: it still finds retries and what others left.
const SLOWEST: u32 = 4;
/// But not slower than this because of it, so that a dead worker's rows are taken over soon after their lease.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// After so many looks in vain one that is not told looks a little less often too, so that an idle worker asks the database
/// less than once a second, all that it asks included.
const PATIENT: u32 = 8;
/// By so much.
const PATIENCE: f64 = 1.5;

/// What a relay without rows goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It looked so often without a hint.
    Looked(u32),
    /// A hint may come before the commit that it is about: look again, soon at first.
    Told(Duration),
}

impl Default for Idle {
    fn default() -> Self {
        Self::Looked(0)
    }
}

impl Idle {
    /// There was a hint just now.
    pub(crate) fn after(hint: Hint) -> Self {
        match hint {
            Hint::Written => Self::Told(EAGER),
            Hint::Committed => Self::default(),
        }
    }

    /// How long to wait before looking again, if nothing else is heard.
    pub(crate) fn pause(&mut self, poll: Duration, is_told: bool) -> Duration {
        match *self {
            Self::Told(eager) if eager < poll => {
                *self = Self::Told(2 * eager);
                eager
            }
            Self::Told(_) => {
                *self = Self::Looked(1);
                poll
            }
            Self::Looked(times) => {
                *self = Self::Looked(times.saturating_add(1));
                let slower = match is_told {
                    true => poll * (times + 1).min(SLOWEST),
                    false if times >= PATIENT => poll.mul_f64(PATIENCE),
                    false => poll,
                };
                slower.min(poll.max(LONGEST_PAUSE))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);

    #[test]
    fn a_relay_that_nobody_tells_looks_at_the_poll_interval_and_less_often_after_a_while() {
        let mut idle = Idle::default();
        let pauses: Vec<_> = (0..10).map(|_| idle.pause(POLL, false)).collect();
        assert_eq!(pauses[..8], [POLL; 8]);
        assert_eq!(pauses[8..], [POLL.mul_f64(1.5); 2]);
    }

    #[test]
    fn one_that_is_told_looks_less_often_up_to_a_limit() {
        let mut idle = Idle::default();
        let pauses: Vec<_> = (0..6).map(|_| idle.pause(POLL, true).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 4, 4, 4]);
        assert_eq!(Idle::Looked(9).pause(3 * POLL, true), LONGEST_PAUSE);
        assert_eq!(Idle::Looked(9).pause(9 * POLL, true), 9 * POLL);
    }

    #[test]
    fn after_a_hint_it_looks_again_soon_and_then_ever_later() {
        let mut idle = Idle::after(Hint::Written);
        let pauses: Vec<_> = (0..12).map(|_| idle.pause(POLL, true).as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 2_000]);
        assert_eq!(Idle::after(Hint::Committed).pause(POLL, true), POLL);
    }
}
