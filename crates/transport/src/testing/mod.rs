//! The promises of a transport, as a suite that every transport passes.
//!
//! A test crate implements [`Rig`], a fresh place at a broker, and calls [`conformance!`](crate::conformance): it
//! declares one test a promise. [`Proxy`] stands between client and broker and breaks the network on demand.

mod consuming;
mod contents;
mod losing;
mod proxy;
mod publishing;
mod sample;

use std::future::Future;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::{Delivery, Incoming, Outgoing, Subscriber, Transport};

pub use proxy::{Proxy, Speaker};
pub use sample::{event, request, response};

/// What a rig's queue is bound with.
pub const BINDINGS: [&str; 3] = ["suite.request.#", "suite.response.#", "event.suite.#"];

/// What a rig's transport is set to prefetch.
pub const PREFETCH: usize = 20;

/// Longer than a broker needs for anything, on a busy machine with a slow disk, too: a test that waits so long has found that
/// something never happens.
const SOON: Duration = Duration::from_mins(3);

/// Nothing that would come comes later.
const A_WHILE: Duration = Duration::from_millis(300);

/// A place at a broker that nobody else uses: an exchange, and a queue bound to it with [`BINDINGS`].
pub trait Rig: Send + Sync {
    /// The transport under test.
    type Transport: Transport;

    /// Whether ids, headers and the like travel beside the body. Otherwise only topic and body are compared, and the
    /// id of a message is read from its body.
    const CARRIES_PROPERTIES: bool = true;

    /// Whether deliveries can be acknowledged when the connection they came by is lost, because the transport keeps
    /// them itself.
    const ACKNOWLEDGES_AFTER_LOSS: bool = false;

    /// Connects to this place, with [`PREFETCH`].
    fn transport(&self) -> &Self::Transport;

    /// Breaks every connection made so far, without a good-bye to either side.
    fn sever(&self) -> impl Future<Output = ()> + Send;

    /// How many messages wait in the queue and are not handed out.
    fn depth(&self) -> impl Future<Output = usize> + Send;

    /// Removes the place from the broker.
    fn clean_up(self) -> impl Future<Output = ()> + Send;

    /// Messages that the protocol cannot carry.
    fn unsendable(&self) -> Vec<Outgoing> {
        let long_key = Map::from_iter([("k".repeat(256), 1.into())]);
        vec![
            event(&format!("event.suite.{}", "x".repeat(244))),
            Outgoing { headers: long_key, ..event("event.suite.thing.made") },
        ]
    }
}

/// The promises, a function each. Every one panics where it is not kept.
pub mod promises {
    pub use super::consuming::*;
    pub use super::contents::*;
    pub use super::losing::*;
    pub use super::publishing::*;
}

