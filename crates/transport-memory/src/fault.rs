//! Where the broker can be made to fail, and how.

use std::time::Duration;

use postroad_transport::{Incoming, Outgoing};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Publisher,
    /// It consumes.
    Subscriber,
}

/// A moment at which [`crate::Broker::set_faults`] is asked whether to fail.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FaultPoint<'a> {
    /// Somebody connects.
    Connect(Role),
    /// A message has arrived and no queue has it yet.
    BeforeTaking(&'a Outgoing),
    /// The queues have the message, its confirm has not left yet.
    AfterTaking(&'a Outgoing),
    /// The message is at the head of its queue and about to be handed out.
    BeforeDelivery(&'a Incoming),
    /// An acknowledgement of everything through this tag was sent and has not arrived.
    BeforeAck(u64),
    /// An acknowledgement of everything through this tag has arrived.
    AfterAck(u64),
}

/// How to fail. A fault that has no meaning at its point does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// `Connect`: turned away. `BeforeTaking`: the message is refused, no queue has it.
    Refuse,
    /// The connection ends. `Connect`: nobody answers. `BeforeAck`: the acknowledgement is lost and its sender told.
    Disconnect,
    /// `BeforeTaking`: the message is lost, `AfterTaking`: it is in its queues; either way the confirm never comes, and
    /// the publisher gives the connection up after the confirm timeout. `BeforeAck`: the acknowledgement is lost with
    /// the connection although its sender was told `Ok`.
    DropConfirm,
    /// `BeforeTaking`, `AfterTaking`, `BeforeDelivery`: the message is in the queue once more.
    Duplicate,
    /// Any point: it takes this much longer.
    Delay(Duration),
}
