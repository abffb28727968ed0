//! Why a handshake failed, in one line that says what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// How the settings are called where the reader sets them.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The file of the authorities.
    pub ca: &'static str,
    /// The files of one's own certificate and key.
    pub identity: &'static str,
}

impl Names {
    /// Those of a runtime config.
    pub const CONFIG: Self =
        Self { ca: "`tls_ca_file`", identity: "`tls_cert_file` and `tls_key_file`" };
}

/// Whether an error, or what caused it, is one of TLS.
pub fn is_about_tls(error: &(dyn Error + 'static)) -> bool {
    cause(error).is_some()
}

/// What an error of TLS with that host means; `None` where neither it nor what caused it is one.
pub fn explain(error: &(dyn Error + 'static), host: &str, names: Names) -> Option<String> {
    let error = cause(error)?;
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem, host, names),
        rustls::Error::AlertReceived(alert) => answer(*alert, host, names),
        rustls::Error::InvalidMessage(_) => format!("what answers at `{host}` does not speak TLS"),
        rustls::Error::PeerIncompatible(problem) => {
            format!("`{host}` speaks no TLS 1.2 or 1.3 that we do ({problem:?})")
        }
        other => format!("TLS with `{host}` failed: {other}"),
    })
}

fn certificate(problem: &CertificateError, host: &str, names: Names) -> String {
    match problem {
        CertificateError::NotValidForName => {
            format!("the certificate is for other names than `{host}`")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let presented = presented.join(", ");
            format!("the certificate is for other names than `{host}` (it has: {presented})")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of `{host}` has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of `{host}` is not valid yet; is the clock right?")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of `{host}` is self-signed or from an unknown authority; \
             name the authority to trust in {}",
            names.ca
        ),
        CertificateError::Revoked => format!("the certificate of `{host}` was revoked"),
        other => format!("the certificate of `{host}` cannot be trusted: {other}"),
    }
}

fn answer(alert: AlertDescription, host: &str, names: Names) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            format!("`{host}` demands a client certificate: set {}", names.identity)
        }
        // What TLS 1.2 says then, and of much else.
        AlertDescription::HandshakeFailure => format!(
            "`{host}` broke off the TLS handshake; does it demand a client certificate ({})?",
            names.identity
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("`{host}` refuses our client certificate ({alert:?})")
        }
        AlertDescription::ProtocolVersion => format!("`{host}` speaks neither TLS 1.2 nor 1.3"),
        other => format!("`{host}` broke off TLS ({other:?})"),
    }
}

/// An `io::Error` hides what it holds from its sources.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: rustls::Error, parts: &[&str]) {
        // As it comes from a socket.
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let text = explain(&error, "bus.example", Names::CONFIG).expect("it is about TLS");
        for part in parts.iter().chain(&["`bus.example`"]) {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    }

    #[test]
    fn each_kind_of_failure_is_told_apart() {
        let invalid = rustls::Error::InvalidCertificate;
        check(invalid(CertificateError::NotValidForName), &["other names"]);
        check(invalid(CertificateError::Expired), &["expired"]);
        check(
            invalid(CertificateError::UnknownIssuer),
            &["self-signed", "unknown authority", "`tls_ca_file`"],
        );
        let alert = rustls::Error::AlertReceived;
        check(alert(AlertDescription::CertificateRequired), &["demands", "`tls_cert_file`"]);
        check(alert(AlertDescription::HandshakeFailure), &["demand", "`tls_cert_file`"]);
        check(alert(AlertDescription::UnknownCA), &["refuses our client certificate"]);
        check(alert(AlertDescription::ProtocolVersion), &["neither TLS 1.2 nor 1.3"]);
        check(
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            &["does not speak TLS"],
        );
    }

    #[test]
    fn what_is_not_about_tls_is_not_explained() {
        let error = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!is_about_tls(&error));
        assert_eq!(explain(&error, "bus.example", Names::CONFIG), None);
    }
}
