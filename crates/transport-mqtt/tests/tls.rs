//! TLS to a real Mosquitto: who is trusted, who is not, and what is said then.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use postroad_tls::TlsSettings;
use postroad_tls::testing::{Flaw, Identity, Pki, replace};
use postroad_transport::testing::event;
use postroad_transport::{ConnectError, Publisher, Subscriber, Transport};
use postroad_transport_mqtt::{MqttSettings, MqttTransport};
use tempfile::TempDir;

use support::broker::Broker;

const TOPIC: &str = "event.suite.thing.made";

/// A transport of its own session and spool to this broker.
struct Client {
    transport: MqttTransport,
    _spool: TempDir,
}

impl Client {
    fn new(broker: &Broker, protocol_version: u8, tls: TlsSettings) -> Self {
        let spool = TempDir::new().unwrap();
        let transport = MqttTransport::new(MqttSettings {
            hosts: vec![(broker.address.ip().to_string(), broker.address.port())],
            protocol_version,
            tls: Some(tls),
            inbound_topics: vec![TOPIC.to_owned()],
            spool_dir: spool.path().join("spool"),
            ..MqttSettings::default()
        });
        Self { transport: transport.unwrap(), _spool: spool }
    }

    /// A message goes there and back.
    async fn works(&self) {
        let mut subscriber = self.transport.connect_subscriber().await.unwrap();
        let publisher = self.transport.connect_publisher().await.unwrap();
        assert_eq!(publisher.publish(event(TOPIC)).await, Ok(()));
        let delivery = subscriber.next().await.unwrap();
        subscriber.acknowledge_through(delivery.tag).await.unwrap();
        publisher.close().await;
        subscriber.close().await;
    }

    async fn fails(&self, part: &str) {
        for outcome in [
            self.transport.connect_publisher().await.map(drop),
            self.transport.connect_subscriber().await.map(drop),
        ] {
            let Err(ConnectError::Untrusted(text)) = outcome else {
                panic!("it should not be trusted: {outcome:?}")
            };
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_broker_is_trusted_by_its_authority_and_its_name_and_by_nothing_less() {
    let pki = Pki::new();
    for version in [4, 5] {
        let broker = Broker::by_tls(&pki, &pki.server(Flaw::None), "");
        Client::new(&broker, version, pki.trusting()).works().await;
        for (flaw, words) in Flaw::ALL {
            let broker = Broker::by_tls(&pki, &pki.server(flaw), "");
            Client::new(&broker, version, pki.trusting()).fails(words).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn without_a_ca_file_the_system_is_asked_which_does_not_know_the_tests() {
    let pki = Pki::new();
    let broker = Broker::by_tls(&pki, &pki.server(Flaw::None), "");
    let tls = TlsSettings::default();
    // A machine may trust nobody at all.
    let words = match tls.load(postroad_tls::Names::CONFIG) {
        Ok(_) => "unknown authority",
        Err(_) => "trusts no authority",
    };
    Client::new(&broker, 5, tls).fails(words).await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_broker_that_demands_a_certificate_gets_one_and_says_so_where_it_does_not() {
    let pki = Pki::new();
    for version in ["", "tls_version tlsv1.2", "tls_version tlsv1.3"] {
        let lines = format!("require_certificate true\nuse_identity_as_username true\n{version}");
        let broker = Broker::by_tls(&pki, &pki.server(Flaw::None), &lines);
        let with = |identity: &Identity| Client::new(&broker, 5, pki.appearing_as(identity));
        with(&pki.client("billing")).works().await;
        let demands = "demand";
        Client::new(&broker, 5, pki.trusting()).fails(demands).await;
        with(&pki.stranger("billing")).fails("refuses our client certificate").await;
    }
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn what_speaks_no_tls_is_told_apart() {
    let broker = Broker::with("allow_anonymous true");
    let pki = Pki::new();
    let transport = Client::new(&broker, 5, pki.trusting()).transport;
    let text = transport.connect_publisher().await.map(drop).unwrap_err().to_string();
    assert!(text.contains("TLS"), "{text}");
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn exchanged_files_are_found_at_the_next_connection() {
    let (old, new) = (Pki::new(), Pki::new());
    let lines = "require_certificate true";
    let mut broker = Broker::by_tls(&old, &old.server(Flaw::None), lines);
    let identity = old.client("billing");
    let client = Client::new(&broker, 5, old.appearing_as(&identity));
    client.works().await;

    let before = broker.address;
    broker.kill();
    broker = Broker::by_tls(&new, &new.server(Flaw::None), lines);
    let client = {
        // The same settings and files at the new broker's address.
        assert_ne!(before, broker.address);
        Client::new(&broker, 5, old.appearing_as(&identity))
    };
    client.fails("unknown authority").await;
    replace(&new.ca(), &old.ca());
    client.fails("refuses our client certificate").await;
    new.client("billing").replace(&identity);
    client.works().await;
}

#[tokio::test]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_file_that_is_not_what_it_should_be_is_an_error_that_names_it_and_no_panic() {
    let pki = Pki::new();
    let broker = Broker::by_tls(&pki, &pki.server(Flaw::None), "");
    let identity = pki.client("billing");
    let tls = pki.appearing_as(&identity);
    let missing = TlsSettings { ca_file: Some("missing.pem".into()), ..tls.clone() };
    Client::new(&broker, 5, missing).fails("`tls_ca_file` `missing.pem`").await;
    let other = pki.client("shop");
    let mixed = TlsSettings { key_file: Some(other.key), ..tls };
    Client::new(&broker, 5, mixed).fails("does not match").await;
}
