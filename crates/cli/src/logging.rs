//! Logs go to standard error, so that standard output holds nothing but answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::LogFormat;

/// Without `RUST_LOG`: our own messages from info on, others' warnings.
const DEFAULT_FILTER: &str = "warn,postroad=info,sqlx=error,amqprs=error";

/// For commands that tell in their own words what happens.
const QUIET_FILTER: &str = "error";

/// Whatever `RUST_LOG` says.
const PAHO_LIMIT: &str = "paho_mqtt=warn";

/// Installs the subscriber of the process.
pub(crate) fn init(format: LogFormat, quiet: bool) {
    let default = if quiet { QUIET_FILTER } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Paho shows the options of a connection, with the password, to whoever listens below this.
    let filter = filter.add_directive(PAHO_LIMIT.parse().expect("a directive of ours"));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
