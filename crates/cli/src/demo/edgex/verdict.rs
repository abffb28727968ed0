//! Whether the database says in the end what it should.

use anyhow::Result;
use postroad_store::query::inbox::InboxRecord;
use postroad_store::query::status::{ConfigStatus, Status, WorkerEntry};

use super::SERVICE;
use crate::demo::Teller;
use crate::demo::verdict::{self, Line};

/// By `event_type`: an event in each of three forms and one sent twice; a metric; a plain value.
const KINDS: [(&str, &str, i64); 3] = [
    ("edgex.event", "inbox, edgex.event", 4),
    ("edgex.metric", "inbox, edgex.metric", 1),
    ("mqtt.json", "inbox, mqtt.json", 1),
];

/// Prints the closing table and returns whether all is as it should be. `processed` are all such rows.
pub(crate) fn tell(
    status: &Status,
    processed: &[InboxRecord],
    teller: &Teller<'_>,
) -> Result<bool> {
    let good = "Every message arrived exactly once, and what could not be read is kept as it came.";
    verdict::tell(&lines(status, processed), good, teller)
}

fn lines(status: &Status, processed: &[InboxRecord]) -> Vec<Line> {
    let config = status.configs.first();
    let count = |pick: fn(&ConfigStatus) -> i64| config.map_or(-1, pick);
    let worker = config.and_then(|config| config.workers.first());
    let counted = |pick: fn(&WorkerEntry) -> i64| worker.map_or(-1, pick);
    let line = |row, expected, found| Line { service: SERVICE, row, expected, found };
    let total = KINDS.iter().map(|(_, _, expected)| expected).sum();
    let kinds = KINDS.iter().map(|(kind, row, expected)| {
        let found = processed.iter().filter(|row| row.event_type.as_deref() == Some(*kind));
        line(*row, *expected, i64::try_from(found.count()).unwrap_or(-1))
    });
    let mut lines: Vec<_> = kinds.collect();
    lines.extend([
        line("inbox, processed", total, count(|config| config.inbound.processed)),
        line("inbox, left over", 0, count(|config| config.inbound.pending + config.inbound.error)),
        line("duplicates, not stored", 1, counted(|worker| worker.duplicates)),
        line("quarantine", 1, count(|config| config.quarantined)),
        line("spool, left over", 0, counted(|worker| worker.spool_messages)),
    ]);
    lines
}
