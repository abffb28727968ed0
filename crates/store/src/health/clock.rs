//! Whether this host and the database agree on the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postroad_worker_core::Finding;
use sea_orm::{DbErr, FromQueryResult};

use super::{in_words, one};
use crate::Database;
use crate::dialect::Sql;

/// Differences below this are told by nobody.
const TOLERATED: Duration = Duration::from_secs(1);
/// Beyond this the times in logs and rows mislead whoever reads them.
const MISLEADING: Duration = Duration::from_secs(30);

const NOW: Sql = Sql {
    sqlite: "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS integer) AS millis",
    postgres: "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS millis",
    mysql: "SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000 AS millis",
};

#[derive(FromQueryResult)]
struct Now {
    millis: i64,
}

/// Milliseconds since 1970 by the database's clock.
pub(crate) async fn millis(db: &Database) -> Result<i64, DbErr> {
    let Now { millis } = one(db, NOW.text(db.dialect())).await?;
    Ok(millis)
}

/// The database's time against the middle of the question's way there and back.
pub(super) async fn check(db: &Database) -> Result<Finding, DbErr> {
    // The first of a connection takes longer.
    millis(db).await?;
    let before = unix_time();
    let millis = millis(db).await?;
    let round_trip = unix_time().saturating_sub(before);
    let theirs = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    Ok(judge(before + round_trip / 2, theirs, round_trip))
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn judge(ours: Duration, theirs: Duration, round_trip: Duration) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str = "let both hosts keep time by NTP; leases, retries and ages go by the database's clock alone, so \
                          nothing is sent too early or twice, but logs of this host and times in the tables do not match";
    let difference = ours.abs_diff(theirs);
    // Where in the round trip the database looked at its clock is not known.
    let certain = difference.saturating_sub(round_trip / 2);
    let side = if theirs > ours { "ahead of" } else { "behind" };
    let found = if difference < TOLERATED {
        format!("the database's clock differs by {} ms", difference.as_millis())
    } else {
        format!("the database's clock is {} {side} this host's", in_words(difference))
    };
    if certain > MISLEADING {
        Finding::failure(CHECK, found, ADVICE)
    } else if certain > TOLERATED {
        Finding::warning(CHECK, found, ADVICE)
    } else {
        Finding::ok(CHECK, found)
    }
}

#[cfg(test)]
mod tests {
    use postroad_worker_core::Level;

    use super::*;

    #[track_caller]
    fn check(ours_ms: u64, theirs_ms: u64, round_trip_ms: u64, level: Level, text: &str) {
        let ms = Duration::from_millis;
        let finding = judge(ms(ours_ms), ms(theirs_ms), ms(round_trip_ms));
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.found.contains(text), "{finding:?}");
    }

    #[test]
    fn a_difference_counts_beyond_what_the_way_there_may_have_taken() {
        check(100_000, 100_300, 10, Level::Ok, "by 300 ms");
        check(100_000, 103_000, 10, Level::Warning, "3 s ahead of");
        check(103_000, 100_000, 10, Level::Warning, "3 s behind");
        check(100_000, 102_000, 3_000, Level::Ok, "2 s ahead");
        check(100_000, 160_000, 10, Level::Failure, "60 s ahead");
        check(160_000, 100_000, 10, Level::Failure, "60 s behind");
    }
}
