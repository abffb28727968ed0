//! Handing out what is in the spool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_transport::{Delivery, Disconnected, Incoming, Subscriber};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::drain::Drain;
use crate::link::Link;
use crate::reader::Reader;
use crate::spool::{Spool, Spooled};

/// After so long without a message the broker has no more for a subscriber that has unsubscribed.
const QUIET: Duration = Duration::from_millis(500);

/// Hands out what is in the spool, in the order of arrival, and removes what is acknowledged. Dropping it ends the
/// connection behind it.
///
/// Acknowledging takes no connection: it works after [`Subscriber::next`] has failed, too. A message is `redelivered`
/// if the broker says so or it was handed out before; if it was left by an earlier run, then it may have been.
pub struct MqttSubscriber {
    source: Source,
    reader: Reader,
    /// The tag of the last delivery.
    last_tag: u64,
    /// Whether it has unsubscribed and hands out what still comes.
    leaving: bool,
    failed: Option<Disconnected>,
}

/// Where messages come from.
pub(crate) enum Source {
    /// From the broker, through the spool.
    Link { link: Arc<Link>, lost: watch::Receiver<Option<String>> },
    /// The broker cannot be reached, for this reason; what is in the spool can be stored meanwhile.
    Spool { reason: String, drain: Drain },
}

impl Source {
    pub(crate) fn link(link: Arc<Link>) -> Self {
        let lost = link.lost();
        Self::Link { link, lost }
    }

    /// Waits until nothing more is to be expected, and says why.
    async fn ended(&mut self) -> String {
        match self {
            Self::Link { lost, .. } => match lost.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => "the client's thread failed".to_owned(),
            },
            Self::Spool { reason, drain } => {
                drain.over().await;
                reason.clone()
            }
        }
    }

    /// Why nothing more can come when the spool is empty; `None` where it can.
    fn dry(&self) -> Option<&str> {
        match self {
            Self::Link { .. } => None,
            Self::Spool { reason, .. } => Some(reason),
        }
    }
}

impl MqttSubscriber {
    pub(crate) fn new(spool: Arc<Spool>, source: Source, prefetch: usize) -> Self {
        Self {
            source,
            reader: Reader::new(spool, prefetch),
            last_tag: 0,
            leaving: false,
            failed: None,
        }
    }

    fn fail(&mut self, reason: String) -> Disconnected {
        self.failed.insert(Disconnected(reason)).clone()
    }
}

impl Subscriber for MqttSubscriber {
    async fn next(&mut self) -> Result<Delivery, Disconnected> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let dry = self.source.dry().map(str::to_owned);
        let quiet = async {
            if !self.leaving {
                std::future::pending::<()>().await;
            }
            sleep(QUIET).await;
        };
        let found = tokio::select! {
            biased;
            reason = self.source.ended() => Err(reason),
            found = self.reader.next(dry.is_none()) => found,
            () = quiet => Err("left the shared group".to_owned()),
        };
        match found {
            Ok(Some((spooled, again))) => {
                self.last_tag += 1;
                Ok(delivery(self.last_tag, spooled, again))
            }
            Ok(None) => Err(self.fail(dry.unwrap_or_default())),
            Err(reason) => Err(self.fail(reason)),
        }
    }

    async fn acknowledge_through(&mut self, tag: u64) -> Result<(), Disconnected> {
        let before = self.last_tag - self.reader.open() as u64;
        let through = tag.min(self.last_tag);
        let Ok(count @ 1..) = usize::try_from(through.saturating_sub(before)) else {
            return Ok(());
        };
        match self.reader.remove(count).await {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.fail(reason)),
        }
    }

    fn prefetch(&self) -> usize {
        self.reader.prefetch()
    }

    fn is_member(&self) -> bool {
        matches!(&self.source, Source::Link { link, .. } if link.is_shared())
    }

    async fn leave(&mut self) -> bool {
        if let Source::Link { link, .. } = &self.source
            && link.is_shared()
        {
            self.leaving = link.unsubscribe().await;
        }
        self.leaving
    }

    async fn close(self) {
        if let Source::Link { link, .. } = &self.source {
            link.close("closed").await;
        }
    }
}

impl fmt::Debug for MqttSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttSubscriber")
            .field("last_tag", &self.last_tag)
            .field("unacknowledged", &self.reader.open())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn delivery(tag: u64, spooled: Spooled, again: bool) -> Delivery {
    let record = spooled.record;
    Delivery {
        tag,
        message: Incoming {
            topic: record.topic,
            body: record.body,
            redelivered: again || record.flags.dup,
            mqtt: Some(record.flags),
            arrival_id: Some(record.id.to_string()),
            ..Incoming::default()
        },
    }
}
