//! What an append to the MQTT spool takes: it stands between the arrival of a message and its PUBACK.

use anyhow::{Context, Result, anyhow};
use postroad_transport_mqtt::{MqttSettings, SpoolSync, measure};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::args::Args;
use crate::input::{self, TOPIC};
use crate::latency::{Percentiles, histogram, record};

/// Appends that wait for the disk are slow.
const SYNCED: usize = 1_000;

#[derive(Debug, Serialize)]
pub(crate) struct Spool {
    pub(crate) sync: &'static str,
    pub(crate) appends: usize,
    /// In milliseconds.
    pub(crate) append: Percentiles,
}

pub(crate) async fn measure(args: &Args) -> Result<Vec<Spool>> {
    let mut found = Vec::new();
    for (name, sync) in [("os", SpoolSync::Os), ("always", SpoolSync::Always)] {
        eprintln!("spool: {name}");
        let appends =
            if sync == SpoolSync::Always { args.messages.min(SYNCED) } else { args.messages };
        let bodies = input::bodies(appends, args.bytes);
        let folder = tempfile::tempdir()?;
        let settings = MqttSettings {
            spool_dir: folder.path().to_owned(),
            spool_sync: sync,
            ..MqttSettings::default()
        };
        let times = spawn_blocking(move || measure::append_times(&settings, TOPIC, &bodies));
        let times = times.await?.map_err(|error| anyhow!(error)).context("the spool")?;
        let mut histogram = histogram();
        for time in times {
            record(&mut histogram, time);
        }
        found.push(Spool { sync: name, appends, append: Percentiles::of(&histogram) });
    }
    Ok(found)
}
