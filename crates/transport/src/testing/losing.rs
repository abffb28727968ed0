//! What holds when a connection is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::consuming::fill;
use super::publishing::publish;
use super::{Rig, acknowledge, event, id, next, publisher, soon, subscriber};
use crate::{PublishError, Publisher, Subscriber};

/// No publish hangs, and none is taken for sent that was not.
pub async fn a_severed_publisher_ends_every_publish_and_says_why<R: Rig>(rig: &R) {
    let publisher = Arc::new(publisher(rig).await);
    let mut tasks = JoinSet::new();
    for _ in 0..2_000 {
        let (publisher, message) = (Arc::clone(&publisher), event("event.suite.thing.made"));
        tasks.spawn(async move { (message.message_id.clone(), publisher.publish(message).await) });
    }
    // Some have an outcome by then, some are under way, some wait.
    let first =
        soon("a first outcome", tasks.join_next()).await.expect("a task").expect("no panic");
    rig.sever().await;
    let mut outcomes = vec![first];
    outcomes.extend(soon("every outcome", tasks.join_all()).await);
    assert!(!soon("closed", publisher.closed()).await.is_empty());

    let mut confirmed = BTreeSet::new();
    for (id, outcome) in outcomes {
        match outcome {
            Ok(()) => assert!(confirmed.insert(id)),
            Err(error) => assert!(matches!(error, PublishError::Unconfirmed(_)), "{error:?}"),
        }
    }
    let mut subscriber = subscriber(rig).await;
    while !confirmed.is_empty() {
        let delivery = next(&mut subscriber).await;
        confirmed.remove(&id(&delivery));
        acknowledge(&mut subscriber, delivery.tag).await;
    }
}

/// The engine learns at once that it needs a new connection.
pub async fn a_publish_after_the_loss_is_unconfirmed_at_once<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    rig.sever().await;
    soon("closed", publisher.closed()).await;
    for _ in 0..3 {
        let outcome = publish(&publisher, event("event.suite.thing.made")).await;
        assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
    }
    soon("close", publisher.close()).await;
}

/// Nothing that was delivered and not acknowledged is lost, nothing that was acknowledged before comes again.
pub async fn a_severed_subscriber_says_so_and_the_next_one_gets_what_was_open<R: Rig>(rig: &R) {
    let sent = fill(rig, 4).await;
    let mut first = subscriber(rig).await;
    let acknowledged = next(&mut first).await.tag;
    acknowledge(&mut first, acknowledged).await;
    let open = next(&mut first).await.tag;
    rig.sever().await;
    let lost = soon("the loss", async {
        loop {
            if let Err(lost) = first.next().await {
                return lost;
            }
        }
    });
    assert!(!lost.await.0.is_empty());
    let acknowledged = soon("an acknowledgement's outcome", first.acknowledge_through(open)).await;
    assert_eq!(acknowledged.is_ok(), R::ACKNOWLEDGES_AFTER_LOSS, "{acknowledged:?}");
    let done = if acknowledged.is_ok() { 2 } else { 1 };

    let mut second = subscriber(rig).await;
    let mut arrived = Vec::new();
    while arrived.last() != sent.last() {
        let delivery = next(&mut second).await;
        assert!(
            delivery.message.redelivered || !sent[..2].contains(&id(&delivery)),
            "{delivery:?}"
        );
        arrived.push(id(&delivery));
    }
    // Where the broker keeps the messages, the acknowledgement of the first may have been lost with the connection.
    let lost_too = !R::ACKNOWLEDGES_AFTER_LOSS && arrived == sent;
    assert!(arrived == sent[done..] || lost_too, "{arrived:?} of {sent:?}");
}

/// Nothing of a lost connection stands in the way of the next.
pub async fn connections_made_after_a_loss_work<R: Rig>(rig: &R) {
    for _ in 0..5 {
        let publisher = publisher(rig).await;
        let mut subscriber = subscriber(rig).await;
        let message = event("event.suite.thing.made");
        let sent = message.message_id.clone();
        publish(&publisher, message).await.expect("a new connection publishes");
        let delivery = next(&mut subscriber).await;
        assert_eq!(id(&delivery), sent);
        acknowledge(&mut subscriber, delivery.tag).await;
        soon("close", subscriber.close()).await;
        rig.sever().await;
        soon("closed", publisher.closed()).await;
    }
}
