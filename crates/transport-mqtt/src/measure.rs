//! For benchmarks: what it takes to put a message into the spool, which is what stands between its arrival and PUBACK.

use std::time::{Duration, Instant};

use postroad_transport::MqttFlags;

use crate::settings::MqttSettings;
use crate::spool::Spool;

/// Appends each body to the spool of these settings, and returns how long each append took.
///
/// # Errors
///
/// What is wrong with the spool, in words.
pub fn append_times(
    settings: &MqttSettings,
    topic: &str,
    bodies: &[Vec<u8>],
) -> Result<Vec<Duration>, String> {
    let spool = Spool::open(settings).map_err(|error| error.to_string())?;
    let append = |body: &Vec<u8>| {
        let began = Instant::now();
        let appended = spool.append(MqttFlags::default(), topic, body);
        appended.map(|()| began.elapsed()).map_err(|error| error.to_string())
    };
    bodies.iter().map(append).collect()
}
