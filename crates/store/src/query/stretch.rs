//! Counting in tables that may be very long: by stretches of primary keys, all of them or some that stand for the others.

use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;

use super::found;
use crate::Database;
use crate::dialect::Sql;

/// A table with no more keys from the first to the last is counted row by row, in some seconds.
const SHORT: i64 = 1_500_000;
/// A statement looks at so many keys, and at more where there would be too many statements.
const MOST: i64 = 250_000;
const STATEMENTS: i64 = 10_000;
/// Of a longer one, so many stretches are counted.
const SAMPLES: i64 = 32;
/// Keys of one of them, about.
const SAMPLE: i64 = 1_000;

/// Outbox or inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// The first key and the last.
    ends: Sql,
    /// The first row that is done with, and in good order.
    first_ended: Sql,
}

pub(super) const OUTBOX: Table = Table {
    ends: Sql::same(
        "SELECT (SELECT min(seq) FROM outbound_event) AS first, (SELECT max(seq) FROM outbound_event) AS last",
    ),
    first_ended: Sql::same(
        "SELECT seq FROM outbound_event WHERE status = 'published' ORDER BY seq LIMIT 1",
    ),
};

pub(super) const INBOX: Table = Table {
    ends: Sql::same(
        "SELECT (SELECT min(seq) FROM inbound_event) AS first, (SELECT max(seq) FROM inbound_event) AS last",
    ),
    first_ended: Sql::same(
        "SELECT seq FROM inbound_event WHERE status = 'processed' ORDER BY seq LIMIT 1",
    ),
};

/// Keys from the first up to, but not with, the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: i64,
    to: i64,
    /// How many stretches like it there are.
    stands_for: i64,
}

/// What is looked at of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretches(Vec<Stretch>);

impl Stretches {
    /// Every row.
    pub(super) async fn all(db: &Database, table: Table) -> Result<Self, StoreError> {
        let ends = ends(db, table).await?;
        Ok(Self(
            ends.map_or_else(Vec::new, |(first, last)| one_by_one(first, last.saturating_add(1))),
        ))
    }

    /// Every row of a short table. Of a long one, rows all over it where most are done with: some that are kept for ever may
    /// lie far before.
    pub(super) async fn spread(db: &Database, table: Table) -> Result<Self, StoreError> {
        let Some((first, last)) = ends(db, table).await? else { return Ok(Self(Vec::new())) };
        if last.saturating_sub(first) < SHORT {
            return Ok(Self(one_by_one(first, last.saturating_add(1))));
        }
        let ended: Vec<Key> = found(db, table.first_ended.bind(db.dialect(), [])).await?;
        let ended = ended.first().map(|key| key.seq);
        let most = ended.filter(|ended| ended.saturating_sub(first) < SHORT).unwrap_or(first);
        let mut stretches = one_by_one(first, most);
        stretches.extend(samples(most, last.saturating_add(1)));
        Ok(Self(stretches))
    }

    /// Whether some stand for others, so that a count is no more than near.
    pub(super) fn are_samples(&self) -> bool {
        self.0.iter().any(|stretch| stretch.stands_for > 1)
    }

    /// The rows of a query of one stretch, whose parameters are its ends, of each stretch; and how often each is to count.
    pub(super) async fn rows<T: FromQueryResult>(
        &self,
        db: &Database,
        sql: Sql,
    ) -> Result<Vec<(T, i64)>, StoreError> {
        let mut rows = Vec::new();
        for stretch in &self.0 {
            let statement = sql.bind(db.dialect(), [stretch.from.into(), stretch.to.into()]);
            let found: Vec<T> = found(db, statement).await?;
            rows.extend(found.into_iter().map(|row| (row, stretch.stands_for)));
        }
        Ok(rows)
    }
}

/// The first key and the last of a table that has any.
async fn ends(db: &Database, table: Table) -> Result<Option<(i64, i64)>, StoreError> {
    let ends: Vec<Ends> = found(db, table.ends.bind(db.dialect(), [])).await?;
    Ok(ends.first().and_then(|ends| ends.first.zip(ends.last)))
}

#[derive(FromQueryResult)]
struct Ends {
    first: Option<i64>,
    last: Option<i64>,
}

#[derive(FromQueryResult)]
struct Key {
    seq: i64,
}

fn one_by_one(from: i64, to: i64) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let step = MOST.max(to.saturating_sub(from) / STATEMENTS);
    let mut next = from;
    while next < to {
        let end = to.min(next.saturating_add(step));
        stretches.push(Stretch { from: next, to: end, stands_for: 1 });
        next = end;
    }
    stretches
}

fn samples(from: i64, to: i64) -> Vec<Stretch> {
    let keys = to.saturating_sub(from);
    if keys <= SHORT {
        return one_by_one(from, to);
    }
    let step = keys / SAMPLES;
    let stands_for = step / SAMPLE;
    let stretch = |n: i64| {
        let from = from + n * step;
        Stretch { from, to: from + step / stands_for, stands_for }
    };
    (0..SAMPLES).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(stretches: &[Stretch]) -> i64 {
        stretches.iter().map(|stretch| (stretch.to - stretch.from) * stretch.stands_for).sum()
    }

    #[test]
    fn a_short_table_is_counted_whole_a_statement_at_a_time() {
        let stretches = samples(7, 7 + SHORT);
        assert_eq!(keys(&stretches), SHORT);
        assert!(stretches.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert!(stretches.iter().all(|s| s.stands_for == 1 && s.to - s.from <= MOST));
    }

    #[test]
    fn one_row_far_from_the_others_does_not_make_for_statements_without_end() {
        let stretches = one_by_one(-1, i64::MAX);
        assert!(stretches.len() <= 10_001, "{}", stretches.len());
        assert_eq!(stretches.last().map(|last| last.to), Some(i64::MAX));
    }

    #[test]
    fn samples_lie_all_over_a_long_one_and_stand_for_all_of_it() {
        for length in [SHORT + 1, 12_345_678, 3_000_000_000] {
            let stretches = samples(1_000, 1_000 + length);
            let (first, last) = (stretches[0], stretches[stretches.len() - 1]);
            assert_eq!((stretches.len(), first.from), (32, 1_000));
            assert!(last.to <= 1_000 + length && last.from > 1_000 + length / 32 * 30);
            assert!(stretches.iter().all(|s| s.to - s.from < 2 * SAMPLE));
            let missed = length - keys(&stretches);
            assert!(missed >= 0 && missed < length / 100, "{missed} of {length}");
        }
    }
}
