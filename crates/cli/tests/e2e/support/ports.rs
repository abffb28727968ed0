//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below those that the kernel gives to clients, which could take one while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// An address nobody listens on now, drawn at random so that two tests side by side rarely meet.
pub(crate) fn free_address() -> SocketAddr {
    (0..1_000)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("some port is free")
}
