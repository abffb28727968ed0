//! Free ports of the loopback interface, and where programs are.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// Below those that the kernel gives to clients, which could take one while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// An address nobody listens on now, drawn at random so that two tests side by side rarely meet.
pub fn free_address() -> SocketAddr {
    (0..1_000)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("some port is free")
}

/// Debian keeps servers where users' paths do not lead.
pub(crate) fn find(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed"))
}
