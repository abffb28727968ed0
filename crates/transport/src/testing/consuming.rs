//! What holds of deliveries and acknowledgements.

use std::collections::BTreeSet;
use std::time::Duration;

use super::publishing::publish;
use super::{
    PREFETCH, Rig, acknowledge, depth_is, event, id, next, nothing_comes, publisher, soon,
    subscriber, take,
};
use crate::Subscriber;

/// Publishes so many events, one after the other; their ids.
pub(super) async fn fill<R: Rig>(rig: &R, count: usize) -> Vec<String> {
    let publisher = publisher(rig).await;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let message = event("event.suite.thing.made");
        ids.push(message.message_id.clone());
        publish(&publisher, message).await.expect("it is confirmed");
    }
    ids
}

/// Whoever dies with deliveries in hand loses none.
pub async fn what_was_not_acknowledged_comes_again_and_says_so<R: Rig>(rig: &R) {
    let sent = fill(rig, 3).await;
    let mut first = subscriber(rig).await;
    for expected in &sent {
        let delivery = next(&mut first).await;
        assert_eq!((&id(&delivery), delivery.message.redelivered), (expected, false));
    }
    drop(first);
    let mut second = subscriber(rig).await;
    for expected in &sent {
        let delivery = next(&mut second).await;
        assert_eq!((&id(&delivery), delivery.message.redelivered), (expected, true));
    }
}

/// Once acknowledged, done with.
pub async fn what_was_acknowledged_does_not_come_again<R: Rig>(rig: &R) {
    let sent = fill(rig, 3).await;
    let mut first = subscriber(rig).await;
    assert_eq!(take(&mut first, 3).await, sent);
    soon("close", first.close()).await;
    nothing_comes(&mut subscriber(rig).await).await;
    depth_is(rig, 0).await;
}

/// One acknowledgement a batch.
pub async fn an_acknowledgement_covers_everything_before_it_and_nothing_after<R: Rig>(rig: &R) {
    let sent = fill(rig, 5).await;
    let mut first = subscriber(rig).await;
    let mut tags = Vec::new();
    for _ in 0..5 {
        tags.push(next(&mut first).await.tag);
    }
    assert!(tags.windows(2).all(|pair| pair[1] == pair[0] + 1), "tags grow by one: {tags:?}");
    acknowledge(&mut first, tags[2]).await;
    soon("close", first.close()).await;
    let mut second = subscriber(rig).await;
    assert_eq!(take(&mut second, 2).await, sent[3..]);
    nothing_comes(&mut second).await;
}

/// A tag that was covered already changes nothing.
pub async fn acknowledging_again_is_harmless<R: Rig>(rig: &R) {
    let sent = fill(rig, 3).await;
    let mut subscriber = subscriber(rig).await;
    let first = next(&mut subscriber).await.tag;
    let second = next(&mut subscriber).await.tag;
    for tag in [second, second, first] {
        acknowledge(&mut subscriber, tag).await;
    }
    assert_eq!(take(&mut subscriber, 1).await, sent[2..]);
    nothing_comes(&mut subscriber).await;
}

/// Competing consumers: each message goes to one of them.
pub async fn two_subscribers_share_a_queue<R: Rig>(rig: &R) {
    let mut one = subscriber(rig).await;
    let mut other = subscriber(rig).await;
    let sent: BTreeSet<_> = fill(rig, PREFETCH).await.into_iter().collect();
    let mut arrived = Vec::new();
    while arrived.len() < sent.len() {
        let (one, other) = (&mut one, &mut other);
        let delivery = soon("a delivery to either", async move {
            tokio::select! {
                delivery = one.next() => delivery,
                delivery = other.next() => delivery,
            }
        });
        arrived.push(id(&delivery.await.expect("both are connected")));
    }
    nothing_comes(&mut one).await;
    nothing_comes(&mut other).await;
    assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>(), sent);
}

/// However much waits, and however slow the consumer is, memory is bounded.
pub async fn unacknowledged_deliveries_never_exceed_the_prefetch<R: Rig>(rig: &R) {
    let sent = fill(rig, 10 * PREFETCH).await;
    let mut subscriber = subscriber(rig).await;
    assert_eq!(subscriber.prefetch(), PREFETCH);
    let mut last = 0;
    for expected in &sent[..PREFETCH] {
        let delivery = next(&mut subscriber).await;
        assert_eq!(&id(&delivery), expected);
        last = delivery.tag;
    }
    nothing_comes(&mut subscriber).await;
    depth_is(rig, 9 * PREFETCH).await;

    acknowledge(&mut subscriber, last - 5).await;
    for expected in &sent[PREFETCH..2 * PREFETCH - 5] {
        assert_eq!(&id(&next(&mut subscriber).await), expected);
    }
    nothing_comes(&mut subscriber).await;
}

/// The engine waits for a delivery and for other things at once.
pub async fn next_can_be_dropped_without_losing_a_delivery<R: Rig>(rig: &R) {
    const COUNT: usize = 400;
    let mut subscriber = subscriber(rig).await;
    let mut arrived = Vec::new();
    let consume = async {
        while arrived.len() < COUNT {
            // As short as the clock can do, so that many of these end in the middle of a delivery.
            if let Ok(delivery) =
                tokio::time::timeout(Duration::from_micros(1), subscriber.next()).await
            {
                let delivery = delivery.expect("the subscriber is connected");
                arrived.push(id(&delivery));
                acknowledge(&mut subscriber, delivery.tag).await;
            }
        }
    };
    let (sent, ()) =
        soon("every delivery", async { tokio::join!(fill(rig, COUNT), consume) }).await;
    assert!(arrived == sent, "every message arrives once and in order");
    nothing_comes(&mut subscriber).await;
}

/// `close` ends in good time.
pub async fn a_closed_subscriber_gives_back_what_it_had<R: Rig>(rig: &R) {
    let sent = fill(rig, 2).await;
    let mut first = subscriber(rig).await;
    next(&mut first).await;
    soon("close", first.close()).await;
    depth_is(rig, 2).await;
    assert_eq!(take(&mut subscriber(rig).await, 2).await, sent);
}
