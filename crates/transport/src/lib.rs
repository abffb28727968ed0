//! What a broker client must promise so that the engine can be the same for every broker.
//!
//! A [`Transport`] opens a [`Publisher`] or a [`Subscriber`]. Each is one unit of connection, channel, topology and
//! consumer: it lives and dies as a whole, never reconnects by itself and never retries a message. Reconnecting and
//! retrying are the engine's, so that attempts do not multiply.
//!
//! ```
//! use postroad_transport::{Outgoing, PublishError, Publisher, Transport};
//!
//! /// Publishes over a connection of its own. `Ok`: the broker has it.
//! async fn publish_once(transport: &impl Transport, message: Outgoing) -> Result<(), PublishError> {
//!     let publisher = transport
//!         .connect_publisher()
//!         .await
//!         .map_err(|error| PublishError::Unconfirmed(error.to_string()))?;
//!     let outcome = publisher.publish(message).await;
//!     publisher.close().await;
//!     outcome
//! }
//! ```
//!
//! ```
//! use postroad_transport::{ConnectError, Delivery, Disconnected, Subscriber, Transport};
//!
//! /// Reads what waits, commits it, and only then lets the broker forget it.
//! async fn drain(broker: &impl Transport, commit: impl Fn(&Delivery)) -> Result<Disconnected, ConnectError> {
//!     let mut subscriber = broker.connect_subscriber().await?;
//!     loop {
//!         match subscriber.next().await {
//!             Ok(delivery) => {
//!                 commit(&delivery);
//!                 if let Err(lost) = subscriber.acknowledge_through(delivery.tag).await {
//!                     return Ok(lost);
//!                 }
//!             }
//!             Err(lost) => return Ok(lost),
//!         }
//!     }
//! }
//! ```
//!
//! With the feature `testing`, the module `testing` holds the suite of promises that every transport passes.

mod error;
mod finding;
mod message;
mod traits;

#[cfg(feature = "testing")]
pub mod testing;

pub use error::{ConnectError, Disconnected, PublishError};
pub use finding::{Finding, Level, Wants};
pub use message::{Delivery, Incoming, MqttFlags, Outgoing, SetAside, Undecodable};
pub use traits::{Kept, Publisher, Subscriber, Transport};
