//! Logs go to standard error, so that standard output holds nothing but answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::args::LogFormat;

/// Without `RUST_LOG`: our own messages from info on, warnings of others but of the clients, whose trouble we tell ourselves.
const DEFAULT_FILTER: &str = "warn,postroad=info,sqlx=error,amqprs=error,paho_mqtt=error";

/// For commands that tell in their own words what happens. To the embedded MQTT broker every goodbye is an error.
const QUIET_FILTER: &str = "error,rumqttd=off";

/// Whatever `RUST_LOG` says. Below this paho shows the options of a connection, amqprs its frames, with the login among
/// them, and sqlx what of a URL it does not know.
const LIMITS: [(&str, LevelFilter); 4] = [
    ("paho_mqtt", LevelFilter::WARN),
    ("amqprs", LevelFilter::INFO),
    ("sqlx_postgres::options", LevelFilter::ERROR),
    ("sqlx_mysql::options", LevelFilter::ERROR),
];

/// The same, where nobody needs to hear that a connection ended.
const QUIET_PAHO_LIMIT: (&str, LevelFilter) = ("paho_mqtt", LevelFilter::ERROR);

/// Installs the subscriber of the process.
pub(crate) fn init(format: LogFormat, quiet: bool) {
    let default = if quiet { QUIET_FILTER } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A filter of its own: among the directives of the other one, the most exact would win.
    let mut limits = Targets::new().with_default(LevelFilter::TRACE).with_targets(LIMITS);
    if quiet {
        limits = limits.with_targets([QUIET_PAHO_LIMIT]);
    }
    let lines = fmt::layer().with_writer(io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(limits);
    match format {
        LogFormat::Text => subscriber.with(lines.with_ansi(io::stderr().is_terminal())).init(),
        LogFormat::Json => subscriber.with(lines.json().flatten_event(true)).init(),
    }
}
