//! For fuzzing: a spool that is written, and one that is read after something has happened to its files.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use postroad_transport::MqttFlags;

use crate::settings::MqttSettings;
use crate::spool::{Record, Spool};

/// The one who had it before lets go of it in the background.
const LOCKED: Duration = Duration::from_secs(10);

/// Puts messages into a new spool, takes the first `removed` of them out again, and lets go of it.
pub fn write(folder: &Path, topic: &str, bodies: &[Vec<u8>], removed: usize) -> Result<(), String> {
    let spool = open(folder)?;
    for body in bodies {
        spool.append(MqttFlags::default(), topic, body).map_err(|error| error.to_string())?;
    }
    let read = spool.read(0, removed).map_err(|error| error.to_string())?;
    let places: Vec<_> = read.into_iter().map(|spooled| spooled.place).collect();
    spool.remove(&places).map_err(|error| error.to_string())
}

/// Topic and body of every message in a spool; also puts one more into it, and takes all out, as a worker would.
pub fn read(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let spool = open(folder)?;
    let read = spool.read(0, usize::MAX).map_err(|error| error.to_string())?;
    let found =
        read.iter().map(|spooled| (spooled.record.topic.clone(), spooled.record.body.to_vec()));
    let found = found.collect();
    let places: Vec<_> = read.iter().map(|spooled| spooled.place).collect();
    spool
        .append(MqttFlags::default(), "t", b"one more")
        .and_then(|()| spool.remove(&places))
        .map_err(|error| error.to_string())?;
    Ok(found)
}

/// Reads one record of the spool, and writes it again if it is one; `None` where it is none.
pub fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    Record::again(bytes)
}

/// Whether a topic may be published to, and whether it may be subscribed to.
pub fn topic(text: &str) -> (bool, bool) {
    (crate::topic::check_name(text).is_ok(), crate::topic::check_filter(text).is_ok())
}

fn open(folder: &Path) -> Result<Spool, String> {
    let settings = MqttSettings { spool_dir: folder.to_owned(), ..MqttSettings::default() };
    let until = Instant::now() + LOCKED;
    loop {
        match Spool::open(&settings) {
            Err(error) if error.is_locked() && Instant::now() < until => thread::yield_now(),
            opened => return opened.map_err(|error| error.to_string()),
        }
    }
}
