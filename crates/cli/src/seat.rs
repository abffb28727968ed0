//! Which session at an MQTT broker, and which spool on this disk, are this worker's.
//!
//! Both have to be the same after a restart, and no two workers may use one at a time.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use postroad_store::config::MqttSettings;

/// Beside the process, unless the config says where.
const SPOOLS: &str = "postroad-spool";
/// More workers of one config on one machine than anybody runs.
const SEATS: u32 = 256;

/// Held as long as the worker runs.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) client_id: String,
    pub(crate) spool_dir: PathBuf,
    _lock: Option<File>,
}

impl Seat {
    /// For settings that are only looked at: the seat that all seats of the config are beside or below.
    pub(crate) fn of_check(key: &str, settings: &MqttSettings) -> Self {
        Self { client_id: client_id(key, settings), spool_dir: base(key, settings), _lock: None }
    }

    /// Without a shared group there is one seat for all, and the spool's own lock tells whether it is taken. In a shared
    /// group each worker takes the first free seat of its machine.
    pub(crate) fn take(key: &str, settings: &MqttSettings) -> Result<Self> {
        let (client_id, base) = (client_id(key, settings), base(key, settings));
        if settings.shared_group.is_none() {
            return Ok(Self { client_id, spool_dir: base, _lock: None });
        }
        let folder = base.display().to_string();
        fs::create_dir_all(&base)
            .with_context(|| format!("cannot make the spool's folder `{folder}`"))?;
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        for seat in 0..SEATS {
            let lock = File::create(base.join(format!("{seat}.lock")));
            let lock =
                lock.with_context(|| format!("cannot write to the spool's folder `{folder}`"))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        client_id: format!("{client_id}-{host}-{seat}"),
                        spool_dir: base.join(seat.to_string()),
                        _lock: Some(lock),
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error)
                        .with_context(|| format!("cannot lock the spool's folder `{folder}`"));
                }
            }
        }
        bail!("{SEATS} workers of `{key}` run on this machine already")
    }
}

fn client_id(key: &str, settings: &MqttSettings) -> String {
    settings.client_id.clone().unwrap_or_else(|| format!("postroad-{key}"))
}

fn base(key: &str, settings: &MqttSettings) -> PathBuf {
    match &settings.spool_dir {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(SPOOLS).join(folder_name(key)),
    }
}

/// A key may hold anything; a folder's name had better not.
fn folder_name(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if key.chars().all(plain) {
        return key.to_owned();
    }
    let hex: Vec<_> = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("key.{}", hex.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_a_shared_group_sit_apart_and_come_back_to_their_seats() {
        let folder = tempfile::tempdir().unwrap();
        let settings = MqttSettings {
            shared_group: Some("g".to_owned()),
            spool_dir: Some(folder.path().display().to_string()),
            ..MqttSettings::default()
        };
        let first = Seat::take("k", &settings).unwrap();
        let second = Seat::take("k", &settings).unwrap();
        assert_ne!(first.client_id, second.client_id);
        assert_ne!(first.spool_dir, second.spool_dir);
        let (client_id, spool_dir) = (first.client_id.clone(), first.spool_dir.clone());
        drop(first);
        let again = Seat::take("k", &settings).unwrap();
        assert_eq!((again.client_id, again.spool_dir), (client_id, spool_dir));
    }

    #[test]
    fn no_key_leads_out_of_the_folder() {
        assert_eq!(folder_name("line-4"), "line-4");
        assert_eq!(folder_name("../x"), "key.2e2e2f78");
    }
}
