//! What the broker says unasked, from amqprs's callbacks into a channel.

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::Channel;
use amqprs::connection::Connection;
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel,
};

/// One thing that the broker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Confirmed {
        tag: u64,
        multiple: bool,
        taken: bool,
    },
    /// No queue took a mandatory message. Its confirm follows.
    Returned {
        topic: String,
        message_id: Option<String>,
        reason: String,
    },
    /// The broker ended the consumer, the queue is gone for example.
    Cancelled,
    /// The broker closed channel or connection.
    Closed {
        code: u16,
        text: String,
    },
}

/// Forwards the events of a channel. It only sends: waiting in a callback would stop the task that reads.
///
/// It is dropped with that task, whatever ended it, and is the only one to keep the events' channel open. So the end of
/// the events is the sign that nothing will be heard on the channel any more.
pub(crate) struct ChannelEvents(UnboundedSender<Event>);

/// Forwards the events of the connection, without keeping the events' channel open.
pub(crate) struct ConnectionEvents(WeakUnboundedSender<Event>);

/// Not bounded, since a callback must not wait, and bounded all the same: of what is published, confirms and returns are as many
/// as the window has places; the end of a channel or a consumer comes once.
pub(crate) fn events() -> (ChannelEvents, ConnectionEvents, UnboundedReceiver<Event>) {
    let (sender, receiver) = unbounded_channel();
    let weak = sender.downgrade();
    (ChannelEvents(sender), ConnectionEvents(weak), receiver)
}

impl ChannelEvents {
    fn send(&self, event: Event) {
        // The receiver is gone when the connection was given up; then nobody asks.
        self.0.send(event).ok();
    }
}

#[async_trait]
impl ChannelCallback for ChannelEvents {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.send(Event::Closed { code: close.reply_code(), text: close.reply_text().clone() });
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.send(Event::Cancelled);
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.send(Event::Confirmed {
            tag: ack.delivery_tag(),
            multiple: ack.mutiple(),
            taken: true,
        });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.send(Event::Confirmed {
            tag: nack.delivery_tag(),
            multiple: nack.multiple(),
            taken: false,
        });
    }

    async fn publish_return(
        &mut self,
        _: &Channel,
        ret: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.send(Event::Returned {
            topic: ret.routing_key().clone(),
            message_id: properties.message_id().cloned(),
            reason: format!(
                "no queue is bound for `{}` ({} {})",
                ret.routing_key(),
                ret.reply_code(),
                ret.reply_text()
            ),
        });
    }
}

#[async_trait]
impl ConnectionCallback for ConnectionEvents {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        if let Some(events) = self.0.upgrade() {
            // As in `ChannelEvents::send`.
            events
                .send(Event::Closed { code: close.reply_code(), text: close.reply_text().clone() })
                .ok();
        }
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, _: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}
