//! Sequences of calls drawn by chance, and a model in memory that says what each of them has to do.

mod inbox;
mod outbox;

use std::env;
use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::suite::home::Home;

/// Sequences for each database, unless `POSTROAD_TEST_SCALE` asks for a multiple.
const SEQUENCES: u32 = 40;

pub(crate) async fn the_outbox_does_what_a_list_in_memory_would(home: Home) {
    on_one_thread(|| outbox::try_it(home)).await;
}

pub(crate) async fn the_inbox_does_what_a_list_in_memory_would(home: Home) {
    on_one_thread(|| inbox::try_it(home)).await;
}

/// What proptest draws stays on its thread.
async fn on_one_thread<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let runtime = Handle::current();
    spawn_blocking(move || runtime.block_on(test())).await.unwrap();
}

/// Tries many sequences; of one that fails, the shortest that still does is told, with the seed of the run.
async fn try_sequences<T: Debug + Clone>(
    steps: impl Strategy<Value = Vec<T>>,
    run: impl AsyncFn(&[T]) -> Result<(), String>,
) {
    let seed = env::var("POSTROAD_TEST_SEED")
        .map_or_else(|_| Uuid::new_v4().as_u64_pair().0, |seed| seed.parse().unwrap());
    let scale: u32 = env::var("POSTROAD_TEST_SCALE").map_or(1, |scale| scale.parse().unwrap());
    let bytes = [seed.to_le_bytes(); 4].concat();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..SEQUENCES * scale {
        let mut tree = steps.new_tree(&mut runner).unwrap();
        let Err(mut why) = run(&tree.current()).await else { continue };
        let mut shortest = tree.current();
        let mut simpler = tree.simplify();
        while simpler {
            simpler = match run(&tree.current()).await {
                Err(reason) => {
                    (why, shortest) = (reason, tree.current());
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        panic!("{why}\nafter {shortest:#?}\nPOSTROAD_TEST_SEED={seed} repeats it");
    }
}

/// `Err` where what is there is not what the model says.
#[expect(clippy::needless_pass_by_value, reason = "so that a call is as short as an assertion")]
fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: found {found:?}, the model says {expected:?}"))
    }
}
