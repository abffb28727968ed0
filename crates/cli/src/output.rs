//! What a person or a program reads: tables, JSON and one line for an error.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Stderr, Stdout, Write};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, ContentArrangement, Table, TableComponent};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Standard output and error of this process.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Stdout,
    stderr: Stderr,
    terminal: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let terminal = stdout.is_terminal();
        Self { stdout, stderr, terminal }
    }

    /// A line on standard output. A reader that went away, as `head` does, ends the program without a complaint.
    pub(crate) fn line(&self, text: impl Display) -> anyhow::Result<()> {
        match writeln!(self.stdout.lock(), "{text}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
            result => result.context("cannot write to standard output"),
        }
    }

    /// An empty screen, on a terminal; elsewhere an empty line.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        self.line(if self.terminal { "\u{1b}[2J\u{1b}[H" } else { "" })
    }

    /// A line on standard error, for a person.
    pub(crate) fn note(&self, text: impl Display) {
        // There is nowhere left to tell that standard error is closed.
        writeln!(self.stderr.lock(), "{text}").ok();
    }

    /// A value as JSON, indented for a person at a terminal.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = if self.terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.line(text.context("cannot write this as JSON")?)
    }

    /// A table as wide as the terminal at most; `empty` is said where there is no row.
    pub(crate) fn table(
        &self,
        header: &[&str],
        rows: Vec<Vec<Cell>>,
        empty: &str,
    ) -> anyhow::Result<()> {
        if rows.is_empty() {
            return self.line(empty);
        }
        let mut table = Table::new();
        table.load_preset(NOTHING).set_style(TableComponent::HeaderLines, '─');
        table.set_header(header).add_rows(rows);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        self.line(table.trim_fmt())
    }

    /// Names and values below each other, for one thing; absent values are left out.
    pub(crate) fn fields(&self, fields: &[(&str, Option<String>)]) -> anyhow::Result<()> {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            if let Some(value) = value {
                self.line(format_args!("{name:width$}  {}", harmless(value)))?;
            }
        }
        Ok(())
    }

    /// Every field of a record that is not null, below each other, in the record's order; without those that say in base64
    /// what another one says.
    pub(crate) fn record(&self, record: &impl Serialize) -> anyhow::Result<()> {
        let record = serde_json::to_string(record).context("cannot write this as JSON")?;
        let members: Members = serde_json::from_str(&record).context("a record is an object")?;
        let text = |value: &RawValue| match serde_json::from_str(value.get()) {
            Ok(Value::Null) => None,
            Ok(Value::String(text)) => Some(text),
            _ => Some(value.get().to_owned()),
        };
        let members = members.0.iter().filter(|(name, _)| !name.ends_with("_base64"));
        let fields: Vec<_> = members.map(|(name, value)| (name.as_str(), text(value))).collect();
        self.fields(&fields)
    }

    /// The error with its causes on one line, and exit code 1.
    pub(crate) fn failure(&self, error: &anyhow::Error) -> ExitCode {
        if error.is::<ReaderGone>() {
            return ExitCode::SUCCESS;
        }
        let red = if self.stderr.is_terminal() { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        self.note(format_args!("{}error:{} {}", red.0, red.1, one_line(error)));
        ExitCode::FAILURE
    }
}

/// The members of an object in their order, values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("the reader of standard output went away")]
struct ReaderGone;

/// The chain of causes, without those that only repeat what was said.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string().replace('\n', " ")) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A cell for a state, coloured on a terminal: green is well, yellow waits, red needs a person.
pub(crate) fn state(word: &str) -> Cell {
    let cell = Cell::new(word);
    match word {
        "published" | "processed" | "running" | "applied" | "active" | "ok" | "valid" => {
            cell.fg(Color::Green)
        }
        "pending" | "starting" | "stopping" | "reconnecting" | "warning" => cell.fg(Color::Yellow),
        "error" | "invalid" | "stale" | "failed" | "failure" | "overdue" => cell.fg(Color::Red),
        _ => cell,
    }
}

/// A cell for a value that may be absent.
pub(crate) fn optional(value: Option<impl Display>) -> Cell {
    Cell::new(value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
}

/// A long text cut for a table.
pub(crate) fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", harmless(&text[..end])),
        None => harmless(text),
    }
}

/// What others sent must not make the terminal do anything: its control characters are shown, not followed.
fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        assert_eq!(short("a\u{1b}[2Jb\u{9b}", 80), r"a\u{1b}[2Jb\u{9b}");
        assert_eq!(harmless("größe\n\t🦀"), "größe\n\t🦀");
    }

    #[test]
    fn an_error_is_one_line_with_its_causes_once() {
        let cause = anyhow::anyhow!("no such\ntable")
            .context("cannot read: no such table")
            .context("status");
        assert_eq!(one_line(&cause), "status: cannot read: no such table");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(short("Température", 5), "Tempé…");
        assert_eq!(short("kurz", 5), "kurz");
    }
}
