//! A password is shown nowhere.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use postroad_tls::testing::{Flaw, Pki};

use crate::support::{
    Home, Mosquitto, Postroad, Ran, Sql, Url, Worker, hex, mosquitto_by_tls, on_servers,
};

/// With characters that URLs and debug texts write in another way.
const SECRET: &str = "hunter2&more/\u{fc}+\"%";

#[tokio::test]
async fn no_command_shows_a_password() {
    let home = Home::configured().await;
    let set = format!("password={SECRET}");
    let mut said = Vec::new();
    for arguments in [
        &["config", "set", "default", &set, "username=ebmr"][..],
        &["config", "set", "default", &set, "port=many"],
        &["config", "set", "default", &format!("{set}\n")],
        &["config", "show", "default"],
        &["config", "show", "default", "--json"],
        &["config", "list"],
        &["config", "list", "--json"],
        &["status"],
        &["status", "--json"],
    ] {
        let ran = home.postroad.run(arguments);
        assert!(!ran.out.is_empty() || !ran.err.is_empty(), "{arguments:?} says nothing");
        said.push(format!("{} {}", ran.out, ran.err));
    }
    let file = home.postroad.file("import.toml", format!("[config.x]\npassword = ['{SECRET}']\n"));
    said.push(home.postroad.run(&["config", "import", &file]).exits(1).err);
    holds_no(&said.concat(), "ebmr", SECRET);
    let stored = home.sql.row("SELECT password FROM event_bus_runtime_config").await;
    assert_eq!(stored["password"], SECRET);
    assert!(home.postroad.done(&["config", "show", "default"]).contains("***"));
}

#[tokio::test]
async fn the_password_in_a_database_url_is_not_shown_either() {
    let home = Home::empty().await;
    let encoded = &forms("ebmr", SECRET).into_iter().find(|(name, _)| *name == "URL").unwrap().1;
    for url in [
        format!("postgres://ebmr:{encoded}@127.0.0.1:many/bus"),
        format!("mysql://ebmr:{encoded}@127.0.0.1:1/bus"),
        format!("postgres://ebmr:{encoded}@[::1/bus"),
    ] {
        let ran = home.postroad.run(&["--database-url", &url, "status"]).exits(1);
        assert!(ran.err.contains("--database-url"), "{ran:?}");
        holds_no(&ran.err, "ebmr", SECRET);
        let ran = home.postroad.run(&["--database-url", &url, "--help"]).exits(0);
        holds_no(&ran.out, "ebmr", SECRET);
    }
    // Nobody is there; all the worker can do is say so.
    let url = format!("postgres://ebmr:{encoded}@127.0.0.1:1/bus?pasword={encoded}");
    let postroad = Postroad::new(url, home.postroad.folder()).with("RUST_LOG", EVERYTHING);
    let worker = postroad.worker(&[]);
    worker.says("database not available").await;
    holds_no(&worker.stop().await, "ebmr", SECRET);
}

