//! The three traits.

use std::future::Future;

use crate::{ConnectError, Delivery, Disconnected, Outgoing, PublishError, SetAside};

/// Opens connections to one broker by settings that were checked when it was made.
pub trait Transport: Send + Sync + 'static {
    /// A connection for publishing.
    type Publisher: Publisher;
    /// A connection for consuming.
    type Subscriber: Subscriber;

    /// Connects, sets up the topology and is ready to publish. Ends within the settings' connect timeout.
    fn connect_publisher(
        &self,
    ) -> impl Future<Output = Result<Self::Publisher, ConnectError>> + Send;

    /// What this transport keeps by itself of messages that are not acknowledged yet; nothing, unless it says otherwise.
    fn kept(&self) -> Kept {
        Kept::default()
    }

    /// What a person has to see to although the connections work, while it lasts. Nothing by default.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Whether its subscribers join a group, see [`Subscriber::is_member`]. Then one that is dropped while it connects may be a
    /// member all the same. By default they do not.
    fn joins_group(&self) -> bool {
        false
    }

    /// Connects, sets up the topology and is subscribed. Ends within the settings' connect timeout.
    fn connect_subscriber(
        &self,
    ) -> impl Future<Output = Result<Self::Subscriber, ConnectError>> + Send;
}

/// What a transport keeps, and may have missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Messages that arrived and wait for the database.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// How often the broker had lost what it kept for us, or may have thrown some of it away.
    pub possible_gaps: u64,
}

/// One connection for publishing, with confirms.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes and waits for the broker's confirm. Many calls run at once; the transport bounds how many messages
    /// and bytes are under way, the rest wait their turn.
    ///
    /// `Ok`: the broker has taken responsibility for the message. `Err`: see [`PublishError`]. Dropping the future
    /// before it is ready means that nobody wants the message published any more: one that is not on the wire yet is
    /// never sent; of one that is, the outcome stays unknown.
    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Whether `Ok` of [`Self::publish`] means what it says. `false` only where the settings ask for a quality of service
    /// that nothing confirms.
    fn confirms(&self) -> bool {
        true
    }

    /// Waits until this connection is of no more use, and says why. From then on every publish ends as
    /// [`PublishError::Unconfirmed`].
    fn closed(&self) -> impl Future<Output = String> + Send;

    /// Closes in good order, within a few seconds at most.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// One connection for consuming, with acknowledgements.
pub trait Subscriber: Send + 'static {
    /// The next delivery, in the broker's order. Safe to cancel: no delivery is lost by dropping the future. The
    /// transport bounds how many unacknowledged deliveries there can be. After an `Err` every later call ends so too.
    fn next(&mut self) -> impl Future<Output = Result<Delivery, Disconnected>> + Send;

    /// Says which deliveries are in quarantine, before they are acknowledged. Where there is a place for such messages at the
    /// broker, they are sent there, and the broker is asked to forget each only when that place has it; until then, or
    /// after the connection was lost, [`Self::acknowledge_through`] leaves it with the broker. By default there is none.
    fn set_aside(&mut self, _messages: Vec<SetAside>) {}

    /// Acknowledges every delivery up to and including `tag`, but for those that were set aside and whose place does not
    /// have them yet: they are acknowledged when it does. After `Err` they come again.
    fn acknowledge_through(
        &mut self,
        tag: u64,
    ) -> impl Future<Output = Result<(), Disconnected>> + Send;

    /// The most deliveries that can be unacknowledged at once (prefetch).
    fn prefetch(&self) -> usize;

    /// Whether this is one of a group to each of which the broker assigns messages that no other gets, even while it is
    /// away. By default it is not.
    fn is_member(&self) -> bool {
        false
    }

    /// Leaves that group for good, so that others get what is sent from now on. After `true` [`Self::next`] hands out
    /// what was assigned already, and ends with an `Err` when there is no more; after `false` nothing has changed.
    fn leave(&mut self) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Closes in good order, within a few seconds at most. What is unacknowledged comes again.
    fn close(self) -> impl Future<Output = ()> + Send;
}
