//! Connecting to the broker.

use postroad_envelope::BindingPattern;
use postroad_transport::{ConnectError, Transport};

use crate::link::Link;
use crate::{Broker, FaultPoint, MemoryPublisher, MemorySubscriber, Role};

/// What a connection sets up and how much it may have under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// The queue that subscribers consume.
    pub queue: String,
    /// Patterns it is bound with.
    pub bindings: Vec<String>,
    /// The most deliveries a subscriber can have unacknowledged; at least one.
    pub prefetch: usize,
    /// The most messages a publisher can have unconfirmed; at least one.
    pub window: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            queue: "inbox".to_owned(),
            bindings: vec!["#".to_owned()],
            prefetch: 500,
            window: 256,
        }
    }
}

/// Connects to a [`Broker`]. Publishers declare and bind the queue as subscribers do, so that a request sent before
/// the first subscriber came is kept.
#[derive(Debug, Clone)]
pub struct MemoryTransport {
    broker: Broker,
    settings: MemorySettings,
}

impl MemoryTransport {
    /// Connects to `broker`. A binding that is no pattern is [`ConnectError::Topology`] when connecting.
    pub fn new(broker: Broker, settings: MemorySettings) -> Self {
        Self { broker, settings }
    }

    async fn connect(&self, role: Role) -> Result<Link, ConnectError> {
        let fault = self.broker.fault(FaultPoint::Connect(role)).await;
        if let Some(error) = fault.and_then(|fault| role.connect_error(fault)) {
            return Err(error);
        }
        let bindings = self
            .settings
            .bindings
            .iter()
            .map(|pattern| parse(pattern))
            .collect::<Result<Vec<_>, _>>()?;
        self.broker.connect(&self.settings.queue, &bindings)
    }
}

impl Transport for MemoryTransport {
    type Publisher = MemoryPublisher;
    type Subscriber = MemorySubscriber;

    async fn connect_publisher(&self) -> Result<MemoryPublisher, ConnectError> {
        Ok(MemoryPublisher::new(self.connect(Role::Publisher).await?, self.settings.window))
    }

    async fn connect_subscriber(&self) -> Result<MemorySubscriber, ConnectError> {
        let link = self.connect(Role::Subscriber).await?;
        Ok(MemorySubscriber::new(link, self.settings.queue.clone(), self.settings.prefetch))
    }
}

fn parse(pattern: &str) -> Result<BindingPattern, ConnectError> {
    BindingPattern::parse(pattern)
        .map_err(|error| ConnectError::Topology(format!("binding `{pattern}`: {error}")))
}
