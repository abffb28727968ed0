//! When to try again, as a pure function.

use std::time::Duration;

/// Exponential backoff: `base * 2^attempt`, at most `max`, less up to a quarter by the roll of a die.
///
/// The gaps grow whatever the dice say: the shortest of one attempt is longer than the longest of the attempt before,
/// until `max` is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// `base` is the nominal delay of attempt 0; a `max` below it counts as `base`.
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max: max.max(base) }
    }

    /// The delay before trying again after `attempt` earlier retries; `roll` is from `0.0` up to `1.0`.
    pub fn delay(&self, attempt: u32, roll: f64) -> Duration {
        let doublings = 2_u32.checked_pow(attempt).unwrap_or(u32::MAX);
        let nominal = self.base.checked_mul(doublings).unwrap_or(self.max).min(self.max);
        let roll = if (0.0..=1.0).contains(&roll) { roll } else { 1.0 };
        nominal.mul_f64(1.0 - 0.25 * roll)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(attempt: u32, roll: f64, expected_ms: u64) {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));
        assert_eq!(backoff.delay(attempt, roll), Duration::from_millis(expected_ms));
    }

    #[test]
    fn it_doubles_up_to_the_maximum() {
        check(0, 0.0, 1_000);
        check(1, 0.0, 2_000);
        check(8, 0.0, 256_000);
        check(9, 0.0, 300_000);
        check(u32::MAX, 0.0, 300_000);
    }

    #[test]
    fn the_dice_take_off_a_quarter_at_most() {
        check(0, 1.0, 750);
        check(2, 0.5, 3_500);
        check(40, 1.0, 225_000);
        check(0, 7.0, 750);
        check(0, f64::NAN, 750);
    }

    #[test]
    fn gaps_grow_whatever_the_dice_say() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));
        for attempt in 0..8 {
            assert!(
                backoff.delay(attempt, 0.0) < backoff.delay(attempt + 1, 1.0),
                "attempt {attempt}"
            );
        }
    }

    #[test]
    fn a_maximum_below_the_base_counts_as_the_base() {
        let backoff = Backoff::new(Duration::from_secs(3), Duration::from_secs(1));
        assert_eq!(backoff.delay(5, 0.0), Duration::from_secs(3));
    }

    proptest! {
        /// Whatever is asked for: between three quarters of the nominal delay and all of it, and never above the maximum.
        #[test]
        fn every_delay_is_within_a_quarter_of_the_nominal_one(
            base_ms in 0..10_000_000_u64,
            max_ms in 0..10_000_000_u64,
            attempt: u32,
            small in 0..40_u32,
            roll in 0.0..1.0,
        ) {
            let (base, max) = (Duration::from_millis(base_ms), Duration::from_millis(max_ms.max(base_ms)));
            let backoff = Backoff::new(base, Duration::from_millis(max_ms));
            for attempt in [attempt, small] {
                let doubled = u128::from(base_ms) << attempt.min(64);
                let nominal_ms = doubled.min(max.as_millis());
                let nominal = Duration::from_millis(u64::try_from(nominal_ms).unwrap());
                let delay = backoff.delay(attempt, roll);
                prop_assert!(delay <= nominal && delay >= nominal.mul_f64(0.749), "{delay:?} of {nominal:?}");
                prop_assert!(backoff.delay(attempt, roll) >= backoff.delay(attempt, 1.0));
            }
        }
    }
}
