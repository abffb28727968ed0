//! `postroad doctor`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use comfy_table::Cell;
use postroad_migration::SchemaState;
use postroad_store::config::{self, Config};
use postroad_store::health::{self, Scope};
use postroad_store::query::status::status;
use postroad_store::{Database, connect};
use postroad_transport::{Finding, Level, Wants};
use serde::{Serialize, Serializer};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args;
use crate::output::{Output, state};
use crate::seat::Seat;
use crate::transports;

/// For one question to the database.
const ANSWER: Duration = Duration::from_secs(5);
/// For all of one config. A transport's own deadlines come before.
const BROKER: Duration = Duration::from_secs(18);

/// A line, and what it is about.
#[derive(Debug, Serialize)]
struct Line {
    subject: String,
    check: String,
    #[serde(serialize_with = "word")]
    result: Level,
    found: String,
    advice: String,
}

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Line>,
}

pub(crate) async fn run(args: &args::Doctor, url: &str, output: &Output) -> Result<ExitCode> {
    let report = Report { checks: look(url, args.config_key.as_deref()).await };
    if args.json {
        output.json(&report)?;
    } else {
        let header = ["subject", "check", "result", "found", "what to do"];
        output.table(&header, report.checks.iter().map(Line::cells).collect(), "")?;
    }
    let failed = report.checks.iter().any(|line| line.result == Level::Failure);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything, in the order in which a person looks for a fault.
async fn look(url: &str, key: Option<&str>) -> Vec<Line> {
    let mut database = About::database();
    // A file that is not there is not made.
    let url = if url.starts_with("sqlite:") {
        url.replace("mode=rwc", "mode=rw")
    } else {
        url.to_owned()
    };
    let db = match connect(&url).await {
        Ok(db) => db,
        Err(error) => {
            let advice = "give --database-url or DATABASE_URL as `postroad --help` says";
            database.add(Finding::failure(
                "connection",
                format!("{:#}", anyhow::Error::new(error)),
                advice,
            ));
            return database.lines;
        }
    };
    let reached = health::reach(&db).await;
    let answers = reached.level == Level::Ok;
    database.add(reached);
    if !answers {
        return database.lines;
    }
    let schema = schema(&db).await;
    let is_current = schema.level == Level::Ok;
    database.add(schema);
    let configs = match configs(&db, key, is_current).await {
        Ok(configs) => configs,
        Err(finding) => {
            database.add(finding);
            Vec::new()
        }
    };
    let scope = scope(&configs, is_current);
    let crowds = crowds(&db, &configs).await;
    let (found, brokers) = tokio::join!(health::check(&db, &scope), brokers(configs));
    database.lines.extend(found.into_iter().map(|finding| Line::new("database", finding)));
    database.lines.extend(brokers);
    database.lines.extend(crowds);
    database.lines
}

/// Configs by which several workers would have to be one client of an MQTT broker.
async fn crowds(db: &Database, configs: &[Config]) -> Vec<Line> {
    let alone = configs.iter().filter(|config| {
        let runtime = &config.runtime;
        let by_mqtt = runtime.broker_type == "mqtt" && runtime.inbound_enabled;
        by_mqtt && config.mqtt.shared_group.is_none()
    });
    let mut lines = Vec::new();
    for config in alone {
        let key = &config.runtime.config_key;
        // What the database does not answer is told by its own lines.
        let Ok(Ok(status)) = timeout(ANSWER, status(db, Some(key))).await else { continue };
        let workers = status.configs.iter().flat_map(|config| &config.workers);
        let live = workers.filter(|worker| !worker.stale && worker.status != "stopped").count();
        if live > 1 {
            let finding = Finding::warning(
                "workers",
                format!(
                    "{live} workers live and mqtt.shared_group is not set: the broker lets one of them take messages in, and each that connects ends the one before"
                ),
                "set mqtt.shared_group, or start all but one with `--only outbound`",
            );
            lines.push(Line::new(&format!("config {key}"), finding));
        }
    }
    lines
}

async fn schema(db: &Database) -> Finding {
    const CHECK: &str = "schema";
    const UP: &str = "run `postroad migrate up`";
    match timeout(ANSWER, postroad_migration::schema_state(db.connection())).await {
        Ok(Ok(state @ SchemaState::Current)) => Finding::ok(CHECK, state.to_string()),
        Ok(Ok(state @ SchemaState::TooNew { .. })) => {
            Finding::failure(CHECK, state.to_string(), "upgrade postroad")
        }
        Ok(Ok(state)) => Finding::failure(CHECK, state.to_string(), UP),
        Ok(Err(error)) => Finding::failure(CHECK, format!("cannot be read: {error}"), UP),
        Err(_) => Finding::failure(CHECK, "no answer in time", "run doctor again"),
    }
}

/// The config that was asked for, or every active one. What there is not becomes a line.
async fn configs(db: &Database, key: Option<&str>, readable: bool) -> Result<Vec<Config>, Finding> {
    const CHECK: &str = "configs";
    let failed = |text: String| Finding::failure(CHECK, text, "see the lines above");
    if !readable {
        return Ok(Vec::new());
    }
    let all = async {
        let mut loaded = Vec::new();
        for config in config::list(db).await? {
            if key.map_or(config.is_active, |key| config.config_key == key) {
                loaded.extend(config::load(db, &config.config_key).await?);
            }
        }
        Ok::<_, postroad_worker_core::StoreError>(loaded)
    };
    let loaded = timeout(ANSWER, all).await.map_err(|_| failed("no answer in time".to_owned()))?;
    let loaded = loaded.map_err(|error| failed(format!("{:#}", anyhow::Error::new(error))))?;
    match (loaded.is_empty(), key) {
        (false, _) => Ok(loaded),
        (true, Some(key)) => Err(Finding::failure(
            CHECK,
            format!("there is no config `{key}`"),
            "`postroad config list` shows all",
        )),
        (true, None) => Err(Finding::warning(
            CHECK,
            "no config is active",
            "`postroad config import FILE.toml` makes one, `postroad config activate KEY` lets workers work on it",
        )),
    }
}

fn scope(configs: &[Config], tables: bool) -> Scope {
    let largest = configs.iter().map(|config| config.runtime.max_message_bytes).max();
    Scope {
        tables,
        config_keys: configs.iter().map(|config| config.runtime.config_key.clone()).collect(),
        max_message_bytes: largest.unwrap_or_default().into(),
    }
}

/// The brokers of all configs, side by side.
async fn brokers(configs: Vec<Config>) -> Vec<Line> {
    let mut looking = JoinSet::new();
    for config in configs {
        looking.spawn(async move {
            let mut about = About::config(&config.runtime.config_key);
            match timeout(BROKER, broker(&config)).await {
                Ok(findings) => findings.into_iter().for_each(|finding| about.add(finding)),
                Err(_) => about.add(Finding::failure(
                    "broker",
                    format!("no end within {} s", BROKER.as_secs()),
                    "is the broker up, and does no firewall stand between?",
                )),
            }
            about
        });
    }
    let mut all = looking.join_all().await;
    all.sort_by(|a, b| a.subject.cmp(&b.subject));
    all.into_iter().flat_map(|about| about.lines).collect()
}

async fn broker(config: &Config) -> Vec<Finding> {
    let runtime = &config.runtime;
    let wants = Wants {
        outbound: runtime.outbound_enabled,
        inbound: runtime.inbound_enabled,
        max_message_bytes: runtime.max_message_bytes.into(),
    };
    let unusable = |error: &anyhow::Error| {
        vec![Finding::failure("settings", format!("{error:#}"), "no worker starts by this config")]
    };
    match runtime.broker_type.as_str() {
        "rabbitmq" => match transports::rabbitmq(runtime, &config.rabbitmq) {
            Ok(transport) => transport.check(wants).await,
            Err(error) => unusable(&error),
        },
        "mqtt" => {
            let seat = Seat::of_check(&runtime.config_key, &config.mqtt);
            match transports::mqtt(runtime, &config.mqtt, &seat) {
                Ok(transport) => transport.check(wants).await,
                Err(error) => unusable(&error),
            }
        }
        _ => vec![Finding::warning(
            "broker",
            "broker_type = memory: the broker is inside the worker, and what it holds ends with it",
            "for more than trying out, set broker_type to rabbitmq or mqtt",
        )],
    }
}

/// Lines about one thing.
#[derive(Debug)]
struct About {
    subject: String,
    lines: Vec<Line>,
}

impl About {
    fn database() -> Self {
        Self { subject: "database".to_owned(), lines: Vec::new() }
    }

    fn config(key: &str) -> Self {
        Self { subject: format!("config {key}"), lines: Vec::new() }
    }

    fn add(&mut self, finding: Finding) {
        self.lines.push(Line::new(&self.subject, finding));
    }
}

impl Line {
    fn new(subject: &str, finding: Finding) -> Self {
        let Finding { check, level, found, advice } = finding;
        Self { subject: subject.to_owned(), check, result: level, found, advice }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(&self.subject),
            Cell::new(&self.check),
            state(self.result.as_str()),
            Cell::new(&self.found),
            Cell::new(&self.advice),
        ]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn word<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.as_str())
}
