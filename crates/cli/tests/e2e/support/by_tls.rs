//! A Mosquitto that speaks TLS.

use postroad_testbed::Mosquitto;
use postroad_tls::testing::{Identity, Pki};

/// With its certificate and key in these files, and these lines more in its configuration.
pub(crate) async fn mosquitto_by_tls(pki: &Pki, identity: &Identity, more: &str) -> Mosquitto {
    let (ca, cert, key) = (pki.ca(), &identity.cert, &identity.key);
    Mosquitto::start_with(&format!(
        "cafile {}\ncertfile {}\nkeyfile {}\n{more}",
        ca.display(),
        cert.display(),
        key.display()
    ))
    .await
}
