//! Free ports of the loopback interface, and where programs are.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Below those that the kernel gives to clients, which could take one while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// What was given out before; a server may need a minute until it listens.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address nobody listens on now and no other test of this process has, drawn at random so that two processes side by
/// side rarely meet.
pub fn free_address() -> SocketAddr {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    (0..1_000)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))))
        .find(|address| TcpListener::bind(address).is_ok() && given.insert(address.port()))
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
