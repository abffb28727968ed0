//! The faults, a file for each group.

mod broker;
mod database;
mod kill;
mod network;
mod poison;

use crate::cell::Fault;

pub(crate) use kill::POINTS;

/// All there are, in order.
pub(crate) fn all() -> Vec<&'static Fault> {
    let mut all: Vec<_> =
        [kill::FAULTS, broker::FAULTS, network::FAULTS, poison::FAULTS, database::FAULTS]
            .into_iter()
            .flatten()
            .collect();
    all.sort_by_key(|fault| fault.id[1..].parse::<u32>().unwrap_or(u32::MAX));
    all
}
