//! Publishing with confirms.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postroad_transport::{Outgoing, PublishError, Publisher};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::link::Link;
use crate::outgoing::Prepared;
use crate::refusals::Patience;
use crate::settings::AmqpSettings;
use crate::trouble::Trouble;
use crate::writer::{Job, Writer};

/// Messages laid out and waiting for the window. Few: each holds its body once more.
const WAITING: usize = 16;

/// Confirms and good-bye have their own, shorter deadlines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(6);

/// A publishing connection to RabbitMQ. Dropping it closes it.
#[derive(Debug)]
pub struct AmqpPublisher {
    jobs: mpsc::Sender<Job>,
    ended: watch::Receiver<Option<String>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    frame_max: u32,
}

impl AmqpPublisher {
    /// Hands the connection, in confirm mode, to a task of its own.
    pub(crate) fn start(
        link: Link,
        settings: AmqpSettings,
        patience: Arc<Patience>,
        stall: Arc<Trouble>,
    ) -> Self {
        let frame_max = link.connection.frame_max();
        let (jobs, received) = mpsc::channel(WAITING);
        let (ended, watch) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let writer = Writer::new(link, settings, patience, stall, received);
        tokio::spawn(writer.run(stopped, ended));
        Self { jobs, ended: watch, stop: Mutex::new(Some(stop)), frame_max }
    }

    async fn ended(&self) -> String {
        reason(self.ended.clone()).await
    }

    /// What the broker takes in one frame, 0 for anything.
    pub(crate) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// As [`Publisher::publish`] of what is laid out already.
    pub(crate) async fn send_prepared(&self, message: Prepared) -> Result<(), PublishError> {
        self.send(|_| Ok(message)).await
    }

    /// Lays the message out when it is its turn: until then it takes no memory twice.
    async fn send(
        &self,
        message: impl FnOnce(u32) -> Result<Prepared, PublishError>,
    ) -> Result<(), PublishError> {
        let Ok(turn) = self.jobs.reserve().await else { return self.unconfirmed().await };
        let (waiter, outcome) = oneshot::channel();
        turn.send(Job { message: message(self.frame_max)?, waiter });
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => self.unconfirmed().await,
        }
    }

    async fn unconfirmed(&self) -> Result<(), PublishError> {
        Err(PublishError::Unconfirmed(self.ended().await))
    }
}

impl Publisher for AmqpPublisher {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        if self.ended.borrow().is_some() {
            return self.unconfirmed().await;
        }
        self.send(|frame_max| Prepared::new(message, frame_max)).await
    }

    fn closed(&self) -> impl Future<Output = String> + Send {
        self.ended()
    }

    async fn close(&self) {
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The task is gone already: then it is closed.
            stop.send(()).ok();
        }
        timeout(CLOSE_TIMEOUT, self.ended()).await.ok();
    }
}

/// Waits for the reason that the task of a connection leaves when it ends.
pub(crate) async fn reason(mut ended: watch::Receiver<Option<String>>) -> String {
    match ended.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "its task failed".to_owned(),
    }
}
