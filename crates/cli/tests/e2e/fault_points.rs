//! Crash points and seeded bugs: what a release does not have, and what a build that is made for it says to a mistake.

#[cfg(feature = "fault-injection")]
use crate::support::Home;

#[cfg(not(feature = "fault-injection"))]
#[tokio::test]
async fn the_program_has_no_crash_points_and_no_seeded_bugs() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_postroad")).unwrap();
    let has = |name: &str| program.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(has("DATABASE_URL"), "what is in the program is found");
    for name in ["POSTROAD_CRASH_AT", "POSTROAD_BUG", "after_claim", "case_insensitive_ids"] {
        assert!(!has(name), "`{name}` is in the program");
    }
}

#[cfg(feature = "fault-injection")]
#[tokio::test]
async fn a_point_or_a_bug_that_there_is_not_is_answered_with_those_there_are() {
    let home = Home::empty().await;
    for (name, value, there_is) in [
        ("POSTROAD_CRASH_AT", "after_lunch:1", "in_shutdown"),
        ("POSTROAD_CRASH_AT", "after_claim", "`name:n`"),
        ("POSTROAD_BUG", "after_claim", "case_insensitive_ids"),
    ] {
        let postroad = home.postroad.command(&["status"]).env(name, value).output().unwrap();
        crate::support::Ran::of(postroad).fails_saying(&[name, there_is]);
    }
}
