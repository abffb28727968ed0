//! How a database of a URL is spoken to: a server on another machine by TLS with its name verified, unless less is
//! allowed.

use std::str::FromStr;

use postroad_tls::{Names, TlsSettings, is_loopback};
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::ConnectError;

/// Our own parameter; the drivers do not know it.
const PERMISSION: &str = "allow_plaintext";
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];
/// The drivers' names for each file, ours first.
const CA: [&str; 4] = [Names::URL.ca, "sslca", "sslrootcert", "ssl-root-cert"];
const CERT: [&str; 2] = [Names::URL.cert, "sslcert"];
const KEY: [&str; 2] = [Names::URL.key, "sslkey"];

/// A URL without our own parameter, and what that said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Permitted {
    url: String,
    plaintext: bool,
}

/// What a URL says of TLS.
struct Said {
    /// Whether it names a mode.
    mode: bool,
    files: TlsSettings,
}

/// What to do where the URL names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Default {
    Plain,
    /// TLS if the server likes, and no matter whose.
    Any,
    Verified,
}

impl Permitted {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let Some((place, query)) = url.split_once('?') else {
            return Ok(Self { url: url.to_owned(), plaintext: false });
        };
        let mut plaintext = false;
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                (PERMISSION, "true") => plaintext = true,
                (PERMISSION, "false") => plaintext = false,
                (PERMISSION, _) => {
                    let problem = format!("`{PERMISSION}` must be `true` or `false`");
                    return Err(ConnectError::InvalidUrl(problem));
                }
                _ => others.push(parameter),
            }
        }
        let query = others.join("&");
        let url = if query.is_empty() { place.to_owned() } else { format!("{place}?{query}") };
        Ok(Self { url, plaintext })
    }

    fn said(&self) -> Said {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let find = |names: &[&str]| {
            let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
            parameters.rfind(|(name, _)| names.contains(name)).map(|(_, value)| value)
        };
        let file = |names: &[&str]| find(names).map(|file| decoded(file).into());
        let files =
            TlsSettings { ca_file: file(&CA), cert_file: file(&CERT), key_file: file(&KEY) };
        Said { mode: find(&MODE).is_some(), files }
    }

    /// What holds where no mode is named.
    fn default_for(&self, is_near: bool, files: &TlsSettings) -> Default {
        if *files != TlsSettings::default() {
            Default::Verified
        } else if is_near {
            Default::Plain
        } else if self.plaintext {
            Default::Any
        } else {
            Default::Verified
        }
    }
}

/// The options of a URL for PostgreSQL.
pub(crate) fn postgres_options(url: &Permitted) -> Result<PgConnectOptions, ConnectError> {
    let mut options = PgConnectOptions::from_str(&url.url).map_err(|error| invalid(&error))?;
    let host = options.get_host().to_owned();
    let is_near = options.get_socket().is_some() || host.starts_with('/') || is_loopback(&host);
    let said = url.said();
    if !said.mode && std::env::var_os("PGSSLMODE").is_none() {
        options = options.ssl_mode(match url.default_for(is_near, &said.files) {
            Default::Plain => PgSslMode::Disable,
            Default::Any => PgSslMode::Prefer,
            Default::Verified => PgSslMode::VerifyFull,
        });
    }
    let verifies = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    if !(verifies || is_near || url.plaintext) {
        return Err(ConnectError::Plaintext { host, verified: "sslmode=verify-full" });
    }
    check(&said.files)?;
    Ok(options)
}

/// The options of a URL for MariaDB or MySQL.
pub(crate) fn mysql_options(url: &Permitted) -> Result<MySqlConnectOptions, ConnectError> {
    let mut options = MySqlConnectOptions::from_str(&url.url).map_err(|error| invalid(&error))?;
    let host = options.get_host().to_owned();
    let is_near = options.get_socket().is_some() || is_loopback(&host);
    let said = url.said();
    if !said.mode {
        options = options.ssl_mode(match url.default_for(is_near, &said.files) {
            Default::Plain => MySqlSslMode::Disabled,
            Default::Any => MySqlSslMode::Preferred,
            Default::Verified => MySqlSslMode::VerifyIdentity,
        });
    }
    let verifies = matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity);
    if !(verifies || is_near || url.plaintext) {
        return Err(ConnectError::Plaintext { host, verified: "ssl-mode=VERIFY_IDENTITY" });
    }
    check(&said.files)?;
    Ok(options)
}

