//! The folder of the spool, looked at from outside: whoever works on it holds its lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use postroad_transport::Finding;
use uuid::Uuid;

use crate::settings::MqttSettings;

/// Below this the spool's store cannot even keep its journals.
const LEAST: u64 = 128 << 20;

pub(super) fn check(settings: &MqttSettings) -> Vec<Finding> {
    let folder = &settings.spool_dir;
    vec![writable(folder), room(folder, settings.spool_max_bytes), lock(folder)]
}

/// The folder itself, or the nearest one above it, where it will be made.
fn existing(folder: &Path) -> &Path {
    let above = folder.ancestors().find(|folder| folder.exists());
    match above {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

fn writable(folder: &Path) -> Finding {
    const CHECK: &str = "spool";
    let existing = existing(folder);
    let file = existing.join(format!(".postroad-doctor-{}", Uuid::new_v4().simple()));
    let tried = File::create_new(&file).and_then(|_| fs::remove_file(&file));
    let shown = folder.display();
    match tried {
        Ok(()) if folder.exists() => Finding::ok(CHECK, format!("`{shown}` can be written")),
        Ok(()) => Finding::ok(CHECK, format!("`{shown}` will be made")),
        Err(error) => Finding::failure(
            CHECK,
            format!("`{}` cannot be written: {error}", existing.display()),
            "let the worker's user write it, or set mqtt.spool_dir to a folder on a local disk",
        ),
    }
}

/// What the spool may take up to, against what is free and what it has already.
fn room(folder: &Path, most: u64) -> Finding {
    const CHECK: &str = "disk space";
    let free = match rustix::fs::statvfs(existing(folder)) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let found = format!("cannot be found out: {error}");
            return Finding::warning(CHECK, found, "is the disk of the spool in order?");
        }
    };
    // A folder that changes meanwhile is not worth a word.
    let taken = size(folder).unwrap_or(0);
    judge_room(free, taken, most)
}

fn judge_room(free: u64, taken: u64, most: u64) -> Finding {
    const CHECK: &str = "disk space";
    const ADVICE: &str =
        "make room, lower mqtt.spool_max_bytes, or move mqtt.spool_dir to a larger disk";
    let mib = |bytes: u64| bytes >> 20;
    let found = format!("{} MiB free, the spool may grow to {} MiB", mib(free), mib(most));
    if free + taken < LEAST {
        Finding::failure(CHECK, format!("{found}: too little to begin with"), ADVICE)
    } else if free + taken < most {
        Finding::warning(CHECK, format!("{found}: the disk is full before the spool is"), ADVICE)
    } else {
        Finding::ok(CHECK, found)
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += size(&entry.path())?;
        } else if kind.is_file() {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Whether a worker works on it. Asking takes the lock for a moment; a worker that starts just then tries again.
fn lock(folder: &Path) -> Finding {
    const CHECK: &str = "spool lock";
    let Ok(file) = File::open(folder.join("log").join("lock")) else {
        return seats(folder);
    };
    match file.try_lock_shared() {
        Ok(()) => Finding::ok(CHECK, "free: no worker on this machine uses the spool"),
        Err(TryLockError::WouldBlock) => Finding {
            advice: "a second worker of this config needs mqtt.shared_group, or another machine and spool".to_owned(),
            ..Finding::ok(CHECK, "held by a worker on this machine")
        },
        Err(TryLockError::Error(error)) => Finding::warning(
            CHECK,
            format!("cannot be found out: {error}"),
            "put the spool on a local disk, whose locks work",
        ),
    }
}

/// The same for the members of a shared group, each of which has a spool of its own in a folder with a number.
fn seats(folder: &Path) -> Finding {
    const CHECK: &str = "spool lock";
    let locks = (0_u32..)
        .map_while(|seat| File::open(folder.join(seat.to_string()).join("log").join("lock")).ok());
    let held = locks.map(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let held: Vec<_> = held.collect();
    let found = match (held.len(), held.iter().filter(|held| **held).count()) {
        (0, _) => "nobody used the spool yet".to_owned(),
        (all, 0) => {
            format!("{all} spools of a shared group, free: no worker on this machine uses them")
        }
        (all, held) => format!(
            "{all} spools of a shared group, {held} of them held by workers on this machine"
        ),
    };
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use postroad_transport::Level;

    use super::*;
    use crate::spool::Spool;

    #[test]
    fn a_spool_in_use_is_told_from_a_free_one_and_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            MqttSettings { spool_dir: folder.path().join("spool"), ..MqttSettings::default() };
        let said = || -> Vec<String> {
            let findings = check(&settings);
            assert!(findings.iter().all(|finding| finding.level < Level::Failure), "{findings:#?}");
            findings.into_iter().map(|finding| finding.found).collect()
        };
        assert!(said()[0].contains("will be made") && said()[2].contains("nobody"));
        assert!(!settings.spool_dir.exists(), "looking makes nothing");
        let spool = Spool::open(&settings).unwrap();
        assert!(said()[0].contains("can be written") && said()[2].contains("held"));
        let left: Vec<_> = fs::read_dir(&settings.spool_dir).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        drop(spool);
    }

    #[test]
    fn a_disk_that_is_full_before_the_spool_is_told() {
        let judge = |free: u64, taken: u64| judge_room(free << 20, taken << 20, 1 << 30).level;
        assert_eq!(judge(2_000, 0), Level::Ok);
        assert_eq!(judge(600, 500), Level::Ok);
        assert_eq!(judge(600, 0), Level::Warning);
        assert_eq!(judge(100, 0), Level::Failure);
    }

    #[test]
    fn the_spools_of_a_group_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let seat = |number: u32| MqttSettings {
            spool_dir: folder.path().join(number.to_string()),
            ..MqttSettings::default()
        };
        let first = Spool::open(&seat(0)).unwrap();
        drop(Spool::open(&seat(1)).unwrap());
        // The lock is let go of when the last thread of a spool has ended.
        let says = |part: &str| {
            let began = Instant::now();
            while !lock(folder.path()).found.contains(part) {
                assert!(began.elapsed() < Duration::from_mins(1), "{:?}", lock(folder.path()));
                thread::sleep(Duration::from_millis(10));
            }
        };
        says("2 spools of a shared group, 1 of them held");
        drop(first);
        says("2 spools of a shared group, free");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(writable(&file.join("spool")).level, Level::Failure);
    }
}
