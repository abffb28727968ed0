//! The faults, a file for each group.

mod broker;
mod crowd;
mod database;
mod kill;
mod network;
mod odd;
mod poison;
mod refusal;

use crate::cell::Fault;

pub(crate) use kill::POINTS;

/// All there are, in order.
pub(crate) fn all() -> Vec<&'static Fault> {
    let groups = [
        kill::FAULTS,
        crowd::FAULTS,
        broker::FAULTS,
        refusal::FAULTS,
        network::FAULTS,
        poison::FAULTS,
        database::FAULTS,
        odd::FAULTS,
    ];
    let mut all: Vec<_> = groups.into_iter().flatten().collect();
    all.sort_by_key(|fault| fault.id[1..].parse::<u32>().unwrap_or(u32::MAX));
    all
}
