//! `postroad envelope`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use postroad_envelope::{Envelope, Limits, Rejected, schema};
use serde::Serialize;

use crate::args;
use crate::commands::input;
use crate::output::Output;

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    message_type: Option<&'static str>,
    topic: Option<String>,
    faults: Vec<Fault>,
}

#[derive(Serialize)]
struct Fault {
    field: String,
    problem: String,
}

pub(crate) fn run(command: &args::Envelope, output: &Output) -> Result<ExitCode> {
    match command {
        args::Envelope::Validate { file, json } => validate(file, *json, output),
        args::Envelope::Schema => {
            output.line(schema::TEXT.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn validate(file: &Path, json: bool, output: &Output) -> Result<ExitCode> {
    let verdict = judge(&input::read(file)?);
    if json {
        output.json(&verdict)?;
    } else if let (Some(kind), Some(topic)) = (verdict.message_type, &verdict.topic) {
        output.line(format_args!("valid: {kind} {topic}"))?;
    } else {
        for fault in &verdict.faults {
            output.note(format_args!("{}: {}", fault.field, fault.problem));
        }
        output.note(format_args!(
            "error: `{}` is not a valid {}",
            file.display(),
            postroad_envelope::SCHEMA_ID
        ));
    }
    Ok(if verdict.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(body: &[u8]) -> Verdict {
    let faults = match Envelope::from_json(body, &Limits::default()) {
        Ok(envelope) => {
            let message_type = Some(envelope.message_type.as_str());
            let topic = Some(envelope.topic.as_str().to_owned());
            return Verdict { valid: true, message_type, topic, faults: Vec::new() };
        }
        Err(Rejected::NotEnvelope(faults)) => faults
            .iter()
            .map(|fault| Fault { field: fault.field.clone(), problem: fault.problem.clone() })
            .collect(),
        Err(rejected) => vec![Fault { field: "body".to_owned(), problem: rejected.to_string() }],
    };
    Verdict { valid: false, message_type: None, topic: None, faults }
}
