//! From the environment to what is to happen.

use crate::{Bug, Point};

/// Where the process is to end, and what it is to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// At which point, and when it is reached for the how many-th time, from 1 on.
    pub(crate) crash: Option<(Point, u64)>,
    pub(crate) bug: Option<Bug>,
}

/// Why a value of the environment says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not `name:n`.
    #[error("POSTROAD_CRASH_AT: `{0}` is not `name:n`, where n counts from 1")]
    NotAPoint(String),
    /// A point that there is not.
    #[error("POSTROAD_CRASH_AT: there is no point `{0}`, there are {1}")]
    UnknownPoint(String, String),
    /// A bug that there is not.
    #[error("POSTROAD_BUG: there is no bug `{0}`, there are {1}")]
    UnknownBug(String, String),
}

impl Plan {
    pub(crate) fn parse(crash_at: Option<&str>, bug: Option<&str>) -> Result<Self, PlanError> {
        Ok(Self { crash: crash_at.map(crash).transpose()?, bug: bug.map(the_bug).transpose()? })
    }
}

fn crash(text: &str) -> Result<(Point, u64), PlanError> {
    let not_a_point = || PlanError::NotAPoint(text.to_owned());
    let (name, hit) = text.split_once(':').ok_or_else(not_a_point)?;
    let point = Point::ALL.into_iter().find(|point| point.name() == name);
    let point = point.ok_or_else(|| {
        PlanError::UnknownPoint(name.to_owned(), Point::ALL.map(Point::name).join(", "))
    })?;
    match hit.parse() {
        Ok(hit @ 1..) => Ok((point, hit)),
        Ok(0) | Err(_) => Err(not_a_point()),
    }
}

fn the_bug(name: &str) -> Result<Bug, PlanError> {
    let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    bug.ok_or_else(|| PlanError::UnknownBug(name.to_owned(), Bug::ALL.map(Bug::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for point in Point::ALL {
            let plan = Plan::parse(Some(&format!("{}:7", point.name())), None).unwrap();
            assert_eq!(plan, Plan { crash: Some((point, 7)), bug: None });
        }
        for bug in Bug::ALL {
            let plan = Plan::parse(None, Some(bug.name())).unwrap();
            assert_eq!(plan, Plan { crash: None, bug: Some(bug) });
        }
    }

    #[track_caller]
    fn check(crash_at: Option<&str>, bug: Option<&str>, expected: &str) {
        let error = Plan::parse(crash_at, bug).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_unknown_is_answered_with_what_there_is() {
        check(Some("after_lunch:1"), None, "`after_lunch`, there are after_claim, before_publish,");
        check(None, Some("typo"), "`typo`, there are published_before_confirm,");
    }

    #[test]
    fn a_point_needs_a_number_from_1_on() {
        for text in ["after_claim", "after_claim:", "after_claim:0", "after_claim:-1", ""] {
            check(Some(text), None, "is not `name:n`");
        }
    }
}
