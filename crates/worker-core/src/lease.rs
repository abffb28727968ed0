//! Until when the rows of one claim may be sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Settings;

/// The lease of one claim as this process sees it: by its own clock, and over well before it is over in the database.
pub(crate) struct Lease {
    publish_time: Duration,
    renew_interval: Duration,
    until: Mutex<Instant>,
}

impl Lease {
    /// `claimed_at`: before the database was asked.
    pub(crate) fn new(settings: &Settings, claimed_at: Instant) -> Self {
        let publish_time = settings.publish_time();
        Self {
            publish_time,
            renew_interval: settings.renew_interval(),
            until: Mutex::new(claimed_at + publish_time),
        }
    }

    /// The database has renewed it, asked at that time.
    pub(crate) fn renewed(&self, asked_at: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + self.publish_time;
    }

    /// From then on nothing is sent.
    pub(crate) fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to renew it.
    pub(crate) fn renew_at(&self) -> Instant {
        self.until() + self.renew_interval - self.publish_time
    }

    /// Waits until the row that is next may be sent: at once, or never. A process that was stopped for a while may find
    /// its rows in the hands of another, whatever its timers say by then.
    pub(crate) async fn allows(&self) {
        if Instant::now() >= self.until() {
            std::future::pending::<()>().await;
        }
    }
}
