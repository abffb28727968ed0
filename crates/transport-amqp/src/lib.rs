//! RabbitMQ by amqprs, with publisher confirms.
//!
//! [`AmqpTransport`] opens one connection for each publisher and each subscriber, with one channel on it, owned by one
//! task. Connection, channel, topology and consumer live and die together: whatever ends one of them ends them all, and
//! the engine connects again.
//!
//! ```no_run
//! use postroad_transport::{Publisher, Subscriber, Transport};
//! use postroad_transport_amqp::{AmqpSettings, AmqpTransport, TlsSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = AmqpTransport::new(AmqpSettings {
//!     hosts: vec![("rabbit-1".into(), 5671), ("rabbit-2".into(), 5671)],
//!     username: "billing".into(),
//!     password: "secret".into(),
//!     tls: Some(TlsSettings::default()),
//!     queue: "billing.inbox".into(),
//!     bindings: vec!["billing.request.#".into(), "event.#".into()],
//!     ..AmqpSettings::default()
//! })?;
//! let mut subscriber = transport.connect_subscriber().await?;
//! let delivery = subscriber.next().await?;
//! // Commit what it says, then:
//! subscriber.acknowledge_through(delivery.tag).await?;
//! # Ok(())
//! # }
//! ```
//!
//! amqprs decodes nested header tables by recursion: run on a tokio runtime with `thread_stack_size(64 << 20)`, or a
//! message whose headers are nested some thousand levels deep overflows the stack of a worker thread. The memory is
//! taken when it is used only.

mod settings;
mod transport;

mod publisher;
mod subscriber;

mod breaker;
mod check;
mod connect;
mod dead_letters;
mod events;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod incoming;
mod link;
mod outgoing;
mod probe;
mod pump;
mod refusals;
mod rescue;
mod rpc;
mod tls;
mod topology;
mod tracker;
mod trouble;
mod writer;

pub use postroad_tls::TlsSettings;

pub use link::abandoned_connections;
pub use publisher::AmqpPublisher;
pub use settings::{AmqpSettings, Password, QueueType, SettingsError};
pub use subscriber::AmqpSubscriber;
pub use transport::AmqpTransport;
