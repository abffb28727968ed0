//! One log line when something goes away and one when it is back, however many tasks notice.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::quiet::Quiet;

/// The state of one peer (a broker, a database) as seen by several parties. However often it comes and goes, that is told
/// once in ten seconds, with how often more.
#[derive(Debug)]
pub(crate) struct Outage {
    peer: &'static str,
    /// What is logged when it goes away.
    gone: &'static str,
    quiet: Quiet,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parties: BTreeSet<&'static str>,
    since: Option<Instant>,
    /// Whether it was logged that it is away.
    told: bool,
    error: Option<String>,
}

impl Outage {
    pub(crate) fn of(peer: &'static str, gone: &'static str) -> Self {
        Self { peer, gone, quiet: Quiet::default(), state: Mutex::default() }
    }

    /// `party` cannot reach the peer. The first to say so is heard, the others at debug level.
    pub(crate) fn note(&self, party: &'static str, error: &dyn fmt::Display) {
        let error = error.to_string();
        let now = Instant::now();
        let mut state = self.lock();
        state.parties.insert(party);
        state.since.get_or_insert(now);
        let more = if state.told { None } else { self.quiet.tell(self.gone, now) };
        match more {
            Some(0) => tracing::warn!(party, %error, "{}", self.gone),
            Some(more) => tracing::warn!(party, %error, more, "{}", self.gone),
            None => tracing::debug!(party, %error, "{} still not available", self.peer),
        }
        state.told |= more.is_some();
        state.error = Some(format!("{} not available: {error}", self.peer));
    }

    /// `party` reaches the peer. Costs nothing to speak of when there was no outage.
    pub(crate) fn over(&self, party: &'static str) {
        let mut state = self.lock();
        if !state.parties.remove(party) || !state.parties.is_empty() {
            return;
        }
        state.error = None;
        let told = std::mem::take(&mut state.told);
        if let Some(since) = state.since.take() {
            let outage_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            if told {
                tracing::info!(outage_ms, "{} available again", self.peer);
            } else {
                tracing::debug!(outage_ms, "{} available again", self.peer);
            }
        }
    }

    /// What was held back and is due to be told.
    pub(crate) fn due(&self, now: Instant) -> Vec<(&'static str, u64)> {
        self.quiet.due(now)
    }

    /// The same of everything, at the end.
    pub(crate) fn rest(&self, now: Instant) -> Vec<(&'static str, u64)> {
        self.quiet.rest(now)
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
        let outage = Outage::of("broker", "broker not available");
        outage.note("publisher", &"refused");
        outage.note("subscriber", &"timed out");
        assert_eq!(outage.error().as_deref(), Some("broker not available: timed out"));
        outage.over("publisher");
        assert!(outage.error().is_some());
        outage.over("subscriber");
        assert_eq!(outage.error(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_is_told_once_in_ten_seconds_with_how_often_more() {
        let outage = Outage::of("broker", "broker not available");
        let mut told = 0;
        for _ in 0..95 {
            outage.note("publisher", &"refused");
            told += u32::from(outage.lock().told);
            outage.over("publisher");
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
        assert_eq!(told, 10);
        assert_eq!(outage.rest(Instant::now()), [("broker not available", 4)]);
        // One that lasts is told of as soon as there is time for it.
        outage.note("publisher", &"refused");
        assert!(!outage.lock().told);
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        outage.note("publisher", &"refused");
        assert!(outage.lock().told);
    }
}