/// Whatever may be asked for, and by the most exact names there are.
const EVERYTHING: &str = "trace,paho_mqtt=trace,paho_mqtt::async_client=trace,paho_mqtt::connect_options=trace,\
    amqprs=trace,amqprs::api::connection=trace,sqlx=trace,sqlx_core=trace,sqlx_postgres::options::parse=trace,\
    sqlx_mysql::options::parse=trace,rustls=trace";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn the_most_talkative_log_holds_no_password() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let passwords = [bus.url.password.clone(), password_of(&bus.sql)];
        let mut command = bus.postroad.command(&["worker"]);
        command.env("RUST_LOG", EVERYTHING);
        let worker = Worker::start(command, bus.postroad.folder());
        bus.enqueue(1).await;
        bus.until_received("default", 1).await;
        bus.broker.refuse(true);
        bus.broker.cut();
        worker.says("broker not available").await;
        let log = worker.stop().await;
        assert!(log.contains("DEBUG"), "it is talkative");
        for password in passwords {
            holds_no(&log, &bus.url.username, &password);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn nor_does_it_where_the_password_is_wrong() {
    let url = Url::from_environment();
    for format in ["text", "json"] {
        let home = Home::migrated().await;
        let host = format!("{}:{}", url.host, url.port);
        let log = said_of(&home, "rabbitmq", &host, &url.username, format).await;
        assert!(log.contains("is the user name, password or virtual host right"), "{log}");
        holds_no(&log, &url.username, SECRET);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn nor_does_it_over_mqtt_in_either_version_and_by_tls() {
    let pki = Pki::new();
    let server = pki.server(Flaw::None);
    let plain = Mosquitto::start().await;
    let by_tls = mosquitto_by_tls(&pki, &server, "allow_anonymous true").await;
    for (mosquitto, tls) in [(&plain, false), (&by_tls, true)] {
        for version in [4, 5] {
            let home = Home::migrated().await;
            let ca = pki.ca();
            home.postroad.import(&format!(
                "[config.default]\ntls_enabled = {tls}\ntls_ca_file = '{}'\n\
                 [config.default.mqtt]\nprotocol_version = {version}\n",
                ca.display()
            ));
            let address = mosquitto.address.to_string();
            let log = said_of(&home, "mqtt", &address, "ebmr", "text").await;
            assert!(log.contains("connected for publishing"), "{log}");
            holds_no(&log, "ebmr", SECRET);
        }
    }
}

/// The log of a worker with the secret as its password, and all else that is said of it.
async fn said_of(home: &Home, broker: &str, host: &str, user: &str, format: &str) -> String {
    home.postroad.import(&format!(
        "[config.default]\nbroker_type = '{broker}'\nhost = '{host}'\nusername = '{user}'\n\
         password = '{SECRET}'\nsource_service = 'ebmr'\nheartbeat_interval_seconds = 1\n\
         retry_interval_seconds = 1\n"
    ));
    let mut command = home.postroad.command(&["--log-format", format, "worker"]);
    command.env("RUST_LOG", EVERYTHING);
    let worker = Worker::start(command, home.postroad.folder());
    worker.says(if broker == "mqtt" { "subscribed" } else { "broker not available" }).await;
    let beats = "SELECT count(*) FROM event_bus_worker WHERE status <> 'starting'";
    home.sql.until_count(1, beats).await;
    let mut said = String::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["config", "show", "default"],
        &["config", "show", "default", "--json"],
        &["config", "list", "--json"],
    ] {
        let mut command = home.postroad.command(arguments);
        let ran = Ran::of(command.env("RUST_LOG", EVERYTHING).output().unwrap());
        said.extend([ran.out, ran.err]);
    }
    // What the workers leave in the database.
    let rows = home.sql.rows("SELECT * FROM event_bus_worker").await;
    said.extend([format!("{rows:?}"), worker.stop().await]);
    said
}

/// The password of the server that a test runs on.
fn password_of(sql: &Sql) -> String {
    let kind = if sql.is_postgres() { "POSTGRES" } else { "MARIADB" };
    let url = std::env::var(format!("POSTROAD_TEST_{kind}_URL")).unwrap();
    let (user, _) = url.rsplit_once('@').unwrap();
    user.rsplit_once(':').unwrap().1.to_owned()
}

/// In none of the ways in which a program may write it.
#[track_caller]
fn holds_no(said: &str, user: &str, secret: &str) {
    for (name, form) in forms(user, secret) {
        let lines: Vec<_> = said.lines().filter(|line| line.contains(&form)).collect();
        assert!(lines.is_empty(), "as {name}: {lines:?}");
    }
}

fn forms(user: &str, secret: &str) -> Vec<(&'static str, String)> {
    let plain = format!("\0{user}\0{secret}");
    let bytes = |separator: &str| {
        secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(separator)
    };
    let percent = |all: bool| {
        let one = |byte: u8| {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if plain && !all { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        secret.bytes().map(one).collect::<String>()
    };
    vec![
        ("itself", secret.to_owned()),
        ("a debug text", secret.escape_debug().to_string()),
        ("ascii escapes", secret.escape_default().to_string()),
        ("base64", STANDARD_NO_PAD.encode(secret)),
        ("base64 for URLs", URL_SAFE_NO_PAD.encode(secret)),
        ("base64 of a login", STANDARD_NO_PAD.encode(&plain)),
        ("base64 of user:password", STANDARD_NO_PAD.encode(format!("{user}:{secret}"))),
        ("a login of SASL", plain.clone()),
        ("a login of SASL, escaped", plain.escape_debug().to_string()),
        ("URL", percent(false)),
        ("URL, all of it", percent(true)),
        ("URL in lower case", percent(true).to_lowercase()),
        ("hex", hex(secret.as_bytes())),
        ("hex in upper case", hex(secret.as_bytes()).to_uppercase()),
        ("a list of bytes", bytes(", ")),
        ("a dense list of bytes", bytes(",")),
    ]
}
