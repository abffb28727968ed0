//! The command line.

#![expect(clippy::doc_markdown, reason = "these texts are shown to a person as they are")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// The reliable event bus between services: outbox rows go out confirmed, messages come in exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "postroad",
    version,
    propagate_version = true,
    after_help = "\
Examples:
  postroad demo                                see the whole way, nothing to install
  postroad migrate up                          make the tables
  postroad config import postroad.toml         say which broker, which service
  postroad worker --config-key default         publish and take in, until stopped
  postroad status                              what waits, what went wrong
  postroad doctor                              what is not as it should be, and what to do

The database is given by --database-url or DATABASE_URL:
  sqlite://postroad.db?mode=rwc  (default)     postgres://user:password@host/database
                                               mysql://user:password@host/database  (MariaDB too)
Exit codes: 0 done, 1 failed or unhealthy, 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the tables are.
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite://postroad.db?mode=rwc"
    )]
    pub(crate) database_url: String,
    /// How logs look on standard error; RUST_LOG says which (info of postroad by default).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the main job on SQLite and the embedded broker; needs nothing installed
    Demo(Demo),
    /// Make, change or check the tables
    Migrate(Migrate),
    /// Brokers and services: import, show and change runtime configs
    #[command(subcommand)]
    Config(Config),
    /// Publish outbox rows and take messages in, until stopped
    Worker(Worker),
    /// What waits, what went wrong, who works; reads only the database
    Status(Status),
    /// Check database, brokers, spool and settings, and say what to do
    Doctor(Doctor),
    /// Delete what is done with and was kept for long enough
    Prune(Prune),
    /// Messages on their way out
    #[command(subcommand)]
    Outbox(Outbox),
    /// Messages that came in
    #[command(subcommand)]
    Inbox(Inbox),
    /// Messages that could not be taken in, kept as they came
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Check or describe the envelope
    #[command(subcommand)]
    Envelope(Envelope),
    /// Check topics
    #[command(subcommand)]
    Topic(Topic),
    /// Look at messages of EdgeX
    #[command(subcommand)]
    Edgex(Edgex),
    /// The requests, responses and events that belong to a request, as a tree
    Trace(Trace),
    /// Print a completion script
    #[command(
        after_help = "Example:\n  postroad completions bash > /etc/bash_completion.d/postroad"
    )]
    Completions {
        /// For this shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad demo
  postroad demo --keep                         leave the database to look at
  postroad demo --file demo.db                 the same, at this place
  postroad demo --edgex                        messages of EdgeX by MQTT, nothing to install")]
pub(crate) struct Demo {
    /// Show a device of EdgeX and a worker at an MQTT broker inside this process
    #[arg(long)]
    pub(crate) edgex: bool,
    /// Leave the database and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
    /// A new SQLite file to use and leave
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the closing table as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad migrate                             make what is missing
  postroad migrate status --json
  postroad migrate down --steps 1              take the newest step back, with its data")]
pub(crate) struct Migrate {
    #[command(subcommand)]
    pub(crate) action: Option<MigrateAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Apply what is missing (the default)
    Up,
    /// Take steps back; drops tables with what is in them
    Down {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
    },
    /// Which steps are applied; exit code 1 where one is missing
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  postroad config import postroad.toml
  postroad config set default batch_size=200 rabbitmq.prefetch_count=100
  postroad config show default --json")]
pub(crate) enum Config {
    /// Write configs from a TOML file; importing twice changes nothing
    #[command(after_help = "Example:\n  postroad config import postroad.toml")]
    Import {
        /// With one [config.KEY] table each
        file: PathBuf,
    },
    /// All configs
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One config with its broker's settings, without secrets
    #[command(after_help = "Example:\n  postroad config show default --json")]
    Show {
        /// Its config_key
        key: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change columns; those of the broker's settings as rabbitmq.NAME or mqtt.NAME
    #[command(after_help = "\
Examples:
  postroad config set default host=rabbit.example:5672 batch_size=200
  postroad config set default password=env:BROKER_PASSWORD tls_enabled=true
  postroad config set default 'rabbitmq.binding_keys=[\"event.#\"]'")]
    Set {
        /// Its config_key
        key: String,
        /// Such as host=rabbit.example:5672
        #[arg(required = true, value_name = "NAME=VALUE")]
        values: Vec<String>,
    },
    /// Let workers work on it
    Activate {
        /// Its config_key
        key: String,
    },
    /// Let its workers pause
    Deactivate {
        /// Its config_key
        key: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad worker                              the config `default`
  postroad worker --config-key billing --only outbound
  postroad worker --broker-type memory         without a broker, for trying out
SIGTERM or Ctrl-C: finish what is in hand and exit 0; a second one ends at once.")]
pub(crate) struct Worker {
    /// Which config to work on
    #[arg(long, default_value = "default", value_name = "KEY")]
    pub(crate) config_key: String,
    /// Use this broker instead of the config's
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) broker_type: Option<BrokerType>,
    /// Work one way only
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) only: Option<Way>,
    /// How long claimed rows stay this worker's without a sign of life
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) lease_seconds: u64,
    /// How long a clean stop may take
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) grace_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BrokerType {
    /// By AMQP 0-9-1
    Rabbitmq,
    /// By MQTT 3.1.1 or 5
    Mqtt,
    /// Inside this process
    Memory,
}

impl BrokerType {
    /// The word in the runtime config.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Mqtt => "mqtt",
            Self::Memory => "memory",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Publish only
    Outbound,
    /// Take in only
    Inbound,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 where an active config has no live worker.
In tables of more than 1,500,000 rows, what is published, processed or left to clean is estimated: \
`~`, or `.._estimated` in JSON.\n
Examples:
  postroad status
  postroad status --config-key default --json
  postroad status --watch")]
pub(crate) struct Status {
    /// Only this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config_key: Option<String>,
    /// Again every two seconds, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Looks only: it makes nothing, takes no message and publishes none, and may run beside workers. Ends within half a minute,
with database or broker down too.
Exit code 1 where something fails, 0 where there are warnings only.

Examples:
  postroad doctor                              the database, and every active config
  postroad doctor --config-key default         one config, active or not
  postroad doctor --json | jq '.checks[] | select(.result != \"ok\")'")]
pub(crate) struct Doctor {
    /// Only this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config_key: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A worker does the same every hour. How many days each kind is kept is in the config: retention_days_published and so on.
Exit code 1 where another process is cleaning.

Examples:
  postroad prune --dry-run                     count only
  postroad prune --config-key billing
  postroad config set billing retention_days_error=90 retention_days_published=never")]
pub(crate) struct Prune {
    /// Only this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config_key: Option<String>,
    /// Count what is due and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postroad trace 0198c0de-0000-7000-8000-000000000001")]
pub(crate) struct Trace {
    /// A request_id anywhere in the chain
    pub(crate) request_id: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  postroad outbox send --topic event.machine.spindle.started --event-type started --payload '{\"rpm\": 900}'
  postroad outbox send --topic edgenexus.request.machine.read --request-id r-1 \\
      --reply-to ebmr.response.machine.read --payload @request.json
  postroad outbox list --status error
  postroad outbox retry --status error
  postroad outbox skip 0198c0de-0000-7000-8000-000000000001")]
pub(crate) enum Outbox {
    /// Write a row, checked first
    Send(Box<Send>),
    /// Newest first
    List(ListOutbox),
    /// One row with everything
    Show(ShowRow),
    /// Send again, from the first attempt on
    ///
    /// A row with an ordering key goes out again after those behind it that have gone out meanwhile.
    #[command(after_help = "\
Examples:
  postroad outbox retry 0198c0de-0000-7000-8000-000000000001
  postroad outbox retry --status error --config-key billing")]
    Retry {
        /// Its id
        #[arg(required_unless_present = "status", conflicts_with = "status")]
        id: Option<String>,
        /// Every row in this state
        #[arg(long, value_parser = ["error", "invalid"])]
        status: Option<String>,
        /// Only of this config, with --status
        #[arg(long, value_name = "KEY", requires = "status")]
        config_key: Option<String>,
    },
    /// Give a pending row up as `error`, so that those behind it in its ordering key go on
    ///
    /// A row that a worker holds may be on the wire: it is refused until the worker has settled it or its lease is over.
    #[command(after_help = "Example:\n  postroad outbox skip 0198c0de-0000-7000-8000-000000000001")]
    Skip {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad outbox send --topic event.machine.spindle.started --event-type started --payload '{\"rpm\": 900}'
  postroad outbox send --topic edgenexus.request.machine.read --request-id r-1 \\
      --reply-to ebmr.response.machine.read --payload @request.json
  postroad outbox send --topic event.a.b.c --event-type c --ordering-key lot-7 --payload - < lot.json")]
pub(crate) struct Send {
    /// Topic of the grammar
    #[arg(long)]
    pub(crate) topic: String,
    /// JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: String,
    /// Whose broker to send it to
    #[arg(long, default_value = "default", value_name = "KEY")]
    pub(crate) config_key: String,
    /// Read off the topic where absent
    #[arg(long, value_parser = ["request", "response", "event"])]
    pub(crate) message_type: Option<String>,
    /// The row's own id where absent
    #[arg(long)]
    pub(crate) message_id: Option<String>,
    /// Required for request and response
    #[arg(long)]
    pub(crate) request_id: Option<String>,
    /// Required for request
    #[arg(long)]
    pub(crate) reply_to: Option<String>,
    /// Required for event
    #[arg(long)]
    pub(crate) event_type: Option<String>,
    /// Required for response
    #[arg(long, value_parser = ["success", "error"])]
    pub(crate) message_status: Option<String>,
    /// The config's where absent
    #[arg(long)]
    pub(crate) source_service: Option<String>,
    /// The request that caused this one
    #[arg(long)]
    pub(crate) parent_request_id: Option<String>,
    /// How many requests led here
    #[arg(long)]
    pub(crate) chain_depth: Option<u32>,
    /// Rows with one key go out in order
    #[arg(long)]
    pub(crate) ordering_key: Option<String>,
    /// A JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) headers: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad outbox list --status error --limit 10
  postroad outbox list --config-key billing --json")]
pub(crate) struct ListOutbox {
    /// Only rows in this state
    #[arg(long, value_parser = ["pending", "published", "invalid", "error"])]
    pub(crate) status: Option<String>,
    #[command(flatten)]
    pub(crate) list: List,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config_key: Option<String>,
    /// At most this many rows
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: u64,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowRow {
    /// Its id
    pub(crate) id: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  postroad inbox list --status pending
  postroad inbox done 0198c0de-0000-7000-8000-000000000001
  postroad inbox fail 0198c0de-0000-7000-8000-000000000001 --error 'no such machine'")]
pub(crate) enum Inbox {
    /// Newest first
    List(ListInbox),
    /// One row with everything
    Show(ShowRow),
    /// Mark as processed
    Done {
        /// Its id
        id: String,
    },
    /// Mark as failed
    Fail {
        /// Its id
        id: String,
        /// Why, for a person
        #[arg(long)]
        error: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListInbox {
    /// Only rows in this state
    #[arg(long, value_parser = ["pending", "processed", "error"])]
    pub(crate) status: Option<String>,
    #[command(flatten)]
    pub(crate) list: List,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  postroad quarantine list
  postroad quarantine show 0198c0de-0000-7000-8000-000000000001
  postroad quarantine replay 0198c0de-0000-7000-8000-000000000001 --body mended.json
  postroad quarantine purge --older-than-days 30")]
pub(crate) enum Quarantine {
    /// Newest first
    List(List),
    /// One message with its body
    Show(ShowRow),
    /// Take it in as if it arrived now; it leaves quarantine when it is an inbox row
    #[command(after_help = "\
Examples:
  postroad quarantine replay ID                            once what was wrong elsewhere is mended
  postroad quarantine show ID --json | jq -j .body > b.json    then, with b.json mended:
  postroad quarantine replay ID --body b.json
  postroad quarantine show ID --json | jq -r .body_base64 | base64 -d > b.bin
  postroad quarantine replay ID --topic event.machine.spindle.started --headers '{}'")]
    Replay(Replay),
    /// Delete for good
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Purge {
        /// This one
        #[arg(group = "which")]
        id: Option<String>,
        /// Every one that is older
        #[arg(long, group = "which", value_name = "DAYS")]
        older_than_days: Option<u32>,
        /// Every one
        #[arg(long, group = "which")]
        all: bool,
        /// Only of this config
        #[arg(long, value_name = "KEY")]
        config_key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Its id
    pub(crate) id: String,
    /// With this body in place of its own
    #[arg(long, value_name = "FILE|-")]
    pub(crate) body: Option<PathBuf>,
    /// With this routing key or MQTT topic in place of its own
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// With these headers in place of its own: a JSON object, @FILE or -
    #[arg(long, value_name = "JSON")]
    pub(crate) headers: Option<String>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  postroad envelope validate message.json
  postroad envelope schema > interservice.envelope.v1.json")]
pub(crate) enum Envelope {
    /// Check a message as it would be on the wire; exit code 1 where it is not valid
    Validate {
        /// A file, or - for standard input
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema (draft 2020-12)
    Schema,
}

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  postroad topic check edgenexus.request.machine.read event.machine.spindle.started"
)]
pub(crate) enum Topic {
    /// Check topics against the grammar; exit code 1 where one is not valid
    Check {
        /// One or more
        #[arg(required = true)]
        topics: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  mosquitto_sub -t 'edgex/events/#' -C 1 | postroad edgex decode --topic edgex/events/device/a/b/c/d -")]
pub(crate) enum Edgex {
    /// Print what an MQTT message would become in the inbox
    Decode {
        /// The topic it came on
        #[arg(long)]
        topic: String,
        /// Topic prefix of the EdgeX system
        #[arg(long, default_value = "edgex", value_name = "PREFIX")]
        base_prefix: String,
        /// Its quality of service
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
        /// Whether it was retained
        #[arg(long)]
        retain: bool,
        /// A file with its bytes, or - for standard input
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