/// Once, at the start, and in our words: the drivers do not say which file it was.
fn check(files: &TlsSettings) -> Result<(), ConnectError> {
    if *files == TlsSettings::default() {
        return Ok(());
    }
    files.load(Names::URL).map(drop).map_err(ConnectError::Tls)
}

fn invalid(error: &sea_orm::sqlx::Error) -> ConnectError {
    ConnectError::InvalidUrl(error.to_string())
}

/// `%20` and `+` as the drivers take them.
fn decoded(value: &str) -> String {
    let spaced = value.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = spaced.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(rest: &str) -> Result<String, String> {
        let url = Permitted::parse(&format!("postgres://u:hunter2@{rest}")).unwrap();
        match postgres_options(&url) {
            Ok(options) => Ok(format!("{:?}", options.get_ssl_mode())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn mysql(rest: &str) -> Result<String, String> {
        let url = Permitted::parse(&format!("mysql://u:hunter2@{rest}")).unwrap();
        match mysql_options(&url) {
            Ok(options) => Ok(format!("{:?}", options.get_ssl_mode())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn another_machine_is_verified_unless_less_is_allowed() {
        assert_eq!(postgres("db.example/bus").unwrap(), "VerifyFull");
        assert_eq!(postgres("db.example/bus?sslmode=verify-full").unwrap(), "VerifyFull");
        assert_eq!(postgres("db.example/bus?allow_plaintext=true").unwrap(), "Prefer");
        assert_eq!(
            postgres("db.example/bus?sslmode=disable&allow_plaintext=true").unwrap(),
            "Disable"
        );
        assert_eq!(mysql("db.example/bus").unwrap(), "VerifyIdentity");
        assert_eq!(mysql("db.example/bus?ssl-mode=VERIFY_IDENTITY").unwrap(), "VerifyIdentity");
        assert_eq!(mysql("db.example/bus?allow_plaintext=true").unwrap(), "Preferred");
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let error = postgres(&format!("db.example/bus?sslmode={mode}")).unwrap_err();
            for part in ["`db.example`", "`sslmode=verify-full`", "`allow_plaintext=true`"] {
                assert!(error.contains(part), "{error}");
            }
            assert!(!error.contains("hunter2"), "{error}");
            assert!(
                postgres(&format!("db.example/bus?sslmode={mode}&allow_plaintext=false")).is_err()
            );
        }
        for mode in ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA"] {
            let error = mysql(&format!("db.example/bus?ssl-mode={mode}")).unwrap_err();
            assert!(error.contains("`ssl-mode=VERIFY_IDENTITY`"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_spoken_to_as_the_url_says_and_else_plainly() {
        for host in ["127.0.0.1", "localhost", "127.0.0.1:5433"] {
            assert_eq!(postgres(&format!("{host}/bus")).unwrap(), "Disable");
            assert_eq!(postgres(&format!("{host}/bus?sslmode=require")).unwrap(), "Require");
            assert_eq!(mysql(&format!("{host}/bus")).unwrap(), "Disabled");
        }
        assert_eq!(postgres("localhost/bus?host=/var/run/postgresql").unwrap(), "Disable");
        assert_eq!(mysql("localhost/bus?socket=/run/mysqld.sock").unwrap(), "Disabled");
        // The host that counts is the one that is connected to.
        assert_eq!(postgres("localhost/bus?host=db.example").unwrap(), "VerifyFull");
        assert!(postgres("localhost/bus?host=db.example&sslmode=prefer").is_err());
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        for url in ["sslrootcert=no+such%20file", "ssl-ca=no such file"] {
            let error = postgres(&format!("127.0.0.1/bus?{url}")).unwrap_err();
            assert!(error.contains("`ssl-ca` `no such file`"), "{error}");
        }
        let error = mysql("127.0.0.1/bus?ssl-cert=c").unwrap_err();
        assert!(error.contains("`ssl-cert` and `ssl-key`"), "{error}");
    }

    #[test]
    fn our_parameter_is_kept_from_the_driver() {
        let parse = |url: &str| Permitted::parse(url).map(|found| (found.url, found.plaintext));
        assert_eq!(parse("p://h/d?allow_plaintext=true").unwrap(), ("p://h/d".to_owned(), true));
        let url = "p://h/d?a=1&allow_plaintext=true&b=2";
        assert_eq!(parse(url).unwrap(), ("p://h/d?a=1&b=2".to_owned(), true));
        assert_eq!(parse("p://h/d?a=1").unwrap(), ("p://h/d?a=1".to_owned(), false));
        assert!(parse("p://h/d?allow_plaintext=1").unwrap_err().to_string().contains("`true`"));
    }
}
