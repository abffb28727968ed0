//! Numbers.

use std::time::Duration;

pub(crate) fn per_second(messages: usize, time: Duration) -> f64 {
    as_f64(messages) / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 of anything")]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What is left of two rates where each message goes through one after the other on the same machine.
pub(crate) fn in_series(first: f64, second: f64) -> f64 {
    1.0 / (1.0 / first + 1.0 / second)
}
