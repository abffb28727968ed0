//! One connection as its owner holds it.

use postroad_transport::Disconnected;
use tokio::sync::watch;

use crate::Broker;

/// Ends its connection when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) broker: Broker,
    pub(crate) id: u64,
    ended: watch::Receiver<Option<String>>,
}

impl Link {
    pub(crate) fn new(broker: Broker, id: u64, ended: watch::Receiver<Option<String>>) -> Self {
        Self { broker, id, ended }
    }

    /// Waits until the connection ends, and says why.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the broker is gone".to_owned(),
        }
    }

    /// `Err` once the connection has ended.
    pub(crate) fn check(&self) -> Result<(), Disconnected> {
        self.ended.borrow().clone().map_or(Ok(()), |reason| Err(Disconnected(reason)))
    }

    pub(crate) fn end(&self, reason: &str) {
        self.broker.end(self.id, reason);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end("closed");
    }
}
