//! A process that can be made to end, or to be wrong.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, process};

use crate::plan::{Plan, PlanError};
use crate::{Bug, Point};

const CRASH_AT: &str = "POSTROAD_CRASH_AT";
const BUG: &str = "POSTROAD_BUG";

/// What a shell says of a process that was killed.
const KILLED: i32 = 137;

static PLAN: OnceLock<Plan> = OnceLock::new();
static HITS: AtomicU64 = AtomicU64::new(0);

/// Reads the environment, the first time it is called. After `Ok` what it asks for happens; after `Err` nothing does.
pub fn arm() -> Result<(), PlanError> {
    let text = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let plan = Plan::parse(text(CRASH_AT).as_deref(), text(BUG).as_deref())?;
    PLAN.get_or_init(|| plan);
    Ok(())
}

/// Marks that the process has got to a point, and ends it here if that is what was asked for. Hits are counted in this
/// process, over all of its threads.
pub fn reached(point: Point) {
    if let Some(last) = hit_to_end_at(point)
        && HITS.fetch_add(1, Ordering::Relaxed) + 1 == last
    {
        end();
    }
}

/// Whether the process is to end at this point, sooner or later.
pub fn is_armed(point: Point) -> bool {
    hit_to_end_at(point).is_some()
}

/// Whether the process is to make this mistake.
pub fn has(bug: Bug) -> bool {
    PLAN.get().is_some_and(|plan| plan.bug == Some(bug))
}

fn hit_to_end_at(point: Point) -> Option<u64> {
    PLAN.get()?.crash.filter(|(at, _)| *at == point).map(|(_, hit)| hit)
}

/// As good as a kill: no destructor runs, no task is finished, no connection is closed in good order. What does run are the
/// functions that were left for `exit`; neither we nor our libraries leave one there that says anything to a broker, a
/// database or a file.
#[expect(clippy::exit, reason = "to end like a crash is what this is for")]
fn end() -> ! {
    process::exit(KILLED)
}
