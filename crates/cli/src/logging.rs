//! Logs go to standard error, so that standard output holds nothing but answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::LogFormat;

/// Without `RUST_LOG`: our own messages from info on, others' warnings.
const DEFAULT_FILTER: &str = "warn,postroad=info,sqlx=error,amqprs=error";

/// For commands that tell in their own words what happens. To the embedded MQTT broker every goodbye is an error.
const QUIET_FILTER: &str = "error,rumqttd=off";

/// Whatever `RUST_LOG` says: paho shows the options of a connection, with the password, to whoever listens below this.
const PAHO_LIMIT: &str = "paho_mqtt=warn";

/// The same, where nobody needs to hear that a connection ended.
const QUIET_PAHO_LIMIT: &str = "paho_mqtt=error";

/// Installs the subscriber of the process.
pub(crate) fn init(format: LogFormat, quiet: bool) {
    let (default, paho) =
        if quiet { (QUIET_FILTER, QUIET_PAHO_LIMIT) } else { (DEFAULT_FILTER, PAHO_LIMIT) };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let filter = filter.add_directive(paho.parse().expect("a directive of ours"));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
