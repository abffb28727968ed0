//! Names of servers.

use std::net::IpAddr;

use rustls::pki_types::ServerName;

use crate::TlsError;

/// Whether what is said to this host stays on this machine: `localhost` or an address of the loopback interface, with or
/// without the brackets of IPv6. Nothing is looked up.
pub fn is_loopback(host: &str) -> bool {
    let host = bare_host(host);
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host without the brackets that an IPv6 address has where a port follows.
pub fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What the certificate of this host has to be for.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(bare_host(host).to_owned())
        .map_err(|_| TlsError::Host { host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(is_loopback("::ffff:127.0.0.1"), "it is 127.0.0.1");
        for host in [
            "rabbit",
            "localhost.example",
            "127.0.0.1.example",
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "128.0.0.1",
            "::ffff:10.0.0.1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_certificate_is_for_a_name_or_an_address() {
        assert!(matches!(server_name("rabbit.example"), Ok(ServerName::DnsName(_))));
        for address in ["127.0.0.1", "::1", "[::1]"] {
            assert!(matches!(server_name(address), Ok(ServerName::IpAddress(_))), "{address}");
        }
        assert!(server_name("not a name").unwrap_err().to_string().contains("`not a name`"));
    }
}
