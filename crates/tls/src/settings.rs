//! From files in PEM to a configuration of rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Whom to trust, and as whom to appear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// PEM file of the authorities to trust, and no others. Without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our own certificate, and of those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// PEM file of our own certificate's key.
    pub key_file: Option<PathBuf>,
}

/// How the settings are called where they are set.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// [`TlsSettings::ca_file`].
    pub ca: &'static str,
    /// [`TlsSettings::cert_file`].
    pub cert: &'static str,
    /// [`TlsSettings::key_file`].
    pub key: &'static str,
}

impl Names {
    /// In a runtime config.
    pub const CONFIG: Self = Self { ca: "tls_ca_file", cert: "tls_cert_file", key: "tls_key_file" };
    /// In the URL of a database, of either kind.
    pub const URL: Self = Self { ca: "ssl-ca", cert: "ssl-cert", key: "ssl-key" };
}

/// Why TLS cannot be spoken by these settings. Never holds anything of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate needs its key, and the other way round.
    #[error("`{}` and `{}` have to be given together", .0.cert, .0.key)]
    HalfIdentity(Names),
    /// A file could not be read.
    #[error("cannot read `{setting}` `{path}`: {problem}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// Where it was looked for.
        path: String,
        /// Why not.
        problem: String,
    },
    /// A file holds something else.
    #[error("`{setting}` `{path}` holds no {what} in PEM")]
    NotPem {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
    },
    /// A file is PEM, and its content is of no use.
    #[error("`{setting}` `{path}` cannot be used: {problem}")]
    Unusable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The two files do not belong together.
    #[error("the key in `{key}` does not match the certificate in `{cert}`")]
    KeyMismatch {
        /// The file of the key.
        key: String,
        /// The file of the certificate.
        cert: String,
    },
    /// There is nobody to trust.
    #[error("this system trusts no authority: name the server's in `{}`", .0.ca)]
    NobodyTrusted(Names),
    /// No certificate could be for that.
    #[error("`{host}` is neither a host name nor an address")]
    Host {
        /// The host as it was given.
        host: String,
    },
}

impl TlsSettings {
    /// Whether they fit together, without a look at the files.
    pub fn check(&self, names: Names) -> Result<(), TlsError> {
        if self.cert_file.is_some() == self.key_file.is_some() {
            Ok(())
        } else {
            Err(TlsError::HalfIdentity(names))
        }
    }

    /// Reads the files, anew each time, so that what was exchanged is found. This blocks.
    ///
    /// After `Ok` every connection by it verifies the server's certificate and name, and speaks TLS 1.2 or 1.3.
    pub fn load(&self, names: Names) -> Result<Arc<ClientConfig>, TlsError> {
        self.check(names)?;
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots(names)?);
        let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable {
            setting: names.ca,
            path: text(self.ca_file.as_deref().unwrap_or(Path::new(""))),
            problem: error.to_string(),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_webpki_verifier(verifier);
        let (Some(cert_file), Some(key_file)) = (&self.cert_file, &self.key_file) else {
            return Ok(Arc::new(config.with_no_client_auth()));
        };
        let chain = certificates(names.cert, cert_file)?;
        let key = key(names.key, key_file)?;
        let config = config.with_client_auth_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::KeyMismatch { key: text(key_file), cert: text(cert_file) }
            }
            other => TlsError::Unusable {
                setting: names.cert,
                path: text(cert_file),
                problem: other.to_string(),
            },
        })?;
        Ok(Arc::new(config))
    }

    fn roots(&self, names: Names) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca_file else {
            // Some of a system's certificates are older than any standard; the others do.
            let (added, _) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if added > 0 { Ok(roots) } else { Err(TlsError::NobodyTrusted(names)) };
        };
        for certificate in certificates(names.ca, file)? {
            roots.add(certificate).map_err(|error| TlsError::Unusable {
                setting: names.ca,
                path: text(file),
                problem: error.to_string(),
            })?;
        }
        Ok(roots)
    }
}

fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(setting, file, "certificate", &error))?;
    if found.is_empty() { Err(not_pem(setting, file, "certificate")) } else { Ok(found) }
}

fn key(setting: &'static str, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| pem_error(setting, file, "private key", &error))
}

/// Nothing of the file itself is repeated: it may be a key.
fn pem_error(
    setting: &'static str,
    file: &Path,
    what: &'static str,
    error: &pem::Error,
) -> TlsError {
    match error {
        pem::Error::Io(error) => {
            TlsError::File { setting, path: text(file), problem: error.to_string() }
        }
        _ => not_pem(setting, file, what),
    }
}

fn not_pem(setting: &'static str, file: &Path, what: &'static str) -> TlsError {
    TlsError::NotPem { setting, path: text(file), what }
}

fn text(file: &Path) -> String {
    file.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// A certificate and its key in files, and the settings to appear by them.
    fn identity(folder: &TempDir, name: &str) -> TlsSettings {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let file = |kind: &str, text: String| {
            let path = folder.path().join(format!("{name}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let (cert_file, key_file) =
            (file("cert", certificate.pem()), file("key", key.serialize_pem()));
        TlsSettings { ca_file: cert_file.clone(), cert_file, key_file }
    }

    #[track_caller]
    fn fails(settings: &TlsSettings, parts: &[&str]) {
        let error = settings.load(Names::CONFIG).expect_err("it cannot work").to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
        assert!(!error.contains('\n') && !error.contains("BEGIN"), "{error}");
    }

    #[test]
    fn files_that_belong_together_are_taken() {
        let folder = TempDir::new().unwrap();
        let settings = identity(&folder, "a");
        assert!(settings.load(Names::CONFIG).unwrap().client_auth_cert_resolver.has_certs());
        let trusting = TlsSettings { ca_file: settings.ca_file, ..TlsSettings::default() };
        assert!(!trusting.load(Names::CONFIG).unwrap().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn a_file_that_is_missing_or_no_pem_is_named_with_its_setting() {
        let folder = TempDir::new().unwrap();
        let good = identity(&folder, "a");
        let missing = Some(folder.path().join("missing"));
        let text = Some(folder.path().join("text"));
        fs::write(text.as_ref().unwrap(), "hunter2, and no PEM").unwrap();
        for (place, words) in [(&missing, "No such file"), (&text, "in PEM")] {
            let ca = TlsSettings { ca_file: place.clone(), ..good.clone() };
            fails(&ca, &["`tls_ca_file`", words, &place.as_ref().unwrap().display().to_string()]);
            let cert = TlsSettings { cert_file: place.clone(), ..good.clone() };
            fails(&cert, &["`tls_cert_file`", words]);
            let key = TlsSettings { key_file: place.clone(), ..good.clone() };
            fails(&key, &["`tls_key_file`", words]);
        }
        // Each other's.
        let exchanged = TlsSettings { key_file: good.cert_file.clone(), ..good.clone() };
        fails(&exchanged, &["`tls_key_file`", "private key"]);
        // PEM by its frame only.
        let frame = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        fs::write(text.as_ref().unwrap(), frame).unwrap();
        fails(&TlsSettings { ca_file: text.clone(), ..good.clone() }, &["`tls_ca_file`"]);
        fails(&TlsSettings { cert_file: text, ..good }, &["`tls_cert_file`"]);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = TempDir::new().unwrap();
        let (one, other) = (identity(&folder, "a"), identity(&folder, "b"));
        let mixed = TlsSettings { key_file: other.key_file, ..one };
        fails(&mixed, &["does not match", "a-cert.pem", "b-key.pem"]);
    }

    #[test]
    fn a_certificate_without_a_key_is_half_of_what_is_needed() {
        let cert_file = Some(PathBuf::from("c"));
        fails(&TlsSettings { cert_file, ..TlsSettings::default() }, &["together"]);
    }
}
