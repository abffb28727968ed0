//! `postroad migrate`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use postroad_migration as migration;
use postroad_migration::SchemaState;
use postroad_store::health;
use serde::Serialize;

use crate::args::{Migrate, MigrateAction};
use crate::commands::database;
use crate::output::{Output, state};

#[derive(Serialize)]
struct Step {
    name: String,
    applied: bool,
}

pub(crate) async fn run(args: Migrate, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::connect(url).await?;
    let db = database.connection();
    let steps = || async {
        let steps = migration::status(db).await.context("cannot read the schema")?;
        anyhow::Ok(
            steps.into_iter().map(|(name, applied)| Step { name, applied }).collect::<Vec<_>>(),
        )
    };
    let action = args.action.unwrap_or(MigrateAction::Up);
    let schema = migration::schema_state(db).await.context("cannot read the schema")?;
    let too_new = matches!(schema, SchemaState::TooNew { .. });
    if too_new && !matches!(action, MigrateAction::Status { .. }) {
        bail!("{schema}: upgrade postroad");
    }
    match action {
        MigrateAction::Up => {
            health::require(&database).await?;
            let missing: Vec<_> = steps().await?.into_iter().filter(|step| !step.applied).collect();
            migration::up(db).await.context("cannot migrate up, nothing was changed")?;
            for step in &missing {
                output.line(format_args!("applied {}", step.name))?;
            }
            if missing.is_empty() {
                output.line("nothing to do, the schema is current")?;
            }
        }
        MigrateAction::Down { steps: count } => {
            let applied: Vec<_> = steps().await?.into_iter().filter(|step| step.applied).collect();
            migration::down(db, count).await.context("cannot migrate down, nothing was changed")?;
            for step in applied.iter().rev().take(count as usize) {
                output.line(format_args!("took back {}", step.name))?;
            }
            if applied.is_empty() {
                output.line("nothing to do, no migration is applied")?;
            }
        }
        MigrateAction::Status { json } => {
            let steps = steps().await?;
            if json {
                output.json(&steps)?;
            } else {
                output.table(
                    &["migration", "state"],
                    steps.iter().map(Step::cells).collect(),
                    "no migrations",
                )?;
            }
            if too_new {
                output.note(format_args!("{schema}: upgrade postroad"));
            }
            let all_applied = steps.iter().all(|step| step.applied);
            return Ok(if all_applied && !too_new { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Step {
    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(&self.name), state(if self.applied { "applied" } else { "missing" })]
    }
}
