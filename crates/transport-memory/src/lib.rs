//! The embedded broker: topic exchange, confirms, returns and redelivery in memory.
//!
//! A [`Broker`] lives as long as its last clone, and its queues outlive every connection to it, so that a worker can
//! come and go within one process. It keeps the same promises as RabbitMQ and passes the same suite; what it does not
//! survive is the end of the process.
//!
//! For tests it fails on demand, see [`Broker::set_faults`]. It spawns no task and reads no clock but tokio's, so that
//! on a current-thread runtime with a paused clock every run with the same faults is the same run.
//!
//! ```
//! use postroad_transport::{Outgoing, Publisher, Subscriber, Transport};
//! use postroad_transport_memory::{Broker, MemorySettings, MemoryTransport};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let broker = Broker::new();
//! let transport = MemoryTransport::new(
//!     broker.clone(),
//!     MemorySettings { queue: "billing.inbox".into(), bindings: vec!["event.#".into()], ..Default::default() },
//! );
//! let publisher = transport.connect_publisher().await?;
//! publisher.publish(Outgoing { topic: "event.order.placed".into(), ..example() }).await?;
//! assert_eq!(broker.depth("billing.inbox"), 1);
//!
//! let mut subscriber = transport.connect_subscriber().await?;
//! let delivery = subscriber.next().await?;
//! subscriber.acknowledge_through(delivery.tag).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # fn example() -> Outgoing {
//! #     Outgoing { topic: String::new(), body: "{}".into(), message_id: "1".into(), message_type: None,
//! #         correlation_id: None, reply_to: None, app_id: None, timestamp: None, headers: Default::default() }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod broker;
mod exchange;
mod fault;
mod link;
mod publisher;
mod subscriber;
mod transport;

pub use broker::Broker;
pub use fault::{Fault, FaultPoint, Role};
pub use publisher::MemoryPublisher;
pub use subscriber::MemorySubscriber;
pub use transport::{MemorySettings, MemoryTransport};
