//! A spool of MQTT messages whose files were damaged while nobody had it open.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use postroad_transport_mqtt::fuzzing;
use tempfile::TempDir;

const TOPIC: &str = "edgex/events/a";
/// So many bytes at the front of a body make it known on disk.
const MARK: usize = 24;
const MOST_MESSAGES: usize = 6;
/// What one change takes of the input.
const CHANGE: usize = 5;

/// The files of a spool, by their path in it: what is written in them, and how many zeros follow.
type Files = Vec<(PathBuf, Vec<u8>, u64)>;

thread_local! {
    static WRITTEN: RefCell<HashMap<(usize, usize), Files>> = RefCell::default();
}

/// How many messages were written and removed, then what happened to which file.
pub(crate) fn run(input: &[u8]) {
    let [messages, removed, changes @ ..] = input else { return };
    let messages = usize::from(*messages) % MOST_MESSAGES + 1;
    let removed = usize::from(*removed) % (messages + 1);
    let mut files = written(messages, removed);
    let intact = files.clone();
    for change in changes.chunks_exact(CHANGE).take(4) {
        damage(&mut files, change);
    }
    let folder = scratch();
    lay_down(folder.path(), &files);
    check(folder.path(), removed..messages, &intact, &files);
}

/// Nothing made up, nothing twice, the order kept, and all there that was before the damage.
fn check(folder: &Path, left: std::ops::Range<usize>, intact: &Files, damaged: &Files) {
    let found = match fuzzing::read(folder) {
        Ok(found) => found,
        // It says that it cannot be opened, and stays as it is, for a person.
        Err(error) => return assert_ne!(intact, damaged, "{error}"),
    };
    let numbers: Vec<_> = found
        .iter()
        .filter(|(topic, _)| !topic.is_empty())
        .map(|(topic, body)| {
            assert_eq!(topic, TOPIC);
            (0..MOST_MESSAGES).find(|number| body == &self::body(*number)).unwrap_or_else(|| {
                panic!("a message that was never written: {body:?}");
            })
        })
        .collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    for number in left {
        if is_before_all_damage(number, intact, damaged) {
            assert!(numbers.contains(&number), "message {number} is lost, {numbers:?} are there");
        }
    }
}

/// Whether everything up to the end of a message is on disk as it was written, in the file that has the message, and no
/// other file was changed at all.
fn is_before_all_damage(number: usize, intact: &Files, damaged: &Files) -> bool {
    let body = body(number);
    intact.iter().zip(damaged).all(|((_, before, _), (_, after, _))| {
        match before.windows(body.len()).position(|bytes| bytes == body) {
            // What ends a record is a checksum of a few bytes.
            Some(start) => {
                let end = (start + body.len() + 64).min(before.len());
                after.get(..end) == before.get(..end)
            }
            None => before == after,
        }
    })
}

/// Only the journal is damaged, which is where messages are. The other files say where tables are, of which there are none
/// yet; lsm-tree believes what they say, and asks for as much memory as a damaged number tells it to.
fn damage(files: &mut Files, change: &[u8]) {
    let [file, high, low, kind, byte] = *change else { return };
    let is_journal = |path: &Path| path.extension().is_some_and(|extension| extension == "jnl");
    let mut journals: Vec<_> = files.iter_mut().filter(|(path, ..)| is_journal(path)).collect();
    let count = journals.len();
    let (_, bytes, zeros) = &mut *journals[usize::from(file) % count];
    if bytes.is_empty() {
        return bytes.push(byte);
    }
    let place = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
    match kind % 5 {
        0 => bytes[place] ^= byte.max(1),
        1 => {
            bytes.truncate(place);
            *zeros = 0;
        }
        2 => bytes[place..].fill(byte),
        3 => bytes.insert(place, byte),
        _ => {
            bytes.remove(place);
        }
    }
}

/// What a spool leaves behind on disk, written once for each of the few there are.
fn written(messages: usize, removed: usize) -> Files {
    WRITTEN.with_borrow_mut(|written| {
        written.entry((messages, removed)).or_insert_with(|| write(messages, removed)).clone()
    })
}

fn write(messages: usize, removed: usize) -> Files {
    let folder = scratch();
    let bodies: Vec<_> = (0..messages).map(body).collect();
    fuzzing::write(folder.path(), TOPIC, &bodies, removed).expect("it can be written");
    // As a kill would leave it: who had it open lets go of it in the background.
    let mut files = Vec::new();
    pick_up(folder.path(), folder.path(), &mut files);
    files.sort();
    files
}

fn pick_up(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            pick_up(root, &path, files);
        } else {
            let mut bytes = fs::read(&path).expect("it can be read");
            let all = bytes.len();
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            let (zeros, path) = ((all - bytes.len()) as u64, path.strip_prefix(root));
            files.push((path.expect("it is inside").to_owned(), bytes, zeros));
        }
    }
}

fn lay_down(folder: &Path, files: &Files) {
    for (path, bytes, zeros) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("it can be made");
        fs::write(&path, bytes).expect("it can be written");
        // A hole takes no time and no room.
        let file = fs::File::options().write(true).open(&path).expect("it was written");
        file.set_len(bytes.len() as u64 + zeros).expect("it can grow");
    }
}

/// A folder in memory where there is one.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("there is room")
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("<<message number {number:04}>>").into_bytes();
    body.resize(MARK + 40 * number, b'.');
    body
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![3, 0], vec![5, 2]];
    for file in 0..8 {
        for kind in 0..5 {
            seeds.push(vec![4, 1, file, 0, 40 * kind, kind, 0xff]);
        }
    }
    seeds
}
