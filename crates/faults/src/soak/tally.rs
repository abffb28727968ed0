//! What a soak found.

use serde::Serialize;

use crate::servers::{Db, Kind};
use crate::verdict::Verdict;

/// One broker and one database.
#[derive(Debug, Serialize)]
pub(crate) struct Tally {
    pub(crate) broker: Kind,
    pub(crate) db: Db,
    pub(crate) verdict: Verdict,
    pub(crate) counts: Counts,
    /// Seconds from the broker's return to the first message put in since then, sorted.
    pub(crate) resumed: Vec<f64>,
    /// Seconds until the rows of a killed worker were published, sorted.
    pub(crate) takeovers: Vec<f64>,
    pub(crate) drained_seconds: f64,
    pub(crate) worker_rss_mib: Vec<u64>,
    pub(crate) own_rss_mib: u64,
}

/// What was done to it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) kills: u64,
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) freezes: u64,
    pub(crate) broker_kills: u64,
    pub(crate) broker_stops: u64,
    pub(crate) network: u64,
    pub(crate) database: u64,
}

impl Counts {
    pub(crate) fn worker_kills(&self) -> u64 {
        self.kills + self.crashes
    }

    pub(crate) fn broker_restarts(&self) -> u64 {
        self.broker_kills + self.broker_stops
    }

    /// Each may cost a window of copies.
    pub(crate) fn incidents(&self) -> u64 {
        self.worker_kills()
            + self.stops
            + self.freezes
            + self.broker_restarts()
            + self.network
            + self.database
    }
}

impl Tally {
    pub(crate) fn text(&self) -> String {
        let Verdict {
            committed,
            duplicated,
            recovered,
            lost_by_broker,
            phantom,
            double_in_inbox,
            ..
        } = self.verdict;
        let Counts {
            kills,
            crashes,
            stops,
            freezes,
            broker_kills,
            broker_stops,
            network,
            database,
        } = self.counts;
        let lost = self.verdict.lost_on_wire + self.verdict.lost_in_inbox;
        let rss = &self.worker_rss_mib;
        let mut text = format!(
            "## {} with {}\n\n\
             - {committed} messages committed; lost {lost}, phantom {phantom}, double in the inbox {double_in_inbox}, lost by the killed broker {lost_by_broker}, recovered {recovered}, copies on the wire {duplicated}\n\
             - {} worker kills ({kills} SIGKILL, {crashes} crash points), {stops} clean stops, {freezes} pauses, {} broker restarts ({broker_kills} SIGKILL, {broker_stops} in good order), {network} network faults, {database} database faults\n\
             - resumed after the broker's return: {}\n\
             - takeover of a killed worker's rows: {}\n\
             - drained in {:.1} s; worker RSS {} to {} MiB, last {} MiB; harness {} MiB\n",
            self.broker.name(),
            self.db.name(),
            self.counts.worker_kills(),
            self.counts.broker_restarts(),
            percentiles(&self.resumed),
            percentiles(&self.takeovers),
            self.drained_seconds,
            rss.iter().min().unwrap_or(&0),
            rss.iter().max().unwrap_or(&0),
            rss.last().unwrap_or(&0),
            self.own_rss_mib,
        );
        for failure in &self.verdict.failures {
            text.extend(["- FAILED: ", failure, "\n"]);
        }
        text
    }
}

fn percentiles(sorted: &[f64]) -> String {
    let at = |percent: usize| {
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
    };
    match (at(50), at(99), sorted.last()) {
        (Some(median), Some(p99), Some(max)) => {
            format!("p50 {median:.2} s, p99 {p99:.2} s, longest {max:.2} s of {}", sorted.len())
        }
        _ => "not measured".to_owned(),
    }
}
