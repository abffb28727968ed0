//! Why a handshake failed, in one line that says what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, OtherError};

use crate::Names;

/// What an error of TLS with that peer means, such as "`rabbit-1`" or "the database"; `None` where neither it nor what
/// caused it is one.
pub fn explain(error: &(dyn Error + 'static), peer: &str, names: Names) -> Option<String> {
    let error = cause(error)?;
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem, peer, names),
        rustls::Error::AlertReceived(alert) => answer(*alert, peer, names),
        rustls::Error::InvalidMessage(_) => format!("what answers at {peer} does not speak TLS"),
        rustls::Error::PeerIncompatible(problem) => {
            format!("{peer} speaks no TLS 1.2 or 1.3 that we do ({problem:?})")
        }
        other => format!("TLS with {peer} failed: {other}"),
    })
}

fn certificate(problem: &CertificateError, peer: &str, names: Names) -> String {
    match problem {
        CertificateError::NotValidForName => {
            format!("the certificate is for other names than {peer}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            format!("the certificate is for other names than `{expected}` (it has: {presented})")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {peer} has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {peer} is not valid yet; is the clock right?")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {peer} is self-signed or from an unknown authority; \
             name the authority to trust in `{}`",
            names.ca
        ),
        CertificateError::Revoked => format!("the certificate of {peer} was revoked"),
        // What `openssl req -x509` makes: an authority, which no server may be.
        CertificateError::Other(problem) if is_authority(problem) => format!(
            "the certificate of {peer} is self-signed, or an authority's own; give it one that an authority has \
             signed, and name that authority in `{}`",
            names.ca
        ),
        other => format!("the certificate of {peer} cannot be trusted: {other}"),
    }
}

fn is_authority(OtherError(problem): &OtherError) -> bool {
    matches!(problem.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn answer(alert: AlertDescription, peer: &str, names: Names) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            format!("{peer} demands a client certificate: set `{}` and `{}`", names.cert, names.key)
        }
        // What TLS 1.2 says then, and of much else.
        AlertDescription::HandshakeFailure => format!(
            "{peer} broke off the TLS handshake; does it demand a client certificate (`{}`, `{}`)?",
            names.cert, names.key
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        // Of an authority that shares its name with the right one.
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            format!("{peer} refuses our client certificate ({alert:?})")
        }
        AlertDescription::ProtocolVersion => format!("{peer} speaks neither TLS 1.2 nor 1.3"),
        other => format!("{peer} broke off TLS ({other:?})"),
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
    use std::sync::Arc;

    use super::*;

    #[track_caller]
    fn check(error: rustls::Error, parts: &[&str]) {
        // As it comes from a socket.
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let text = explain(&error, "`bus.example`", Names::CONFIG).expect("it is about TLS");
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
        let authority = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        check(
            invalid(CertificateError::Other(authority)),
            &["self-signed, or an authority's own", "`tls_ca_file`"],
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
        assert_eq!(explain(&error, "`bus.example`", Names::CONFIG), None);
    }
}
