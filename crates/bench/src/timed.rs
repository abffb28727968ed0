//! A transport that notes when each message was confirmed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use postroad_transport::{ConnectError, Outgoing, PublishError, Publisher, Transport};

use crate::feed::now;

/// How long a confirm may be waited for after the last row.
const PATIENCE: Duration = Duration::from_secs(30);

/// When messages were confirmed, by their ids.
#[derive(Clone, Default)]
pub(crate) struct Confirms(Arc<Mutex<HashMap<String, Duration>>>);

impl Confirms {
    /// The times of these messages, once all are confirmed.
    pub(crate) async fn of<'i>(
        &self,
        ids: impl Iterator<Item = &'i str> + Clone,
    ) -> Result<Vec<Duration>> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let times: Option<Vec<_>> = {
                let confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                ids.clone().map(|id| confirmed.get(id).copied()).collect()
            };
            if let Some(times) = times {
                return Ok(times);
            }
            ensure!(tokio::time::Instant::now() < until, "not every row was confirmed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) struct Timed<T> {
    inner: Arc<T>,
    confirms: Confirms,
}

impl<T> Timed<T> {
    pub(crate) fn new(inner: Arc<T>, confirms: Confirms) -> Self {
        Self { inner, confirms }
    }
}

impl<T: Transport> Transport for Timed<T> {
    type Publisher = Timed<T::Publisher>;
    type Subscriber = T::Subscriber;

    async fn connect_publisher(&self) -> Result<Self::Publisher, ConnectError> {
        let inner = Arc::new(self.inner.connect_publisher().await?);
        Ok(Timed { inner, confirms: self.confirms.clone() })
    }

    async fn connect_subscriber(&self) -> Result<Self::Subscriber, ConnectError> {
        self.inner.connect_subscriber().await
    }
}

impl<P: Publisher> Publisher for Timed<P> {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let id = message.message_id.clone();
        self.inner.publish(message).await?;
        let confirmed_at = now();
        let mut confirms = self.confirms.0.lock().unwrap_or_else(PoisonError::into_inner);
        confirms.entry(id).or_insert(confirmed_at);
        Ok(())
    }

    fn confirms(&self) -> bool {
        self.inner.confirms()
    }

    async fn closed(&self) -> String {
        self.inner.closed().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
