//! Whether the database says in the end what it should.

use anyhow::Result;
use comfy_table::Cell;
use postroad_store::query::status::{ConfigStatus, Status};
use serde::Serialize;

use super::Teller;
use crate::output::state;

/// What a service's tables must hold after the script.
struct Expected {
    service: &'static str,
    published: i64,
    invalid: i64,
    processed: i64,
}

/// 3 requests and the answer to one, and one row without `reply_to`; 3 answers, 1 request back, 2 events and 2 shifts, of
/// which one was sent twice.
const EXPECTED: [Expected; 2] = [
    Expected { service: "ebmr", published: 4, invalid: 1, processed: 8 },
    Expected { service: "edgenexus", published: 9, invalid: 0, processed: 4 },
];

/// What should be there, and what is.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) service: &'static str,
    pub(crate) row: &'static str,
    pub(crate) expected: i64,
    pub(crate) found: i64,
}

/// Prints the closing table and returns whether all is as it should be, which is said in the words of `good`.
pub(crate) fn tell(lines: &[Line], good: &str, teller: &Teller<'_>) -> Result<bool> {
    let output = teller.output;
    let as_expected = lines.iter().all(Line::holds);
    if teller.quiet {
        output.json(&serde_json::json!({ "as_expected": as_expected, "table": lines }))?;
        return Ok(as_expected);
    }
    output.line("")?;
    let header = ["service", "rows", "expected", "in the database", ""];
    output.table(&header, lines.iter().map(Line::cells).collect(), "no rows")?;
    let ending = if as_expected { good } else { "Not as it should be: see above." };
    output.line(format_args!("\n{ending}"))?;
    Ok(as_expected)
}

/// The lines of the plain demo.
pub(crate) fn of_services(status: &Status) -> Vec<Line> {
    EXPECTED.iter().flat_map(|expected| lines(expected, status)).collect()
}

fn lines(expected: &Expected, status: &Status) -> Vec<Line> {
    let service = expected.service;
    let found = status.configs.iter().find(|config| config.config_key == service);
    let count = |pick: fn(&ConfigStatus) -> i64| found.map_or(-1, pick);
    let line = |row, expected, found| Line { service, row, expected, found };
    vec![
        line("outbox, published", expected.published, count(|config| config.outbound.published)),
        line("outbox, invalid", expected.invalid, count(|config| config.outbound.invalid)),
        line(
            "outbox, not settled",
            0,
            count(|config| config.outbound.pending + config.outbound.error),
        ),
        line("inbox, processed", expected.processed, count(|config| config.inbound.processed)),
        line("inbox, left over", 0, count(|config| config.inbound.pending + config.inbound.error)),
        line("quarantine", 0, count(|config| config.quarantined)),
    ]
}

impl Line {
    fn holds(&self) -> bool {
        self.expected == self.found
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.service),
            Cell::new(self.row),
            Cell::new(self.expected),
            Cell::new(self.found),
            state(if self.holds() { "ok" } else { "failed" }),
        ]
    }
}
