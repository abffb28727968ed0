//! The engine against a broker and a database that fail whenever a seed says so.
//!
//! Each seed is one world: services with rows to send, workers that are killed and started, confirms that get lost,
//! commits whose answer never comes. After a while everything heals, and then nothing may be lost, nothing made up, and
//! each message may be in the inbox once. A failing seed is printed; `POSTROAD_SEED=n` runs that world alone, and
//! `POSTROAD_SEEDS=n` runs that many.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cleaning;
mod promises;
mod store;
mod world;

use std::env;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use world::World;

const SEEDS: u64 = 2_000;

fn run(seed: u64) -> world::Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(World::live(seed))
}

#[test]
fn nothing_is_lost_and_nothing_made_up_whatever_fails() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("POSTROAD_SEED") {
        run(seed);
        return;
    }
    let seeds = number("POSTROAD_SEEDS").unwrap_or(SEEDS);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut tally = world::Tally::default();
    thread::scope(|scope| {
        let share =
            |thread| move || (thread..seeds).step_by(threads).map(run_or_say).collect::<Vec<_>>();
        let shares: Vec<_> = (0..).take(threads).map(|thread| scope.spawn(share(thread))).collect();
        for share in shares {
            share.join().expect("the seed is said above").iter().for_each(|one| tally.add(one));
        }
    });
    // Worlds in which nothing happened would prove nothing.
    assert!(tally.has_seen_everything(), "{tally:?}");
}

fn run_or_say(seed: u64) -> world::Tally {
    catch_unwind(AssertUnwindSafe(|| run(seed)))
        .unwrap_or_else(|_| panic!("seed {seed} failed; POSTROAD_SEED={seed} repeats it"))
}
