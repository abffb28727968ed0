//! A line for each cell as it ends, and all of it as Markdown and JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cell::Cell;
use crate::options::Options;
use crate::say;
use crate::servers::{Db, Kind};
use crate::verdict::Verdict;

/// What came of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Nothing was wrong.
    Passed,
    /// Something was.
    Failed,
    /// There is no such cell.
    NotApplicable,
    /// It cannot be run here.
    Skipped,
    /// Another test does.
    Covered,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    fault: &'static str,
    title: &'static str,
    db: Db,
    broker: Kind,
    outcome: Outcome,
    /// Why it was not run, or what else is to be said.
    note: String,
    seconds: f64,
    seed: u64,
    verdict: Verdict,
}

/// The machine and the programs.
#[derive(Debug, Clone, Serialize)]
struct Machine {
    cores: usize,
    memory_mib: u64,
    kernel: String,
    versions: Vec<String>,
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    messages: u64,
    jobs: u8,
    seconds: f64,
    machine: Machine,
    cells: Vec<Record>,
    #[serde(skip)]
    began: Instant,
    #[serde(skip)]
    out: PathBuf,
}

impl Record {
    /// Of a cell that ran.
    pub(crate) fn of_run(
        cell: &Cell,
        seed: u64,
        time: Duration,
        verdict: Verdict,
        notes: &[String],
    ) -> Self {
        let outcome = if verdict.is_good() { Outcome::Passed } else { Outcome::Failed };
        let note = notes.join("; ");
        Self {
            seconds: time.as_secs_f64(),
            verdict,
            ..Self::without_run(cell, seed, outcome, &note)
        }
    }

    /// Of one that did not.
    pub(crate) fn without_run(cell: &Cell, seed: u64, outcome: Outcome, note: &str) -> Self {
        Self {
            fault: cell.fault.id,
            title: cell.fault.title,
            db: cell.db,
            broker: cell.broker,
            outcome,
            note: note.to_owned(),
            seconds: 0.0,
            seed,
            verdict: Verdict::default(),
        }
    }

    fn outcome(&self) -> &'static str {
        match self.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotApplicable => "n/a",
            Outcome::Skipped => "skipped",
            Outcome::Covered => "covered by test",
        }
    }

    fn line(&self) -> String {
        let name = format!("{:<4} {:<9} {:<9}", self.fault, self.db.name(), self.broker.name());
        match self.outcome {
            Outcome::Passed | Outcome::Failed => {
                let Verdict { committed, duplicated, recovered, lost_by_broker, .. } = self.verdict;
                let by_broker = match lost_by_broker {
                    0 => String::new(),
                    lost => format!("lost by the broker {lost}  "),
                };
                format!(
                    "{name} {:<7} {:>6.1} s  committed {committed:>6}  lost {}  phantom {}  doubled {}  wire copies {duplicated}  recovered {recovered}  {by_broker}{}{}",
                    self.outcome(),
                    self.seconds,
                    self.lost(),
                    self.verdict.phantom,
                    self.verdict.double_in_inbox,
                    self.note,
                    self.failures("\n     ! "),
                )
            }
            _ => format!("{name} {}: {}", self.outcome(), self.note),
        }
    }

    fn lost(&self) -> u64 {
        self.verdict.lost_on_wire + self.verdict.lost_in_inbox
    }

    fn failures(&self, before: &str) -> String {
        let failures = self.verdict.failures.iter();
        failures.fold(String::new(), |all, failure| all + before + failure)
    }
}

impl Report {
    /// Empty.
    pub(crate) fn new(options: &Options, seed: u64) -> Self {
        Self {
            seed,
            messages: options.messages,
            jobs: options.jobs,
            seconds: 0.0,
            machine: Machine::look(options),
            cells: Vec::new(),
            began: Instant::now(),
            out: options.out.clone(),
        }
    }

    /// Takes a line, and prints it.
    pub(crate) fn add(&mut self, record: Record) {
        say(&record.line());
        self.cells.push(record);
    }

    /// Writes everything down, and returns whether no cell failed.
    pub(crate) fn finish(mut self) -> Result<bool> {
        self.seconds = self.began.elapsed().as_secs_f64();
        self.cells.sort_by_key(|cell| {
            let number = cell.fault[1..].parse::<u32>().unwrap_or(u32::MAX);
            (number, cell.broker.name(), cell.db.name())
        });
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make `{}`", self.out.display()))?;
        fs::write(self.out.join("faults.md"), self.markdown())?;
        fs::write(self.out.join("faults.json"), serde_json::to_string_pretty(&self)?)?;
        let count = |outcome| self.cells.iter().filter(|cell| cell.outcome == outcome).count();
        say(&format!(
            "{} passed, {} failed, {} n/a, {} skipped, {} covered by tests, in {:.0} s; seed {}; report in {}",
            count(Outcome::Passed),
            count(Outcome::Failed),
            count(Outcome::NotApplicable),
            count(Outcome::Skipped),
            count(Outcome::Covered),
            self.seconds,
            self.seed,
            self.out.display(),
        ));
        Ok(count(Outcome::Failed) == 0)
    }

    fn markdown(&self) -> String {
        let Machine { cores, memory_mib, kernel, versions } = &self.machine;
        let mut text = format!(
            "# Fault matrix\n\nSeed {}, at least {} messages each way a cell, {} cells at a time, {:.0} s.\n\
             {cores} cores, {memory_mib} MiB, Linux {kernel}; {}.\n\n\
             | fault | database | broker | outcome | s | committed | lost | phantom | double in inbox | wire copies | recovered | note |\n\
             |---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
            self.seed,
            self.messages,
            self.jobs,
            self.seconds,
            versions.join(", "),
        );
        for cell in &self.cells {
            let Verdict { committed, phantom, double_in_inbox, duplicated, recovered, .. } =
                cell.verdict;
            writeln!(
                text,
                "| {} {} | {} | {} | {} | {:.1} | {committed} | {} | {phantom} | {double_in_inbox} | {duplicated} | {recovered} | {}{} |",
                cell.fault,
                cell.title,
                cell.db.name(),
                cell.broker.name(),
                cell.outcome(),
                cell.seconds,
                cell.lost(),
                cell.note,
                cell.failures("; ").replace('|', "/"),
            )
            .expect("a string takes all");
        }
        writeln!(
            text,
            "\nOne cell again: `cargo xtask faults --seed {} --messages {} --only F1 --db sqlite --broker rabbitmq`, with its names.",
            self.seed, self.messages
        )
        .expect("a string takes all");
        text
    }
}

impl Machine {
    fn look(options: &Options) -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let program = options.postroad.display().to_string();
        let versions = [
            version(&program, &["--version"]),
            version("/usr/sbin/mosquitto", &["-h"]),
            version("mariadbd", &["--version"]),
            version("postgres", &["--version"]),
            version("/usr/lib/rabbitmq/bin/rabbitmqctl", &["version"])
                .map(|version| format!("RabbitMQ {version}")),
        ];
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions: versions.into_iter().flatten().collect(),
        }
    }
}

/// The first line that a program prints about itself.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}
