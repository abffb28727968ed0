//! Free ports of the loopback interface.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// Below the ephemeral ports, so that no outgoing connection takes one while its server restarts.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// What was given out before; a server may need a minute until it listens.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody listens on now and no other server has, drawn at random so that two runs side by side rarely meet.
pub(crate) fn free() -> anyhow::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    (0..1_000)
        .map(|_| fastrand::u16(RANGE))
        .find(|port| {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok() && given.insert(*port)
        })
        .with_context(|| format!("no free port in {RANGE:?}"))
}

/// The loopback address of a port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