/// Declares a test for every promise. Takes an async function that makes a [`Rig`], after the attributes that each
/// test is to have:
///
/// ```ignore
/// postroad_transport::conformance! {
///     #[ignore = "needs a broker"]
///     my_rig
/// }
/// ```
///
/// Tokio has to be a dependency of the test crate.
///
/// It is [`pubsub_conformance!`](crate::pubsub_conformance), which holds of any broker that keeps messages for a
/// subscriber, and [`queue_conformance!`](crate::queue_conformance), which takes queues that are bound and shared, and
/// properties.
#[macro_export]
macro_rules! conformance {
    ($(#[$($attribute:tt)*])* $rig:path) => {
        $crate::pubsub_conformance! { $(#[$($attribute)*])* $rig }
        $crate::queue_conformance! { $(#[$($attribute)*])* $rig }
    };
}

/// The part of [`conformance!`](crate::conformance) that holds where topics are subscribed to and a message is topic
/// and body.
#[macro_export]
macro_rules! pubsub_conformance {
    ($(#[$($attribute:tt)*])* $rig:path) => {
        $crate::__promises! {
            ($(#[$($attribute)*])*) $rig;
            a_confirmed_message_is_delivered_as_it_was_sent,
            an_event_nobody_is_bound_for_is_confirmed,
            five_thousand_publishes_are_all_confirmed,
            a_thousand_tasks_publish_at_once,
            the_order_of_one_publisher_is_kept,
            a_dropped_publish_harms_no_other,
            a_closed_publisher_says_so_and_publishes_no_more,
            what_was_not_acknowledged_comes_again_and_says_so,
            what_was_acknowledged_does_not_come_again,
            an_acknowledgement_covers_everything_before_it_and_nothing_after,
            acknowledging_again_is_harmless,
            unacknowledged_deliveries_never_exceed_the_prefetch,
            next_can_be_dropped_without_losing_a_delivery,
            a_closed_subscriber_gives_back_what_it_had,
            a_severed_publisher_ends_every_publish_and_says_why,
            a_publish_after_the_loss_is_unconfirmed_at_once,
            a_severed_subscriber_says_so_and_the_next_one_gets_what_was_open,
            connections_made_after_a_loss_work,
            bodies_of_any_kind_arrive_whole,
            a_topic_of_255_bytes_arrives,
            a_message_id_over_255_bytes_is_delivered,
            what_cannot_be_sent_is_unsendable_and_the_connection_lives_on,
        }
    };
}

/// The part of [`conformance!`](crate::conformance) that takes queues which are bound to topics and shared, a broker
/// that says when nobody is bound, and properties beside the body.
#[macro_export]
macro_rules! queue_conformance {
    ($(#[$($attribute:tt)*])* $rig:path) => {
        $crate::__promises! {
            ($(#[$($attribute)*])*) $rig;
            a_request_nobody_is_bound_for_is_refused,
            a_response_nobody_is_bound_for_is_refused,
            refused_and_confirmed_messages_are_told_apart_in_one_window,
            a_request_sent_before_the_first_subscriber_is_kept,
            two_subscribers_share_a_queue,
            headers_of_every_json_type_arrive,
            a_message_id_over_255_bytes_is_refused_where_it_must_be,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __promises {
    ($attributes:tt $rig:path; $($name:ident,)*) => { $( $crate::__promise! { $attributes $rig; $name } )* };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __promise {
    (($($attributes:tt)*) $rig:path; $name:ident) => {
        $($attributes)*
        #[tokio::test]
        async fn $name() {
            $crate::testing::keep($rig().await, async |rig| $crate::testing::promises::$name(rig).await).await;
        }
    };
}

/// Runs one promise and cleans up behind it.
#[doc(hidden)]
pub async fn keep<R: Rig>(rig: R, promise: impl AsyncFnOnce(&R)) {
    promise(&rig).await;
    rig.clean_up().await;
}

async fn publisher<R: Rig>(rig: &R) -> <R::Transport as Transport>::Publisher {
    soon("connect a publisher", rig.transport().connect_publisher())
        .await
        .expect("a publisher connects")
}

async fn subscriber<R: Rig>(rig: &R) -> <R::Transport as Transport>::Subscriber {
    soon("connect a subscriber", rig.transport().connect_subscriber())
        .await
        .expect("a subscriber connects")
}

/// Waits for what has to happen.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(SOON, future).await else {
        panic!("{what}: not within {SOON:?}")
    };
    value
}

async fn next(subscriber: &mut impl Subscriber) -> Delivery {
    soon("a delivery", subscriber.next()).await.expect("the subscriber is connected")
}

async fn nothing_comes(subscriber: &mut impl Subscriber) {
    if let Ok(delivery) = tokio::time::timeout(A_WHILE, subscriber.next()).await {
        panic!("nothing was to come, and came: {delivery:?}");
    }
}

async fn acknowledge(subscriber: &mut impl Subscriber, tag: u64) {
    soon("an acknowledgement", subscriber.acknowledge_through(tag))
        .await
        .expect("the subscriber is connected");
}

/// Takes and acknowledges so many deliveries, one by one; their message ids.
async fn take(subscriber: &mut impl Subscriber, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let delivery = next(subscriber).await;
        acknowledge(subscriber, delivery.tag).await;
        ids.push(id(&delivery));
    }
    ids
}

/// The id of a message of the suite, which its body holds too.
fn id(delivery: &Delivery) -> String {
    let in_body = || {
        let body: Value = serde_json::from_slice(&delivery.message.body).ok()?;
        body["message_id"].as_str().map(str::to_owned)
    };
    let id = delivery.message.message_id.clone().or_else(in_body);
    id.expect("every message of the suite has an id")
}

/// Whether what arrived is what was to arrive, as far as this broker carries it.
fn same<R: Rig>(arrived: &Incoming, expected: &Incoming) -> bool {
    if R::CARRIES_PROPERTIES {
        arrived == expected
    } else {
        (&arrived.topic, &arrived.body) == (&expected.topic, &expected.body)
    }
}

/// Waits until so many messages are in the queue and not handed out.
async fn depth_is<R: Rig>(rig: &R, depth: usize) {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let found = rig.depth().await;
        if found == depth {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{found} messages wait in the queue, {depth} were expected"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
