//! What is dangerous is refused, or has to be allowed by name.

use crate::support::{Home, Postroad};

const FAR: &str = r#"
[config.default]
broker_type = "rabbitmq"
host = "127.0.0.1,rabbit.example:5673"
source_service = "ebmr"
"#;

#[tokio::test]
async fn plain_text_to_another_machine_is_refused_with_both_ways_out() {
    let home = Home::migrated().await;
    let ways_out = ["`rabbit.example`", "`tls_enabled`", "`allow_plaintext`"];
    let file = home.postroad.file("far.toml", FAR);
    home.postroad.run(&["config", "import", &file]).fails_saying(&ways_out);
    assert_eq!(home.sql.count("SELECT count(*) FROM event_bus_runtime_config").await, 0);
    let mqtt = FAR.replace("\"rabbitmq\"", "\"mqtt\"");
    let file = home.postroad.file("far.toml", mqtt);
    home.postroad.run(&["config", "import", &file]).fails_saying(&ways_out);

    home.postroad.import(&format!("{FAR}tls_enabled = true"));
    let set =
        |values: &[&str]| home.postroad.run(&[&["config", "set", "default"], values].concat());
    set(&["tls_enabled=false"]).fails_saying(&ways_out);
    set(&["tls_enabled=false", "allow_plaintext=true"]).exits(0);
    set(&["allow_plaintext=false"]).fails_saying(&ways_out);
    for near in ["localhost", "127.0.0.2:5673", "[::1]:5672,::1"] {
        set(&[&format!("host={near}"), "allow_plaintext=false"]).exits(0);
        set(&["allow_plaintext=true", "host=rabbit.example"]).exits(0);
    }
}

#[tokio::test]
async fn a_worker_refuses_it_too() {
    let home = Home::migrated().await;
    home.postroad.import(&format!("{FAR}tls_enabled = true"));
    for (broker, way_out) in [("rabbitmq", "allow_plaintext"), ("mqtt", "tls_enabled")] {
        // By SQL, past the command line.
        let update = format!(
            "UPDATE event_bus_runtime_config SET tls_enabled = 0, broker_type = '{broker}'"
        );
        home.sql.execute(&update).await;
        let mut worker = home.postroad.worker(&[]);
        assert_eq!(worker.ended().await, 1, "{}", worker.log());
        let log = worker.log();
        let error = log.lines().find(|line| line.starts_with("error: ")).expect("it says why");
        for part in ["config `default`", "`rabbit.example`", way_out] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }
}

#[tokio::test]
async fn half_an_identity_is_refused() {
    let home = Home::migrated().await;
    home.postroad.import(&format!("{FAR}tls_enabled = true"));
    let set = ["config", "set", "default", "tls_cert_file=cert.pem"];
    home.postroad.run(&set).fails_saying(&["`tls_cert_file`", "`tls_key_file`", "together"]);
}

#[tokio::test]
async fn a_clean_session_is_refused_unless_it_is_asked_for_by_name() {
    let home = Home::migrated().await;
    let near = FAR.replace(",rabbit.example:5673", "").replace("rabbitmq", "mqtt");
    home.postroad.import(&near);
    let parts = ["mqtt.clean_session", "mqtt.allow_clean_session"];
    let set =
        |values: &[&str]| home.postroad.run(&[&["config", "set", "default"], values].concat());
    set(&["mqtt.clean_session=true"]).fails_saying(&parts);
    set(&["mqtt.clean_session=true", "mqtt.allow_clean_session=true"]).exits(0);
    set(&["mqtt.allow_clean_session=false"]).fails_saying(&parts);
    home.sql.execute("UPDATE event_bus_mqtt_settings SET allow_clean_session = 0").await;
    let mut worker = home.postroad.worker(&[]);
    assert_eq!(worker.ended().await, 1, "{}", worker.log());
    assert!(worker.log().contains("allow_clean_session"), "{}", worker.log());
}

#[tokio::test]
async fn no_setting_makes_a_queue_forgetful_or_an_acknowledgement_automatic() {
    let home = Home::configured().await;
    for setting in ["rabbitmq.durable=false", "rabbitmq.auto_ack=true", "rabbitmq.no_ack=true"] {
        let (name, _) = setting.split_once('=').unwrap();
        let ran = home.postroad.run(&["config", "set", "default", setting]);
        ran.fails_saying(&["unknown setting", name]);
    }
}

#[tokio::test]
async fn a_database_on_another_machine_is_verified_or_refused() {
    let home = Home::empty().await;
    for (url, way_out) in [
        ("postgres://ebmr:hunter2@db.example/bus?sslmode=prefer", "sslmode=verify-full"),
        (
            "postgres://ebmr:hunter2@127.0.0.1/bus?host=db.example&sslmode=disable",
            "sslmode=verify-full",
        ),
        ("mysql://ebmr:hunter2@db.example/bus?ssl-mode=REQUIRED", "ssl-mode=VERIFY_IDENTITY"),
        ("mariadb://ebmr:hunter2@db.example/bus?ssl-mode=DISABLED", "ssl-mode=VERIFY_IDENTITY"),
    ] {
        for command in [&["status"][..], &["worker"], &["migrate", "up"]] {
            let ran = Postroad::new(url, home.postroad.folder()).run(command);
            assert!(!ran.err.contains("hunter2"), "{ran:?}");
            ran.fails_saying(&["`db.example`", way_out, "allow_plaintext=true"]);
        }
    }
}

#[tokio::test]
async fn a_literal_password_is_warned_of_on_standard_error() {
    let home = Home::configured().await;
    let warning = "env:NAME or file:PATH";
    let set = |value: &str| home.postroad.run(&["config", "set", "default", value]).exits(0);
    let ran = set("password=hunter2");
    assert!(ran.err.contains("warning: ") && ran.err.contains(warning), "{ran:?}");
    assert!(!ran.err.contains("hunter2") && !ran.out.contains("warning"), "{ran:?}");
    for place in ["password=env:BROKER_PASSWORD", "password=file:/run/secrets/broker"] {
        assert!(!set(place).err.contains("warning"), "{place}");
    }
    let file = home.postroad.file("literal.toml", "[config.default]\npassword = 'hunter2'\n");
    let ran = home.postroad.run(&["config", "import", &file]).exits(0);
    assert!(ran.err.contains(warning), "{ran:?}");
}

#[tokio::test]
async fn a_flood_of_rows_that_cannot_be_sent_is_a_line_or_two_with_their_number() {
    const ROWS: usize = 2_000;
    let home = Home::configured().await;
    let insert = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS}) \
         INSERT INTO outbound_event (topic, event_type, payload) SELECT 'no topic', 'x', '{{}}' FROM n"
    );
    home.sql.execute(&insert).await;
    let worker = home.postroad.worker(&[]);
    home.sql.until_sent().await;
    let log = worker.stop().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("row can never be sent")).collect();
    assert!(lines.len() < 10, "{lines:?}");
    let more: usize = lines.iter().filter_map(|line| number_after(line, "more=")).sum();
    let told = lines.iter().filter(|line| line.contains("seq=")).count();
    assert_eq!(told + more, ROWS, "{lines:?}");
}

fn number_after(line: &str, name: &str) -> Option<usize> {
    let (_, rest) = line.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
