//! Named crash points and seeded bugs, in builds that are made to be tested only.
//!
//! A crash point is a place on the way of a message where the process can be made to end at once. A seeded bug is a
//! mistake that can be switched on, to see that the tests find it. Both are chosen by the environment, which is read once,
//! by `arm`:
//!
//! - `POSTROAD_CRASH_AT=after_claim:3` ends the process with status 137 when it gets to that point for the third time;
//! - `POSTROAD_BUG=case_insensitive_ids` makes that mistake for as long as the process lives.
//!
//! All of this is there with the feature `fault-injection` only. Without it no environment is read, [`reached`] is empty
//! and the questions are answered `false` when the program is compiled.
//!
//! ```
//! use postroad_fault_points::{Bug, Point, has, reached};
//!
//! reached(Point::AfterClaim);
//! assert!(!has(Bug::CaseInsensitiveIds), "nothing is armed by itself");
//! ```

mod names;

#[cfg(feature = "fault-injection")]
mod armed;
#[cfg(feature = "fault-injection")]
mod plan;
#[cfg(not(feature = "fault-injection"))]
mod unarmed;

pub use names::{Bug, Point};

#[cfg(feature = "fault-injection")]
pub use armed::{arm, has, is_armed, reached};
#[cfg(feature = "fault-injection")]
pub use plan::PlanError;
#[cfg(not(feature = "fault-injection"))]
pub use unarmed::{has, is_armed, reached};
