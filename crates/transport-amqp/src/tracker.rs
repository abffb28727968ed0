//! Which published messages wait for their confirm.

use std::collections::BTreeMap;
use std::mem;

use postroad_fault_points::{Bug, has};
use tokio::time::Instant;

/// Messages in flight, by the delivery tag that the broker gives them by counting.
///
/// `T` is whoever waits for the outcome.
#[derive(Debug)]
pub(crate) struct Tracker<T> {
    in_flight: BTreeMap<u64, InFlight<T>>,
    last_tag: u64,
    bytes: usize,
}

#[derive(Debug)]
struct InFlight<T> {
    waiter: T,
    size: usize,
    sent: Instant,
    /// What a return would say, for a mandatory message.
    returnable: Option<ReturnKey>,
    returned: Option<String>,
}

/// All that a return tells of which message it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnKey {
    pub(crate) message_id: Option<String>,
    pub(crate) topic: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker has it.
    Taken,
    /// The broker has not.
    Refused(String),
}

/// The broker answered for a message that was never sent, so the counting is not the broker's any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfStep;

impl<T> Tracker<T> {
    pub(crate) fn new() -> Self {
        Self { in_flight: BTreeMap::new(), last_tag: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one more message may be sent: the last one may be too large for the window, if it fits by number.
    pub(crate) fn has_room(&self, window: usize, window_bytes: usize) -> bool {
        self.len() < window && self.bytes < window_bytes
    }

    /// When the oldest message in flight was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|(_, message)| message.sent)
    }

    /// Whoever waits for the only message in flight; `None` where there are more or none.
    pub(crate) fn take_only(&mut self) -> Option<T> {
        if self.in_flight.len() != 1 {
            return None;
        }
        self.bytes = 0;
        self.in_flight.pop_first().map(|(_, message)| message.waiter)
    }

    /// To be called before the message is sent, in the order of sending.
    pub(crate) fn insert(
        &mut self,
        waiter: T,
        size: usize,
        sent: Instant,
        returnable: Option<ReturnKey>,
    ) {
        self.last_tag += 1;
        self.bytes += size;
        self.in_flight
            .insert(self.last_tag, InFlight { waiter, size, sent, returnable, returned: None });
    }

    /// No queue took a message. Where several in flight could be meant, it counts for all of them: one that is sent
    /// again arrives twice at worst, one that is taken for sent would be lost.
    pub(crate) fn returned(&mut self, key: &ReturnKey, reason: &str) -> Result<(), OutOfStep> {
        let mut known = false;
        for message in
            self.in_flight.values_mut().filter(|message| message.returnable.as_ref() == Some(key))
        {
            message.returned.get_or_insert_with(|| reason.to_owned());
            known = true;
        }
        if known { Ok(()) } else { Err(OutOfStep) }
    }

    /// The broker's answer for `tag`, or for everything through it. Tag 0 then means everything.
    pub(crate) fn confirmed(
        &mut self,
        tag: u64,
        multiple: bool,
        taken: bool,
    ) -> Result<Vec<(T, Outcome)>, OutOfStep> {
        let tag = if has(Bug::DeliveryTagOffByOne) && tag > 0 {
            tag.saturating_add(1).min(self.last_tag)
        } else {
            tag
        };
        let settled = if multiple {
            let through = if tag == 0 { self.last_tag } else { tag };
            if through > self.last_tag {
                return Err(OutOfStep);
            }
            let rest = self.in_flight.split_off(&(through + 1));
            mem::replace(&mut self.in_flight, rest).into_values().collect()
        } else {
            self.in_flight.remove(&tag).into_iter().collect::<Vec<_>>()
        };
        if settled.is_empty() {
            return Err(OutOfStep);
        }
        self.bytes -= settled.iter().map(|message| message.size).sum::<usize>();
        Ok(settled.into_iter().map(|message| message.settle(taken)).collect())
    }
}

impl<T> InFlight<T> {
    fn settle(self, taken: bool) -> (T, Outcome) {
        let outcome = match self.returned {
            Some(reason) => Outcome::Refused(reason),
            None if taken => Outcome::Taken,
            None => Outcome::Refused("it answered with a negative confirm".to_owned()),
        };
        (self.waiter, outcome)
    }
}

#[cfg(test)]
mod tests;
