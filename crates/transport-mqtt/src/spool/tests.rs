//! What holds of the spool without a broker.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::SpoolSync;

const SOON: Duration = Duration::from_secs(10);

fn settings(folder: &TempDir) -> MqttSettings {
    MqttSettings { spool_dir: folder.path().join("spool"), ..MqttSettings::default() }
}

/// Waits for a spool that is being dropped elsewhere.
fn open(settings: &MqttSettings) -> Spool {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        match Spool::open(settings) {
            Ok(spool) => return spool,
            Err(LogError::Locked) if std::time::Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn append(spool: &Spool, body: &str) {
    spool.append(MqttFlags::default(), "t", body.as_bytes(), &AtomicBool::new(false));
}

fn bodies(spool: &Spool) -> Vec<String> {
    let read = spool.read(spool.first(), 100).unwrap();
    read.iter().map(|spooled| String::from_utf8(spooled.record.body.to_vec()).unwrap()).collect()
}

fn places(spool: &Spool, count: usize) -> Vec<Place> {
    let read = spool.read(spool.first(), count).unwrap();
    read.into_iter().map(|spooled| spooled.place).collect()
}

#[test]
fn what_was_not_removed_is_there_in_order_after_opening_again() {
    for spool_sync in [SpoolSync::Os, SpoolSync::Always] {
        let folder = TempDir::new().unwrap();
        let settings = MqttSettings { spool_sync, ..settings(&folder) };
        let spool = open(&settings);
        for body in ["a", "b", "c", "d"] {
            append(&spool, body);
        }
        spool.remove(&places(&spool, 2)).unwrap();
        let before = (spool.depth(), ids(&spool));
        drop(spool);

        let spool = open(&settings);
        assert_eq!(bodies(&spool), ["c", "d"]);
        assert_eq!((spool.depth(), ids(&spool)), before);
        append(&spool, "e");
        assert_eq!(bodies(&spool), ["c", "d", "e"]);
    }
}

fn ids(spool: &Spool) -> Vec<Uuid> {
    spool.read(0, 100).unwrap().into_iter().map(|spooled| spooled.record.id).collect()
}

#[test]
fn equal_messages_get_ids_of_their_own_even_after_an_empty_spool_was_opened_again() {
    let folder = TempDir::new().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let spool = open(&settings(&folder));
        append(&spool, "same");
        append(&spool, "same");
        seen.extend(ids(&spool));
        spool.remove(&places(&spool, 2)).unwrap();
    }
    assert_eq!(seen.len(), 6);
}

#[test]
fn removing_twice_counts_once() {
    let folder = TempDir::new().unwrap();
    let spool = open(&settings(&folder));
    for body in ["a", "bb", "ccc"] {
        append(&spool, body);
    }
    let two = places(&spool, 2);
    spool.remove(&two).unwrap();
    spool.remove(&two).unwrap();
    assert_eq!(spool.depth(), SpoolDepth { messages: 1, bytes: record::size("t", b"ccc") });
    spool.remove(&places(&spool, 2)).unwrap();
    assert_eq!(spool.depth(), SpoolDepth::default());
}

#[test]
fn a_full_spool_waits_until_something_is_removed() {
    let folder = TempDir::new().unwrap();
    let spool_max_bytes = 2 * record::size("t", b"a");
    let spool = Arc::new(open(&MqttSettings { spool_max_bytes, ..settings(&folder) }));
    append(&spool, "a");
    append(&spool, "b");
    let (done, appended) = mpsc::channel();
    let waiting = Arc::clone(&spool);
    thread::spawn(move || {
        append(&waiting, "c");
        done.send(()).unwrap();
    });
    assert!(appended.recv_timeout(Duration::from_millis(200)).is_err(), "there was no room");
    spool.remove(&places(&spool, 1)).unwrap();
    appended.recv_timeout(SOON).unwrap();
    assert_eq!(bodies(&spool), ["b", "c"]);
}

#[test]
fn whoever_is_closing_puts_what_it_has_in_hand_into_a_full_spool() {
    let folder = TempDir::new().unwrap();
    let spool = Arc::new(open(&MqttSettings { spool_max_bytes: 1, ..settings(&folder) }));
    append(&spool, "larger than the whole spool, and alone");
    let closing = Arc::new(AtomicBool::new(false));
    let (waiting, flag) = (Arc::clone(&spool), Arc::clone(&closing));
    let append = thread::spawn(move || waiting.append(MqttFlags::default(), "t", b"b", &flag));
    thread::sleep(Duration::from_millis(100));
    assert!(!append.is_finished());
    closing.store(true, Ordering::Relaxed);
    spool.wake();
    append.join().unwrap();
    assert_eq!(spool.depth().messages, 2);
}

#[test]
fn a_spool_belongs_to_one_at_a_time() {
    let folder = TempDir::new().unwrap();
    let _spool = open(&settings(&folder));
    assert!(matches!(Spool::open(&settings(&folder)), Err(LogError::Locked)));
}

#[test]
fn a_session_is_known_by_the_client_it_was_noted_for() {
    let folder = TempDir::new().unwrap();
    let spool = open(&settings(&folder));
    assert!(!spool.knows_session("a"));
    spool.note_session(Some("a"));
    assert!(spool.knows_session("a") && !spool.knows_session("b"));
    spool.note_session(None);
    assert!(!spool.knows_session("a"));
}

#[test]
fn messages_are_handed_out_for_the_first_time_once() {
    let folder = TempDir::new().unwrap();
    let spool = open(&settings(&folder));
    append(&spool, "a");
    assert!(!spool.hand_out(0));
    assert!(spool.hand_out(0));
    assert!(!spool.hand_out(1));
}
