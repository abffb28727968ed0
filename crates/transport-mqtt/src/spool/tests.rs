//! What holds of the spool without a broker.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
    spool.append(MqttFlags::default(), "t", body.as_bytes()).unwrap();
}

fn size(body: &str) -> u64 {
    record::encode(Uuid::nil(), MqttFlags::default(), "t", body.as_bytes()).len() as u64
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
    assert_eq!(spool.depth(), SpoolDepth { messages: 1, bytes: size("ccc") });
    spool.remove(&places(&spool, 2)).unwrap();
    assert_eq!(spool.depth(), SpoolDepth::default());
}

#[test]
fn a_full_spool_is_waited_for_until_something_is_removed() {
    let folder = TempDir::new().unwrap();
    let spool_max_bytes = 2 * size("a");
    let spool = Arc::new(open(&MqttSettings { spool_max_bytes, ..settings(&folder) }));
    append(&spool, "a");
    spool.wait_for_room(&AtomicBool::new(false));
    append(&spool, "b");
    assert!(spool.is_full());
    let (done, waited) = mpsc::channel();
    let waiting = Arc::clone(&spool);
    thread::spawn(move || {
        waiting.wait_for_room(&AtomicBool::new(false));
        done.send(()).unwrap();
    });
    assert!(waited.recv_timeout(Duration::from_millis(200)).is_err(), "there was no room");
    spool.remove(&places(&spool, 1)).unwrap();
    waited.recv_timeout(SOON).unwrap();
    assert!(!spool.is_full());
}

#[test]
fn waiting_for_room_can_be_ended() {
    let folder = TempDir::new().unwrap();
    let spool = Arc::new(open(&MqttSettings { spool_max_bytes: 1, ..settings(&folder) }));
    append(&spool, "a");
    let ended = Arc::new(AtomicBool::new(false));
    let (waiting, flag) = (Arc::clone(&spool), Arc::clone(&ended));
    let wait = thread::spawn(move || waiting.wait_for_room(&flag));
    thread::sleep(Duration::from_millis(100));
    assert!(!wait.is_finished());
    ended.store(true, Ordering::Relaxed);
    spool.wake();
    wait.join().unwrap();
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

#[test]
fn a_journal_that_was_damaged_in_the_middle_is_told_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let spool = open(&settings);
    for body in ["first message", "second message", "third message"] {
        append(&spool, body);
    }
    drop(spool);
    // Nobody has it any more.
    drop(open(&settings));
    let journal = settings.spool_dir.join("log/0.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let body = b"second message";
    let place = bytes.windows(body.len()).position(|found| found == body).unwrap();
    bytes[place] ^= 1;
    let deadline = std::time::Instant::now() + SOON;
    let error = loop {
        std::fs::write(&journal, &bytes).unwrap();
        match Spool::open(&settings).map(drop) {
            Err(LogError::Locked) if std::time::Instant::now() < deadline => {}
            opened => break opened.unwrap_err(),
        }
    };
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(std::fs::read(&journal).unwrap(), bytes);
}
