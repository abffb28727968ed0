//! `postroad demo`: the main job, with nothing installed.
//!
//! Two services, `ebmr` and `edgenexus`, talk to each other over the embedded broker, each with an outbox and an inbox in
//! one SQLite database, by the same workers that run against RabbitMQ. With `--edgex`, a device talks to one of them over
//! MQTT.

mod edgex;
mod script;
mod service;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use postroad_store::query::status;
use postroad_store::{Database, config};
use postroad_transport_memory::Broker;
use postroad_worker_core::EnvelopeCodec;
use serde_json::json;
use tempfile::TempDir;

use crate::args::Demo;
use crate::output::Output;
use crate::transports;
use service::Service;

pub(crate) async fn run(args: &Demo, output: &Output) -> Result<ExitCode> {
    let teller = Teller { output, quiet: args.json, started: Instant::now() };
    let place = Place::choose(args)?;
    let (as_expected, look) = if args.edgex {
        (edgex::run(&place, &teller).await?, "inbox list")
    } else {
        (services(&place, &teller).await?, "outbox list")
    };
    place.leave(&teller, look);
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plain demo. Returns whether all was as it should be.
async fn services(place: &Place, teller: &Teller<'_>) -> Result<bool> {
    let database = place.open().await?;
    prepare(&database).await.context("cannot prepare the database")?;
    teller.say("tables made, two configs imported, in one SQLite file");

    let broker = Broker::new();
    let ebmr = start(&database, &broker, "ebmr").await?;
    let edgenexus = start(&database, &broker, "edgenexus").await?;
    teller.say("a worker for each service runs over the embedded broker");
    let played = script::play(teller, &ebmr, &edgenexus).await;
    ebmr.stop().await?;
    edgenexus.stop().await?;
    played?;
    teller.say("both workers stopped in good order");

    let status = status::status(&database, None).await.context("cannot read the closing table")?;
    database.close().await;
    verdict::tell(
        &verdict::of_services(&status),
        "Every message arrived exactly once, and what could not be sent says why.",
        teller,
    )
}

async fn start(database: &Database, broker: &Broker, name: &'static str) -> Result<Service> {
    let config = config::load(database, name).await?.context("the config was imported")?;
    let transport = transports::memory(broker.clone(), &config.runtime, &config.rabbitmq)?;
    Ok(Service::start(database, &config, name, transport, EnvelopeCodec))
}

async fn prepare(database: &Database) -> Result<()> {
    postroad_migration::up(database.connection()).await?;
    let common =
        json!({ "broker_type": "memory", "heartbeat_interval_seconds": 1, "poll_interval_ms": 50 });
    let with = |service: &str, bindings: &[&str]| {
        let mut config = common.clone();
        config["source_service"] = service.into();
        config["rabbitmq"] = json!({ "binding_keys": bindings });
        config
    };
    let configs = json!({ "config": {
        "ebmr": with("ebmr", &["ebmr.request.#", "ebmr.response.#", "event.#"]),
        "edgenexus": with("edgenexus", &["edgenexus.request.#", "edgenexus.response.#"]),
    }});
    config::import(database, &configs).await?;
    Ok(())
}

/// Says what happens, as it happens.
pub(crate) struct Teller<'a> {
    output: &'a Output,
    quiet: bool,
    started: Instant,
}

impl Teller<'_> {
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        let line = format!("{:6.3} s  {text}", self.started.elapsed().as_secs_f64());
        if self.quiet {
            self.output.note(line);
        } else {
            // Whoever does not listen misses nothing but this.
            self.output.line(line).ok();
        }
    }
}

/// Where the database is, and whether it stays.
struct Place {
    file: PathBuf,
    /// Deleted when dropped.
    temporary: Option<TempDir>,
}

impl Place {
    async fn open(&self) -> Result<Database> {
        let url = format!("sqlite://{}?mode=rwc", self.file.display());
        Ok(postroad_store::connect(&url).await?)
    }

    fn choose(args: &Demo) -> Result<Self> {
        if let Some(file) = &args.file {
            if file.exists() {
                bail!("`{}` is there already: the demo wants a new file", file.display());
            }
            return Ok(Self { file: file.clone(), temporary: None });
        }
        let folder =
            TempDir::with_prefix("postroad-demo-").context("cannot make a temporary folder")?;
        let file = folder.path().join("demo.db");
        if args.keep {
            let kept = folder.keep();
            return Ok(Self { file: kept.join("demo.db"), temporary: None });
        }
        Ok(Self { file, temporary: Some(folder) })
    }

    /// Says where the database is that stays, and how to look at it.
    fn leave(self, teller: &Teller<'_>, look: &str) {
        if self.temporary.is_none() {
            let url = format!("sqlite://{}", self.file.display());
            teller.say(format_args!("the database stays: DATABASE_URL='{url}' postroad {look}"));
        }
    }
}
