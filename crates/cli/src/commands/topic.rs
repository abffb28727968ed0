//! `postroad topic`.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Cell;
use serde::Serialize;

use crate::args::Topic;
use crate::output::{Output, state};

#[derive(Serialize)]
struct Verdict<'a> {
    topic: &'a str,
    valid: bool,
    message_type: Option<&'static str>,
    error: Option<String>,
}

pub(crate) fn run(command: &Topic, output: &Output) -> Result<ExitCode> {
    let Topic::Check { topics, json } = command;
    let verdicts: Vec<_> = topics.iter().map(|topic| check(topic)).collect();
    if *json {
        output.json(&verdicts)?;
    } else {
        let rows = verdicts.iter().map(Verdict::cells).collect();
        output.table(&["topic", "verdict", "why"], rows, "no topics")?;
    }
    let all_valid = verdicts.iter().all(|verdict| verdict.valid);
    Ok(if all_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(topic: &str) -> Verdict<'_> {
    match postroad_envelope::Topic::parse(topic) {
        Ok(parsed) => Verdict {
            topic,
            valid: true,
            message_type: Some(parsed.message_type().as_str()),
            error: None,
        },
        Err(error) => {
            Verdict { topic, valid: false, message_type: None, error: Some(error.to_string()) }
        }
    }
}

impl Verdict<'_> {
    fn cells(&self) -> Vec<Cell> {
        let word = if self.valid { "valid" } else { "invalid" };
        let why = self.error.as_deref().or(self.message_type).unwrap_or_default();
        vec![Cell::new(self.topic), state(word), Cell::new(why)]
    }
}
