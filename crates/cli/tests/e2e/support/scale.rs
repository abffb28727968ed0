//! How much a test of chance does, and by which dice.

use std::time::Duration;

/// `POSTROAD_TEST_SCALE`: how many times longer or larger than usual, 1 unless said otherwise.
const SCALE: &str = "POSTROAD_TEST_SCALE";
/// `POSTROAD_TEST_SEED`: the seed of a run that is to be repeated.
const SEED: &str = "POSTROAD_TEST_SEED";

/// So much, as often as the run is larger than usual.
pub(crate) fn scaled(usual: usize) -> usize {
    usual * scale() as usize
}

/// So long, as often as the run is larger than usual.
pub(crate) fn scaled_time(usual: Duration) -> Duration {
    usual * scale()
}

fn scale() -> u32 {
    std::env::var(SCALE).map_or(1, |text| text.parse().expect("POSTROAD_TEST_SCALE is a number"))
}

/// Dice whose seed is shown, so that a run that fails can be repeated as far as chance in here goes.
#[expect(clippy::print_stdout, reason = "it goes with the output of the test")]
pub(crate) fn dice() -> fastrand::Rng {
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().expect("POSTROAD_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("{SEED}={seed}");
    fastrand::Rng::with_seed(seed)
}
