//! From what amqprs hands over to a delivery.

use amqprs::channel::ConsumerMessage;
use postroad_transport::{Delivery, Incoming};

use crate::headers::from_table;

/// `None` for a delivery that is not whole, which amqprs promises not to hand over.
pub(crate) fn delivery(message: ConsumerMessage) -> Option<Delivery> {
    let deliver = message.deliver?;
    let properties = message.basic_properties?;
    let body = message.content?.into();
    Some(Delivery {
        tag: deliver.delivery_tag(),
        message: Incoming {
            topic: deliver.routing_key().clone(),
            body,
            message_id: properties.message_id().cloned(),
            correlation_id: properties.correlation_id().cloned(),
            reply_to: properties.reply_to().cloned(),
            app_id: properties.app_id().cloned(),
            message_type: properties.message_type().cloned(),
            headers: properties.headers().map(from_table).unwrap_or_default(),
            redelivered: deliver.redelivered(),
            ..Incoming::default()
        },
    })
}
