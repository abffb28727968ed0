//! A connection with its channel, and its end.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amqprs::channel::Channel;
use amqprs::connection::Connection;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::events::Event;
use crate::rpc::call;
use crate::trouble::Seldom;

/// For the broker's answer to a good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// After it a connection that still holds its socket is counted as abandoned.
const GONE_TIMEOUT: Duration = Duration::from_secs(30);

static ABANDONED: AtomicU64 = AtomicU64::new(0);

/// Of connections that do not end.
static LINES: Seldom = Seldom::new();

/// How many connections of this process were given up more than half a minute ago and still hold a socket and a task.
///
/// amqprs cannot end a connection whose peer has stopped reading; the kernel does, many minutes later. A process that
/// collects dozens of them is better restarted.
pub fn abandoned_connections() -> u64 {
    ABANDONED.load(Ordering::Relaxed)
}

/// A connection, its one channel and what it says. Owned by one task; any error on it is the end of all of it.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
    pub(crate) events: UnboundedReceiver<Event>,
}

impl Link {
    /// Why nothing more will come, when an event or the lack of one says so.
    pub(crate) fn ended(event: Option<Event>) -> Option<String> {
        match event {
            None => Some("the connection broke or missed its heartbeats".to_owned()),
            Some(Event::Closed { code, text }) => {
                Some(format!("closed by the broker: {code} {text}"))
            }
            Some(Event::Cancelled) => {
                Some("the broker ended the consumer: its queue was deleted or moved".to_owned())
            }
            Some(Event::Confirmed { .. } | Event::Returned { .. }) => None,
        }
    }

    /// Says good-bye and waits for the answer for two seconds at most.
    pub(crate) async fn close(self) {
        let Self { connection, channel, events } = self;
        let goodbye = connection.clone();
        // An error means that the connection is closed already, which is what is wanted.
        call(Instant::now() + CLOSE_TIMEOUT, async move { goodbye.close().await }).await.ok();
        drop(events);
        tokio::spawn(see_off(connection, channel));
    }

    /// Gives the connection up without waiting for anything.
    pub(crate) fn abandon(self) {
        tokio::spawn(self.close());
    }
}

/// Drops the connection and counts it for as long as its socket stays open.
async fn see_off(connection: Connection, channel: Channel) {
    drop(channel);
    let mut ended = pin!(writer_has_ended(&connection));
    if timeout(GONE_TIMEOUT, &mut ended).await.is_err() {
        let abandoned = ABANDONED.fetch_add(1, Ordering::Relaxed) + 1;
        if LINES.tell(1, Instant::now()).is_some() {
            warn!(
                connection = connection.connection_name(),
                abandoned, "a connection that was given up does not end"
            );
        }
        ended.await;
        ABANDONED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The task that writes takes what is sent until it ends, and nothing else tells whether it lives. What this sends
/// has no meaning after a close.
async fn writer_has_ended(connection: &Connection) {
    while connection.unblocked().await.is_ok() {
        sleep(Duration::from_millis(500)).await;
    }
}
