//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

/// Below the ephemeral ports, so that no outgoing connection takes one while its server restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port nobody listens on now, drawn at random so that two runs side by side rarely meet.
pub(crate) fn free() -> anyhow::Result<u16> {
    (0..1_000)
        .map(|_| fastrand::u16(RANGE))
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .with_context(|| format!("no free port in {RANGE:?}"))
}

/// The loopback address of a port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
