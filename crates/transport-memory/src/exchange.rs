//! The topic exchange and its queues: pure state, nothing waits here.

use std::collections::BTreeMap;

use postroad_envelope::BindingPattern;
use postroad_transport::{Incoming, Outgoing};

/// Named queues and what they are bound to.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    queues: BTreeMap<String, Queue>,
}

/// Messages by their position, so that one that comes back takes its old place.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bindings: Vec<BindingPattern>,
    ready: BTreeMap<Position, Incoming>,
    next_position: u64,
    unacknowledged: usize,
}

/// The place of a message in its queue; the second number tells copies of one message apart.
type Position = (u64, u64);

/// A message that was handed out and can still come back.
#[derive(Debug)]
pub(crate) struct Lent {
    queue: String,
    position: Position,
    pub(crate) message: Incoming,
}

impl Exchange {
    /// Makes the queue where there is none, and adds the bindings it does not have.
    pub(crate) fn declare(&mut self, queue: &str, bindings: &[BindingPattern]) {
        let queue = self.queues.entry(queue.to_owned()).or_default();
        for binding in bindings {
            if !queue.bindings.contains(binding) {
                queue.bindings.push(binding.clone());
            }
        }
    }

    pub(crate) fn routes(&self, topic: &str) -> bool {
        self.queues.values().any(|queue| queue.is_bound(topic))
    }

    /// Puts the message at the end of every queue bound for its topic.
    pub(crate) fn route(&mut self, message: &Outgoing) {
        for queue in self.queues.values_mut().filter(|queue| queue.is_bound(&message.topic)) {
            queue.next_position += 1;
            queue.ready.insert((queue.next_position, 0), incoming(message));
        }
    }

    /// The message that [`Self::lend`] would take.
    pub(crate) fn head(&self, queue: &str) -> Option<&Incoming> {
        self.queues.get(queue)?.ready.first_key_value().map(|(_, message)| message)
    }

    /// Takes the head of the queue until [`Self::settle`] or [`Self::give_back`].
    pub(crate) fn lend(&mut self, name: &str) -> Option<Lent> {
        let queue = self.queues.get_mut(name)?;
        let (position, message) = queue.ready.pop_first()?;
        queue.unacknowledged += 1;
        Some(Lent { queue: name.to_owned(), position, message })
    }

    /// Puts a copy of the head behind it.
    pub(crate) fn duplicate_head(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let Some(((place, copy), message)) = queue.ready.first_key_value() else { return };
        let (position, message) = ((*place, copy + 1), message.clone());
        queue.ready.insert(position, message);
    }

    /// The message is done with.
    pub(crate) fn settle(&mut self, lent: &Lent) {
        if let Some(queue) = self.queues.get_mut(&lent.queue) {
            queue.unacknowledged -= 1;
        }
    }

    /// The message returns to its old place, flagged.
    pub(crate) fn give_back(&mut self, lent: Lent) {
        self.settle(&lent);
        if let Some(queue) = self.queues.get_mut(&lent.queue) {
            queue.ready.insert(lent.position, Incoming { redelivered: true, ..lent.message });
        }
    }

    pub(crate) fn depth(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.ready.len())
    }

    pub(crate) fn unacknowledged(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.unacknowledged)
    }
}

impl Queue {
    fn is_bound(&self, topic: &str) -> bool {
        self.bindings.iter().any(|binding| binding.matches(topic))
    }
}

fn incoming(message: &Outgoing) -> Incoming {
    Incoming {
        topic: message.topic.clone(),
        body: message.body.clone(),
        message_id: Some(message.message_id.clone()),
        correlation_id: message.correlation_id.clone(),
        reply_to: message.reply_to.clone(),
        app_id: message.app_id.clone(),
        message_type: message.message_type.map(|kind| kind.as_str().to_owned()),
        headers: message.headers.clone(),
        redelivered: false,
        ..Incoming::default()
    }
}
