//! TLS to a real RabbitMQ: who is trusted, who is not, and what is said then.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use postroad_tls::TlsSettings;
use postroad_tls::testing::{Flaw, Pki, replace};
use postroad_transport::testing::event;
use postroad_transport::{ConnectError, Publisher, Subscriber, Transport};
use postroad_transport_amqp::{AmqpSettings, AmqpTransport};

use support::node::Node;

fn settings(node: &Node, tls: TlsSettings) -> AmqpSettings {
    AmqpSettings {
        hosts: vec![(node.address.ip().to_string(), node.address.port())],
        username: "billing".to_owned(),
        password: "secret".into(),
        bindings: vec!["event.#".to_owned()],
        tls: Some(tls),
        ..AmqpSettings::default()
    }
}

/// A message goes there and back.
async fn works(settings: AmqpSettings) {
    let transport = AmqpTransport::new(settings).unwrap();
    let mut subscriber = transport.connect_subscriber().await.unwrap();
    let publisher = transport.connect_publisher().await.unwrap();
    assert_eq!(publisher.publish(event("event.suite.thing.made")).await, Ok(()));
    let delivery = subscriber.next().await.unwrap();
    subscriber.acknowledge_through(delivery.tag).await.unwrap();
    publisher.close().await;
    subscriber.close().await;
}

/// What RabbitMQ thinks of us it says a moment after the handshake, and on a busy machine maybe later than anybody listens.
const ATTEMPTS: u32 = 5;

async fn fails(settings: AmqpSettings, part: &str) {
    let transport = AmqpTransport::new(settings).unwrap();
    for subscribes in [false, true] {
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            outcome = if subscribes {
                transport.connect_subscriber().await.map(drop)
            } else {
                transport.connect_publisher().await.map(drop)
            };
            if matches!(outcome, Ok(()) | Err(ConnectError::Untrusted(_))) {
                break;
            }
        }
        let Err(ConnectError::Untrusted(text)) = outcome else {
            panic!("it should not be trusted: {outcome:?}")
        };
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

/// One node for all of it: it takes long to start.
#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn both_sides_are_known_by_their_certificates_and_each_mismatch_is_told_apart() {
    let pki = Pki::new();
    let node = Node::start(&pki);
    let identity = pki.client("billing");
    let tls = pki.appearing_as(&identity);

    works(settings(&node, tls.clone())).await;
    // SASL EXTERNAL: no user name, no password.
    let external = || AmqpSettings { login_by_certificate: true, ..settings(&node, tls.clone()) };
    works(AmqpSettings { username: String::new(), password: "".into(), ..external() }).await;
    // It is the certificate that is asked, and nobody knows this one.
    let unknown = pki.appearing_as(&pki.client("nobody"));
    let unknown = AmqpSettings { tls: Some(unknown), ..external() };
    let outcome = AmqpTransport::new(unknown).unwrap().connect_publisher().await.map(drop);
    assert!(matches!(outcome, Err(ConnectError::Rejected(_))), "{outcome:?}");

    fails(settings(&node, pki.trusting()), "demand").await;
    let stranger = pki.appearing_as(&pki.stranger("billing"));
    fails(settings(&node, stranger), "refuses our client certificate").await;
    let wrong = AmqpSettings { password: "hunter2".into(), ..settings(&node, tls.clone()) };
    let outcome = AmqpTransport::new(wrong).unwrap().connect_publisher().await.map(drop);
    let Err(ConnectError::Rejected(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("password") && !text.contains("hunter2"), "{text}");

    for (flaw, words) in Flaw::ALL {
        node.exchange(&pki, flaw);
        fails(settings(&node, tls.clone()), words).await;
    }

    // A new authority for both, while the settings stay what they are.
    let new = Pki::new();
    node.exchange(&new, Flaw::None);
    fails(settings(&node, tls.clone()), "unknown authority").await;
    replace(&new.ca(), &pki.ca());
    fails(settings(&node, tls.clone()), "refuses our client certificate").await;
    new.client("billing").replace(&identity);
    works(settings(&node, tls)).await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn what_speaks_no_tls_is_told_apart() {
    let place = support::Place::new(postroad_transport_amqp::QueueType::Classic).await;
    let pki = Pki::new();
    let transport = place.changed(|settings| settings.tls = Some(pki.trusting()));
    let outcome = transport.connect_publisher().await.map(drop);
    let Err(ConnectError::Untrusted(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("does not speak TLS"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_not_what_it_should_be_is_an_error_that_names_it_and_no_panic() {
    let pki = Pki::new();
    let tls = pki.appearing_as(&pki.client("billing"));
    let missing = TlsSettings { ca_file: Some("missing.pem".into()), ..tls.clone() };
    let mixed = TlsSettings { key_file: Some(pki.client("shop").key), ..tls };
    for (tls, part) in [(missing, "`tls_ca_file` `missing.pem`"), (mixed, "does not match")] {
        let settings = AmqpSettings { tls: Some(tls), ..AmqpSettings::default() };
        fails(settings, part).await;
    }
}
