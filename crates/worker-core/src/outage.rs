//! One log line when something goes away and one when it is back, however many tasks notice.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The state of one peer (a broker, a database) as seen by several parties.
#[derive(Debug)]
pub(crate) struct Outage {
    peer: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parties: BTreeSet<&'static str>,
    since: Option<Instant>,
    error: Option<String>,
}

impl Outage {
    pub(crate) fn of(peer: &'static str) -> Self {
        Self { peer, state: Mutex::default() }
    }

    /// `party` cannot reach the peer. The first to say so is heard, the others at debug level.
    pub(crate) fn note(&self, party: &'static str, error: &dyn fmt::Display) {
        let error = error.to_string();
        let mut state = self.lock();
        state.parties.insert(party);
        if state.since.is_none() {
            state.since = Some(Instant::now());
            tracing::warn!(party, %error, "{} not available, trying again until it is", self.peer);
        } else {
            tracing::debug!(party, %error, "{} still not available", self.peer);
        }
        state.error = Some(format!("{} not available: {error}", self.peer));
    }

    /// `party` reaches the peer. Costs nothing to speak of when there was no outage.
    pub(crate) fn over(&self, party: &'static str) {
        let mut state = self.lock();
        if !state.parties.remove(party) || !state.parties.is_empty() {
            return;
        }
        state.error = None;
        if let Some(since) = state.since.take() {
            let outage_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(outage_ms, "{} available again", self.peer);
        }
    }

    /// What the outage is, while it lasts.
    pub(crate) fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid at every step, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_over_when_the_last_party_says_so() {
        let outage = Outage::of("broker");
        outage.note("publisher", &"refused");
        outage.note("subscriber", &"timed out");
        assert_eq!(outage.error().as_deref(), Some("broker not available: timed out"));
        outage.over("publisher");
        assert!(outage.error().is_some());
        outage.over("subscriber");
        assert_eq!(outage.error(), None);
    }
}
