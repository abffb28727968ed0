//! What a run found, as JSON and as Markdown.

use std::fmt::Write;

use serde::Serialize;

use crate::ceilings::Ceiling;
use crate::cleaning::Cleaning;
use crate::latency::{Latency, Percentiles};
use crate::machine::Machine;
use crate::process::Process;
use crate::scale::{Backlog, Workers};
use crate::spool::Spool;
use crate::throughput::{Side, Throughput};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) messages: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) spool: Vec<Spool>,
    pub(crate) workers: Vec<Workers>,
    pub(crate) cleaning: Vec<Cleaning>,
    pub(crate) backlog: Vec<Backlog>,
    pub(crate) process: Vec<Process>,
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let Machine { processor, cores, memory_gib, kernel, postroad, servers } = &self.machine;
        let mut text = format!(
            "Postroad {postroad} on {cores} cores ({processor}), {memory_gib} GiB, {kernel}; {}. \
             All of it on this machine at once. {} messages of {} bytes, medians of {} rounds.\n",
            servers.join(", "),
            self.messages,
            self.payload_bytes,
            self.rounds
        );
        self.throughput(&mut text);
        self.latency(&mut text);
        self.spool(&mut text);
        self.workers(&mut text);
        self.cleaning(&mut text);
        self.backlog(&mut text);
        self.process(&mut text);
        text
    }

    fn throughput(&self, text: &mut String) {
        let header = "database | broker | way | client alone | database alone | the two in series | Postroad | reached";
        let rows = self.throughput.iter().flat_map(|cell| {
            let ways = [("out", cell.out), ("in", cell.into), ("both at once", cell.both)];
            ways.map(|(way, side)| {
                let Side { client, database, in_series, postroad, reached } = side;
                format!(
                    "{} | {} | {way} | {client:.0} | {database:.0} | {in_series:.0} | {postroad:.0} | {:.0} %",
                    cell.database,
                    cell.broker,
                    reached * 100.0
                )
            })
        });
        table(text, "Throughput, messages a second", header, 3, rows);
    }

    fn latency(&self, text: &mut String) {
        let header = "database | written by | rows/s | commit to confirm p50 | p95 | p99 | max | commit alone p50 | p99 | confirm alone p50 | p99";
        let rows = self.latency.iter().map(|row| {
            let Percentiles { p50, p95, p99, max } = row.commit_to_confirm;
            let (commit, confirm) = (row.commit_alone, row.confirm_alone);
            format!(
                "{} | {} | {} | {p50:.1} | {p95:.1} | {p99:.1} | {max:.1} | {:.1} | {:.1} | {:.1} | {:.1}",
                row.database,
                row.writer,
                row.rows_per_second,
                commit.p50,
                commit.p99,
                confirm.p50,
                confirm.p99
            )
        });
        table(text, "Latency, milliseconds", header, 2, rows);
    }

    fn spool(&self, text: &mut String) {
        let rows = self.spool.iter().map(|row| {
            let micros = |millis: f64| millis * 1000.0;
            let Percentiles { p50, p99, max, .. } = row.append;
            let (p50, p99, max) = (micros(p50), micros(p99), micros(max));
            format!("{} | {} | {p50:.0} | {p99:.0} | {max:.0}", row.sync, row.appends)
        });
        let header = "spool_sync | appends | p50 | p99 | max";
        table(text, "Append to the MQTT spool, microseconds", header, 1, rows);
    }

    fn workers(&self, text: &mut String) {
        let rows = self.workers.iter().map(|row| {
            let Workers { database, number, out, into, ceiling, .. } = row;
            let Ceiling { out: most_out, into: most_in } = ceiling;
            format!("{database} | {number} | {most_out:.0} | {out:.0} | {most_in:.0} | {into:.0}")
        });
        let header =
            "database | workers | the two in series, out | out | the two in series, in | in";
        table(text, "Workers, messages a second", header, 1, rows);
    }

    fn cleaning(&self, text: &mut String) {
        let header = "database | old rows | deleted/s | messages/s without | beside it | reached";
        let rows = self.cleaning.iter().map(|row| {
            let Cleaning { database, old_rows, deleted, alone, beside, reached, .. } = row;
            let reached = reached * 100.0;
            format!(
                "{database} | {old_rows} | {deleted:.0} | {alone:.0} | {beside:.0} | {reached:.0} %"
            )
        });
        table(text, "A worker beside a cleaner", header, 1, rows);
    }

    fn backlog(&self, text: &mut String) {
        let rows = self.backlog.iter().map(|row| {
            let Backlog { database, waiting, out, ceiling, .. } = row;
            format!("{database} | {waiting} | {:.0} | {out:.0}", ceiling.out)
        });
        let header = "database | rows waiting | the two in series | out";
        table(text, "Backlog, messages a second", header, 1, rows);
    }

    fn process(&self, text: &mut String) {
        let header =
            "database | way | waiting | messages/s | CPU seconds per 10,000 | peak resident MiB";
        let rows = self.process.iter().map(|row| {
            format!(
                "{} | {} | {} | {:.0} | {:.2} | {:.1}",
                row.database,
                row.way,
                row.waiting,
                row.per_second,
                row.cpu_seconds_per_10_000,
                row.peak_resident_mib
            )
        });
        table(text, "The worker's process", header, 2, rows);
    }
}

/// A table under its title; nothing where there are no rows. The first columns are texts, the others numbers.
fn table(
    text: &mut String,
    title: &str,
    header: &str,
    texts: usize,
    rows: impl Iterator<Item = String>,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let columns = header.split('|').count();
    let rule: Vec<_> =
        (0..columns).map(|column| if column < texts { "---" } else { "---:" }).collect();
    let rule = rule.join("|");
    write!(text, "\n### {title}\n\n| {header} |\n|{rule}|\n").expect("a string takes all");
    for row in rows {
        writeln!(text, "| {row} |").expect("a string takes all");
    }
}
