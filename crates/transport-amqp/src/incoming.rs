//! From what amqprs hands over to a delivery.

use amqprs::channel::ConsumerMessage;
use bytes::Bytes;
use postroad_transport::{Delivery, Incoming};

use crate::dead_letters::Original;
use crate::headers::from_table;

/// Also what it came with, for whoever sends it on. `None` for a delivery that is not whole, which amqprs promises not to hand over.
pub(crate) fn delivery(message: ConsumerMessage) -> Option<(Delivery, Original)> {
    let deliver = message.deliver?;
    let properties = message.basic_properties?;
    let body: Bytes = message.content?.into();
    let delivery = Delivery {
        tag: deliver.delivery_tag(),
        message: Incoming {
            topic: deliver.routing_key().clone(),
            body: body.clone(),
            message_id: properties.message_id().cloned(),
            correlation_id: properties.correlation_id().cloned(),
            reply_to: properties.reply_to().cloned(),
            app_id: properties.app_id().cloned(),
            message_type: properties.message_type().cloned(),
            headers: properties.headers().map(from_table).unwrap_or_default(),
            redelivered: deliver.redelivered(),
            ..Incoming::default()
        },
    };
    let (exchange, topic) = (deliver.exchange().clone(), deliver.routing_key().clone());
    Some((delivery, Original { exchange, topic, properties, body }))
}
