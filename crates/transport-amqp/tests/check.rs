//! What a check-up of RabbitMQ finds, and that it leaves everything as it was.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use amqprs::channel::{
    BasicPublishArguments, ExchangeDeclareArguments, ExchangeDeleteArguments, QueueBindArguments,
    QueueDeclareArguments,
};
use amqprs::{BasicProperties, FieldTable};
use postroad_transport::testing::Rig;
use postroad_transport::{Finding, Level, Subscriber, Transport, Wants};
use postroad_transport_amqp::QueueType;
use support::Place;

const BOTH: Wants = Wants { outbound: true, inbound: true, max_message_bytes: 1 << 20 };

#[track_caller]
fn line<'f>(findings: &'f [Finding], check: &str) -> &'f Finding {
    let line = findings.iter().find(|finding| finding.check == check);
    line.unwrap_or_else(|| panic!("no `{check}` in {findings:#?}"))
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_place_that_is_set_up_is_all_right_and_stays_as_it_was() {
    let place = Place::new(QueueType::Quorum).await;
    place.transport.connect_publisher().await.unwrap();
    let admin = place.admin().await;
    for _ in 0..3 {
        let arguments = BasicPublishArguments::new("", &place.settings.queue);
        let sent =
            admin.channel.basic_publish(BasicProperties::default(), b"{}".to_vec(), arguments);
        sent.await.unwrap();
    }
    let findings = loop {
        let findings = place.transport.check(BOTH).await;
        if line(&findings, "queue").found.contains("3 messages wait") {
            break findings;
        }
    };
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    assert!(line(&findings, "version").found.starts_with("RabbitMQ "), "{findings:#?}");
    for check in ["broker", "exchange", "queue", "bindings", "publishing", "consuming"] {
        line(&findings, check);
    }
    // Nothing was taken, and nothing came.
    let mut subscriber = place.transport.connect_subscriber().await.unwrap();
    for _ in 0..3 {
        let delivery = subscriber.next().await.unwrap();
        assert!(!delivery.message.redelivered, "it was handed out before");
    }
    let findings = place.transport.check(BOTH).await;
    let queue = line(&findings, "queue");
    assert!(queue.found.ends_with("0 messages wait, 1 consumers"), "{queue:#?}");
    subscriber.close().await;
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn what_is_not_there_is_told_and_not_made() {
    let place = Place::new(QueueType::Quorum).await;
    for _ in 0..2 {
        let findings = place.transport.check(BOTH).await;
        for check in ["exchange", "queue"] {
            assert_eq!(line(&findings, check).level, Level::Warning, "{findings:#?}");
        }
    }
    let passive = place.changed(|settings| settings.declare_topology = false);
    let findings = passive.check(BOTH).await;
    for check in ["exchange", "queue"] {
        assert_eq!(line(&findings, check).level, Level::Failure, "{findings:#?}");
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn an_exchange_and_a_queue_of_other_kinds_are_told_in_the_brokers_words() {
    let place = Place::new(QueueType::Quorum).await;
    let channel = place.admin().await;
    let (exchange, queue) = (&place.settings.exchange, &place.settings.queue);
    let fanout = ExchangeDeclareArguments::new(exchange, "fanout").durable(true).finish();
    channel.channel.exchange_declare(fanout).await.unwrap();
    let mut arguments = FieldTable::new();
    arguments.insert("x-queue-type".try_into().unwrap(), "classic".into());
    let classic = QueueDeclareArguments::durable_client_named(queue).arguments(arguments).finish();
    channel.channel.queue_declare(classic).await.unwrap();
    let findings = place.transport.check(BOTH).await;
    for (check, words) in [("exchange", "inequivalent arg 'type'"), ("queue", "x-queue-type")] {
        let finding = line(&findings, check);
        assert_eq!(finding.level, Level::Failure, "{finding:#?}");
        assert!(finding.found.contains(words), "{finding:#?}");
    }
    // Both are used all the same where the settings do not set them up.
    let passive = place.changed(|settings| settings.declare_topology = false);
    let findings = passive.check(BOTH).await;
    assert!(findings.iter().all(|finding| finding.level < Level::Failure), "{findings:#?}");
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn what_a_restart_of_the_broker_would_lose_is_refused_or_told() {
    let place = Place::new(QueueType::Classic).await;
    let admin = place.admin().await;
    let (exchange, queue) = (&place.settings.exchange, &place.settings.queue);
    let transient = ExchangeDeclareArguments::new(exchange, "topic").durable(false).finish();
    admin.channel.exchange_declare(transient).await.unwrap();
    let transient = QueueDeclareArguments::new(queue).durable(false).finish();
    admin.channel.queue_declare(transient).await.unwrap();
    let refused = place.transport.connect_subscriber().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("inequivalent arg 'durable'"), "{refused}");
    let passive = place.changed(|settings| settings.declare_topology = false);
    for (transport, level) in [(&place.transport, Level::Failure), (&passive, Level::Warning)] {
        let findings = transport.check(BOTH).await;
        for check in ["exchange", "queue"] {
            let finding = line(&findings, check);
            assert_eq!(finding.level, level, "{finding:#?}");
            assert!(finding.found.contains("inequivalent arg 'durable'"), "{finding:#?}");
        }
    }
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_dead_letter_exchange_that_is_missing_or_takes_nothing_is_told() {
    let place = Place::with(QueueType::Classic, |settings| {
        settings.dead_letter_exchange = Some(format!("{}-dead", settings.exchange));
    })
    .await;
    place.transport.connect_publisher().await.unwrap();
    let findings = place.transport.check(BOTH).await;
    let finding = line(&findings, "dead letter exchange");
    assert_eq!(finding.level, Level::Warning, "{finding:#?}");
    assert!(finding.advice.contains("stays unacknowledged"), "{finding:#?}");
    let dead = place.settings.dead_letter_exchange.clone().unwrap();
    for (internal, level) in [(true, Level::Failure), (false, Level::Ok)] {
        let admin = place.admin().await;
        let exchange = ExchangeDeclareArguments::new(&dead, "fanout").internal(internal).finish();
        admin.channel.exchange_declare(exchange).await.unwrap();
        let findings = place.transport.check(BOTH).await;
        let finding = line(&findings, "dead letter exchange");
        assert_eq!(finding.level, level, "{finding:#?}");
        admin.channel.exchange_delete(ExchangeDeleteArguments::new(&dead)).await.unwrap();
    }
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn an_exchange_that_nobody_may_publish_to_is_told() {
    let place = Place::new(QueueType::Classic).await;
    let admin = place.admin().await;
    let (exchange, queue) = (&place.settings.exchange, &place.settings.queue);
    // The broker refuses to take a message for it as it does where the permission is missing.
    let internal =
        ExchangeDeclareArguments::new(exchange, "topic").durable(true).internal(true).finish();
    admin.channel.exchange_declare(internal).await.unwrap();
    let classic = QueueDeclareArguments::durable_client_named(queue).finish();
    admin.channel.queue_declare(classic).await.unwrap();
    admin.channel.queue_bind(QueueBindArguments::new(queue, exchange, "#")).await.unwrap();
    let passive = place.changed(|settings| settings.declare_topology = false);
    let findings = passive.check(BOTH).await;
    let finding = line(&findings, "publishing");
    assert_eq!(finding.level, Level::Failure, "{findings:#?}");
    assert!(finding.found.contains("ACCESS_REFUSED"), "{finding:#?}");
    let outbound = Wants { outbound: false, ..BOTH };
    let findings = passive.check(outbound).await;
    assert!(findings.iter().all(|finding| finding.check != "publishing"), "{findings:#?}");
    assert_eq!(line(&findings, "consuming").level, Level::Ok);
    place.clean_up().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn a_host_that_is_away_is_named_beside_those_that_serve() {
    let place = Place::new(QueueType::Classic).await;
    let gone = ("127.0.0.1".to_owned(), 1);
    let two = place.changed(|settings| settings.hosts.insert(0, gone.clone()));
    let findings = two.check(BOTH).await;
    let broker = line(&findings, "broker");
    assert_eq!(broker.level, Level::Warning, "{broker:#?}");
    assert!(broker.found.contains("127.0.0.1:1: "), "{broker:#?}");
    let wrong = place.changed(|settings| settings.password = "hunter2".into());
    let mut findings = wrong.check(BOTH).await;
    // RabbitMQ takes three seconds to say so, of five; on a busy machine it may come too late.
    for _ in 0..3 {
        if line(&findings, "broker").advice.contains("username, password") {
            break;
        }
        findings = wrong.check(BOTH).await;
    }
    let broker = line(&findings, "broker");
    assert_eq!(broker.level, Level::Failure, "{broker:#?}");
    assert!(broker.advice.contains("username, password"), "{broker:#?}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:#?}");
    // A broker that takes the connection and says nothing.
    place.proxy.blackhole(true);
    let began = std::time::Instant::now();
    let findings = place.transport.check(BOTH).await;
    assert_eq!(line(&findings, "broker").level, Level::Failure, "{findings:#?}");
    assert!(began.elapsed().as_secs() < 20);
}
