//! TLS by the settings of a config, while a worker runs.

use postroad_tls::testing::{Flaw, Pki, Terminator, replace};

use crate::support::{Bus, Home, Server, mosquitto_by_tls, on_server};

const TOPIC: &str = "event.machine.spindle.started";
const INSERT: &str = "INSERT INTO outbound_event (topic, message_type, event_type, payload) \
    VALUES ('event.machine.spindle.started', 'event', 'started', '{\"rpm\": 900}')";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn mqtt_goes_by_tls_and_takes_up_exchanged_files_at_the_next_attempt() {
    let (pki, other) = (Pki::new(), Pki::new());
    let lines = "require_certificate true\nuse_identity_as_username true";
    let mosquitto = mosquitto_by_tls(&pki, &pki.server(Flaw::None), lines).await;
    let home = Home::migrated().await;
    let folder = home.postroad.folder();
    let identity = other.client("ebmr");
    let (ca, cert, key) = (other.ca(), &identity.cert, &identity.key);
    home.postroad.import(&format!(
        r#"
        [config.default]
        broker_type = "mqtt"
        host = "{}"
        source_service = "ebmr"
        tls_enabled = true
        tls_ca_file = "{}"
        tls_cert_file = "{}"
        tls_key_file = "{}"
        retry_interval_seconds = 1
        heartbeat_interval_seconds = 1
        poll_interval_ms = 50
        [config.default.mqtt]
        inbound_topics = ["{TOPIC}"]
        spool_dir = "{}/spool"
        "#,
        mosquitto.address,
        ca.display(),
        cert.display(),
        key.display(),
        folder.display(),
    ));
    let worker = home.postroad.worker(&[]);
    worker.says("unknown authority").await;
    let ran = home.postroad.run(&["doctor", "--json"]).exits(1);
    let broker = ran.line("config default", "broker");
    assert!(broker["advice"].as_str().unwrap().contains("tls_ca_file"), "{broker:#}");
    assert_eq!(ran.line("config default", "encryption")["found"], "TLS");
    replace(&pki.ca(), &other.ca());
    pki.client("ebmr").replace(&identity);
    // Mosquitto keeps nothing for who has not subscribed.
    home.postroad.until_status("default", "running").await;
    home.sql.execute(INSERT).await;
    home.sql.until_sent().await;
    home.sql.until_count(1, "SELECT count(*) FROM inbound_event").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn rabbitmq_goes_by_tls_and_takes_up_exchanged_files_at_the_next_attempt() {
    on_server(Server::Postgres, async |bus: &Bus| {
        let (pki, trusted) = (Pki::new(), Pki::new());
        let server = pki.server(Flaw::None);
        let before = Terminator::start(bus.broker.addr(), &pki, &server, true).await.unwrap();
        let identity = pki.client("ebmr");
        let set = |name: &str, file: &std::path::Path| format!("{name}={}", file.display());
        let host = format!("host={}", before.addr());
        let files = [
            set("tls_ca_file", &trusted.ca()),
            set("tls_cert_file", &identity.cert),
            set("tls_key_file", &identity.key),
        ];
        bus.configure("default", &[&host, "tls_enabled=true", &files[0], &files[1], &files[2]]);
        bus.enqueue(10).await;
        let worker = bus.postroad.worker(&[]);
        worker.says("unknown authority").await;
        let status = bus.status("default");
        let error = status["workers"][0]["last_error"].as_str().unwrap_or_default().to_owned();
        replace(&pki.ca(), &trusted.ca());
        bus.sql.until_sent().await;
        bus.until_received("default", 10).await;
        assert!(error.is_empty() || error.contains("tls_ca_file"), "{error}");

        // A connection that is lost is made again by TLS.
        bus.broker.cut();
        bus.enqueue(10).await;
        bus.until_received("default", 20).await;
        worker.stop().await;
    })
    .await;
}
