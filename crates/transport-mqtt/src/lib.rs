//! MQTT 3.1.1 and 5 by paho-mqtt, with an inbound spool on disk.
//!
//! Paho acknowledges a message when its callback returns, so the callback returns when the message is in the spool, a
//! log on local disk. [`MqttSubscriber`] hands out what is in the spool and removes what is acknowledged, so that a
//! message is at the broker or in the spool until it is stored. [`MqttPublisher`] takes a message for published when the
//! broker has acknowledged it.
//!
//! ```no_run
//! use postroad_transport::{Publisher, Subscriber, Transport};
//! use postroad_transport_mqtt::{MqttSettings, MqttTransport, TlsSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = MqttTransport::new(MqttSettings {
//!     hosts: vec![("mqtt-1".into(), 8883), ("mqtt-2".into(), 8883)],
//!     username: Some("billing".into()),
//!     password: Some("secret".into()),
//!     tls: Some(TlsSettings::default()),
//!     client_id: "billing".into(),
//!     inbound_topics: vec!["edgex/events/#".into()],
//!     spool_dir: "/var/lib/billing/spool".into(),
//!     ..MqttSettings::default()
//! })?;
//! let mut subscriber = transport.connect_subscriber().await?;
//! let delivery = subscriber.next().await?;
//! // Commit what it says, then:
//! subscriber.acknowledge_through(delivery.tag).await?;
//! # Ok(())
//! # }
//! ```
//!
//! TLS is spoken by rustls and not by paho, which talks to a socket of this process; no OpenSSL is linked.
//!
//! Paho logs the options of a connection, and the password among them, at the level `debug`: do not let the target
//! `paho_mqtt` log more than `info`.

mod settings;
mod topic;
mod transport;

mod publisher;
mod writer;

#[doc(hidden)]
pub mod fuzzing;
mod inlet;
mod link;
#[doc(hidden)]
pub mod measure;
mod reader;
mod spool;
mod subscribe;
mod subscriber;

mod check;
mod client;
mod connect;
mod door;
mod drain;
mod dropped;
mod relay;
mod wire;

pub use postroad_tls::TlsSettings;

pub use publisher::MqttPublisher;
pub use settings::{MqttSettings, Password, SettingsError, SpoolSync};
pub use spool::SpoolDepth;
pub use subscriber::MqttSubscriber;
pub use transport::MqttTransport;
