//! What holds of a publish.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    A_WHILE, Rig, depth_is, event, next, nothing_comes, publisher, request, response, same, soon,
    subscriber, take,
};
use crate::{Incoming, Outgoing, PublishError, Publisher};

/// `Ok` means that the broker has it: whole, in the queue, with its properties.
pub async fn a_confirmed_message_is_delivered_as_it_was_sent<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let sent = Outgoing {
        headers: json!({ "trace": "abc", "attempt": 1 }).as_object().expect("an object").clone(),
        ..request("suite.request.thing.make")
    };
    let mut subscriber = subscriber(rig).await;
    for message in [sent, response("suite.response.thing.made"), event("event.suite.thing.made")] {
        publish(&publisher, message.clone()).await.expect("it is confirmed");
        assert_arrives::<R>(&next(&mut subscriber).await.message, &message);
    }
}

#[track_caller]
pub(super) fn assert_arrives<R: Rig>(arrived: &Incoming, message: &Outgoing) {
    let expected = arriving(message);
    assert!(same::<R>(arrived, &expected), "{arrived:?} arrived for {expected:?}");
}

/// The message as it arrives the first time.
pub(super) fn arriving(message: &Outgoing) -> Incoming {
    Incoming {
        topic: message.topic.clone(),
        body: message.body.clone(),
        message_id: Some(message.message_id.clone()),
        correlation_id: message.correlation_id.clone(),
        reply_to: message.reply_to.clone(),
        app_id: message.app_id.clone(),
        message_type: message.message_type.map(|kind| kind.as_str().to_owned()),
        headers: message.headers.clone(),
        redelivered: false,
        ..Incoming::default()
    }
}

/// Its sender waits for an answer that will not come.
pub async fn a_request_nobody_is_bound_for_is_refused<R: Rig>(rig: &R) {
    let outcome = publish(&publisher(rig).await, request("nobody.request.thing.make")).await;
    assert!(
        matches!(&outcome, Err(PublishError::Refused(text)) if text.contains("nobody.request")),
        "{outcome:?}"
    );
}

/// Somebody waits for it.
pub async fn a_response_nobody_is_bound_for_is_refused<R: Rig>(rig: &R) {
    let outcome = publish(&publisher(rig).await, response("nobody.response.thing.made")).await;
    assert!(matches!(outcome, Err(PublishError::Refused(_))), "{outcome:?}");
}

/// An event is told to whoever listens, if anybody.
pub async fn an_event_nobody_is_bound_for_is_confirmed<R: Rig>(rig: &R) {
    assert_eq!(publish(&publisher(rig).await, event("event.nobody.thing.made")).await, Ok(()));
    depth_is(rig, 0).await;
}

/// A broker confirms many at once and returns between them.
pub async fn refused_and_confirmed_messages_are_told_apart_in_one_window<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let messages = (0..300).map(|number| {
        let service = if number % 3 == 0 { "nobody" } else { "suite" };
        request(&format!("{service}.request.thing.make"))
    });
    let outcomes =
        soon("300 outcomes", join_all(messages.map(|message| publisher.publish(message)))).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(
            matches!(outcome, Err(PublishError::Refused(_))),
            number % 3 == 0,
            "{number}: {outcome:?}"
        );
        assert_eq!(outcome.is_ok(), number % 3 != 0, "{number}: {outcome:?}");
    }
    depth_is(rig, 200).await;
}

/// A publisher makes the queue as a subscriber would.
pub async fn a_request_sent_before_the_first_subscriber_is_kept<R: Rig>(rig: &R) {
    let message = request("suite.request.thing.make");
    publish(&publisher(rig).await, message.clone()).await.expect("the queue is there and bound");
    assert_eq!(next(&mut subscriber(rig).await).await.message, arriving(&message));
}

/// More than any window, from one task.
pub async fn five_thousand_publishes_are_all_confirmed<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let messages = (0..5_000).map(|_| publisher.publish(event("event.suite.thing.made")));
    let outcomes = soon("5,000 confirms", join_all(messages)).await;
    assert!(
        outcomes.iter().all(Result::is_ok),
        "{:?}",
        outcomes.iter().find(|outcome| outcome.is_err())
    );
    depth_is(rig, 5_000).await;
}

/// From as many tasks as the engine may have.
pub async fn a_thousand_tasks_publish_at_once<R: Rig>(rig: &R) {
    let publisher = Arc::new(publisher(rig).await);
    let mut tasks = JoinSet::new();
    let mut sent = BTreeSet::new();
    for _ in 0..1_000 {
        let message = event("event.suite.thing.made");
        sent.insert(message.message_id.clone());
        let publisher = Arc::clone(&publisher);
        tasks.spawn(async move { publisher.publish(message).await });
    }
    let outcomes = soon("1,000 confirms", tasks.join_all()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let arrived: BTreeSet<_> = take(&mut subscriber(rig).await, 1_000).await.into_iter().collect();
    assert_eq!(arrived, sent);
}

/// What is published after a confirm arrives after what was confirmed. Publishes that run at once have no order.
pub async fn the_order_of_one_publisher_is_kept<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let mut sent = Vec::new();
    for _ in 0..200 {
        let message = event("event.suite.thing.made");
        sent.push(message.message_id.clone());
        publish(&publisher, message).await.expect("it is confirmed");
    }
    assert_eq!(take(&mut subscriber(rig).await, 200).await, sent);
}

/// A publish that was dropped may still arrive, once; the ones around it go their way.
pub async fn a_dropped_publish_harms_no_other<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for number in 0..100 {
        let message = event("event.suite.thing.made");
        let (id, mut publish) = (message.message_id.clone(), Box::pin(publisher.publish(message)));
        if number % 2 == 0 {
            kept.push((id, publish));
        } else {
            dropped.push(id);
            std::future::poll_fn(|context| {
                let _ready_or_not = publish.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
    }
    let (sent, waiting): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    assert_eq!(soon("50 confirms", join_all(waiting)).await, vec![Ok(()); 50]);
    let last = event("event.suite.thing.made");
    let last_id = last.message_id.clone();
    publish(&publisher, last).await.expect("the connection lives on");

    let mut subscriber = subscriber(rig).await;
    let mut arrived = Vec::new();
    while arrived.last() != Some(&last_id) {
        arrived.extend(take(&mut subscriber, 1).await);
    }
    nothing_comes(&mut subscriber).await;
    let unique: BTreeSet<_> = arrived.iter().collect();
    assert_eq!(unique.len(), arrived.len(), "each arrives once");
    assert!(sent.iter().all(|id| unique.contains(id)), "what was waited for arrived");
    assert!(unique.iter().all(|id| sent.contains(id) || dropped.contains(id) || **id == last_id));
}

/// `close` ends in good time, and `closed` with it.
pub async fn a_closed_publisher_says_so_and_publishes_no_more<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    assert!(
        tokio::time::timeout(A_WHILE, publisher.closed()).await.is_err(),
        "a good connection is not closed"
    );
    publish(&publisher, event("event.suite.thing.made")).await.expect("it is open");
    soon("close", publisher.close()).await;
    assert!(!soon("closed", publisher.closed()).await.is_empty());
    let outcome = publish(&publisher, event("event.suite.thing.made")).await;
    assert!(matches!(outcome, Err(PublishError::Unconfirmed(_))), "{outcome:?}");
    soon("close again", publisher.close()).await;
    depth_is(rig, 1).await;
}

pub(super) async fn publish(
    publisher: &impl Publisher,
    message: Outgoing,
) -> Result<(), PublishError> {
    soon("an outcome", publisher.publish(message)).await
}
