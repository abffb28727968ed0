//! TLS as Postroad speaks it: by rustls, at least version 1.2, with the server's name always verified.
//!
//! ```
//! use postroad_tls::{Names, TlsSettings, is_loopback};
//!
//! let settings = TlsSettings { ca_file: Some("no-such-file.pem".into()), ..TlsSettings::default() };
//! let error = settings.load(Names::CONFIG).unwrap_err();
//! assert!(error.to_string().contains("`no-such-file.pem`"));
//! assert!(is_loopback("127.0.0.1") && !is_loopback("rabbit.example"));
//! ```

mod explain;
mod host;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use explain::explain;
pub use host::{bare_host, is_loopback, server_name};
pub use settings::{Names, TlsError, TlsSettings};
