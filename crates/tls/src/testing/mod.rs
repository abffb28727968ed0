//! Certificates for tests, made anew for each run and gone after it, and a server that speaks TLS by them.

mod terminator;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use crate::TlsSettings;

pub use terminator::Terminator;

/// The names of this machine.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What may be wrong with the certificate of a server on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It is for another name.
    WrongName,
    /// It ended years ago.
    Expired,
    /// It is its own authority.
    SelfSigned,
    /// The same, and it may sign others, as what `openssl req -x509` makes.
    Authority,
    /// It is from an authority that nobody trusts.
    UnknownAuthority,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// An authority, and a folder of what it signed.
#[derive(Debug)]
pub struct Pki {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Flaw {
    /// Each, with words that the error about it has to hold.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::WrongName, "the certificate is for other names than `127.0.0.1`"),
        (Self::Expired, "has expired"),
        (Self::SelfSigned, "is self-signed or from an unknown authority"),
        (Self::Authority, "is self-signed, or an authority's own"),
        (Self::UnknownAuthority, "is self-signed or from an unknown authority"),
    ];
}

impl Pki {
    /// A new authority.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("there is room for a folder");
        let (issuer, pem) = authority("Postroad's tests");
        let pki = Self { folder, issuer };
        pki.write("ca.pem", &pem);
        pki
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Trusts this authority, and has no certificate.
    pub fn trusting(&self) -> TlsSettings {
        TlsSettings { ca_file: Some(self.ca()), ..TlsSettings::default() }
    }

    /// Trusts this authority, and appears by a certificate.
    pub fn appearing_as(&self, identity: &Identity) -> TlsSettings {
        TlsSettings {
            cert_file: Some(identity.cert.clone()),
            key_file: Some(identity.key.clone()),
            ..self.trusting()
        }
    }

    /// For a server on this machine.
    pub fn server(&self, flaw: Flaw) -> Identity {
        let names = if flaw == Flaw::WrongName { &["bus.example"][..] } else { &HERE };
        let mut params = params(names, "server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let name = format!("server-{flaw:?}").to_lowercase();
        match flaw {
            Flaw::SelfSigned | Flaw::Authority => {
                if flaw == Flaw::Authority {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }
                let key = new_key();
                let cert = params.self_signed(&key).expect("it can be signed");
                self.store(&name, &cert.pem(), &key)
            }
            Flaw::UnknownAuthority => self.sign(&name, &params, &authority("Somebody").0),
            Flaw::None | Flaw::WrongName | Flaw::Expired => self.sign(&name, &params, &self.issuer),
        }
    }

    /// For a client of this name, as its common name and its DNS name.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(&format!("client-{name}"), &client(name), &self.issuer)
    }

    /// The same from an authority that nobody trusts.
    pub fn stranger(&self, name: &str) -> Identity {
        self.sign(&format!("stranger-{name}"), &client(name), &authority("Somebody").0)
    }

    fn sign(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: &Issuer<'_, KeyPair>,
    ) -> Identity {
        let key = new_key();
        let cert = params.signed_by(&key, issuer).expect("it can be signed");
        self.store(name, &cert.pem(), &key)
    }

    fn store(&self, name: &str, cert: &str, key: &KeyPair) -> Identity {
        let identity = Identity {
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        };
        self.write(&format!("{name}.pem"), cert);
        self.write(&format!("{name}.key"), &key.serialize_pem());
        identity
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::write(&file, text).expect("there is room for a file");
        // PostgreSQL does not take a key that others may read.
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Puts these files in the place of others.
    pub fn replace(&self, other: &Self) {
        for (from, to) in [(&self.cert, &other.cert), (&self.key, &other.key)] {
            replace(from, to);
        }
    }
}

/// Puts a file in the place of another, all at once.
pub fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).expect("there is room for a file");
    fs::rename(&beside, to).expect("it is the same folder");
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = params(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = new_key();
    let pem = params.self_signed(&key).expect("it can be signed").pem();
    (Issuer::new(params, key), pem)
}

fn client(name: &str) -> CertificateParams {
    let mut params = params(&[name], name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("they are names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}
