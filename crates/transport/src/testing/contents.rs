//! What a message can carry.

use bytes::Bytes;
use serde_json::json;

use super::publishing::{arriving, assert_arrives, publish};
use super::{Rig, acknowledge, event, next, publisher, request, same, subscriber};
use crate::{Outgoing, PublishError};

/// The transport never looks into a body.
pub async fn bodies_of_any_kind_arrive_whole<R: Rig>(rig: &R) {
    let bodies = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from((0..=255).collect::<Vec<u8>>()),
        Bytes::from_static(b"{\"half\":"),
        Bytes::from_static("\u{feff}gr\u{fc}n \u{1f600}".as_bytes()),
        Bytes::from((0..1 << 20).map(|index: u32| (index % 251) as u8).collect::<Vec<u8>>()),
    ];
    let publisher = publisher(rig).await;
    let mut subscriber = subscriber(rig).await;
    for body in bodies {
        let message = Outgoing { body, ..event("event.suite.thing.made") };
        publish(&publisher, message.clone()).await.expect("it is confirmed");
        let delivery = next(&mut subscriber).await;
        let whole = same::<R>(&delivery.message, &arriving(&message));
        assert!(whole, "a body of {} bytes", message.body.len());
        acknowledge(&mut subscriber, delivery.tag).await;
    }
}

/// AMQP's limit, and the contract's.
pub async fn a_topic_of_255_bytes_arrives<R: Rig>(rig: &R) {
    let topic = format!("event.suite.{}", "x".repeat(243));
    assert_eq!(topic.len(), 255);
    arrives(rig, event(&topic)).await;
}

/// A header is any JSON.
pub async fn headers_of_every_json_type_arrive<R: Rig>(rig: &R) {
    let headers = json!({
        "": "an empty name",
        "null": null,
        "true": true,
        "false": false,
        "zero": 0,
        "smallest": i64::MIN,
        "largest": i64::MAX,
        "float": -0.25,
        "tiny": 5e-324,
        "empty": "",
        "unicode": "gr\u{fc}n \u{1f600} \u{4e2d}",
        "controls": "\u{0}\n\u{7f}",
        "long": "x".repeat(20_000),
        "array": [1, "two", null, [3.5, []], { "four": 4 }],
        "object": { "a": { "b": { "c": [ { "d": {} } ] } } },
        "n".repeat(255): "a name of 255 bytes",
    });
    let headers = headers.as_object().expect("an object").clone();
    arrives(rig, Outgoing { headers, ..event("event.suite.thing.made") }).await;
}

async fn arrives<R: Rig>(rig: &R, message: Outgoing) {
    publish(&publisher(rig).await, message.clone()).await.expect("it is confirmed");
    assert_arrives::<R>(&next(&mut subscriber(rig).await).await.message, &message);
}

/// An id is up to 255 characters, so up to 1,020 bytes; what a broker's own field cannot hold is in the body.
pub async fn a_message_id_over_255_bytes_is_delivered<R: Rig>(rig: &R) {
    let message =
        Outgoing { message_id: "\u{1f600}".repeat(255), ..request("suite.request.thing.make") };
    publish(&publisher(rig).await, message.clone()).await.expect("it is confirmed");
    let arrived = next(&mut subscriber(rig).await).await.message;
    let with_id = arriving(&message);
    let without_id = crate::Incoming { message_id: None, ..with_id.clone() };
    assert!(same::<R>(&arrived, &with_id) || arrived == without_id, "{arrived:?}");
}

/// A refusal finds its message even where the broker does not know the id.
pub async fn a_message_id_over_255_bytes_is_refused_where_it_must_be<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    let message =
        |letter: &str, topic: &str| Outgoing { message_id: letter.repeat(300), ..request(topic) };
    let (one, two, three) = tokio::join!(
        publish(&publisher, message("a", "nobody.request.thing.make")),
        publish(&publisher, message("b", "suite.request.thing.make")),
        publish(&publisher, message("c", "nobody.request.thing.take")),
    );
    assert!(matches!(one, Err(PublishError::Refused(_))), "{one:?}");
    assert_eq!(two, Ok(()));
    assert!(matches!(three, Err(PublishError::Refused(_))), "{three:?}");
}

/// One bad message costs no other anything.
pub async fn what_cannot_be_sent_is_unsendable_and_the_connection_lives_on<R: Rig>(rig: &R) {
    let publisher = publisher(rig).await;
    for message in rig.unsendable() {
        let outcome = publish(&publisher, message).await;
        assert!(matches!(outcome, Err(PublishError::Unsendable(_))), "{outcome:?}");
        assert_eq!(publish(&publisher, event("event.suite.thing.made")).await, Ok(()));
    }
}
