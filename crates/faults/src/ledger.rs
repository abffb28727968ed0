//! What was put in, what crossed the wire and what the inbox holds, a few bytes for each message.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::ids::{self, Way};

/// So many strange messages are kept to be shown.
const SHOWN: usize = 10;

/// So long before it is killed Mosquitto may have acknowledged what it had not written, told to write at each change; the
/// clocks of the database and of the recorder are in it.
pub(crate) const UNWRITTEN_MS: u64 = 1_500;

/// What became of an attempt to put a message in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its transaction was rolled back: nobody may ever see it.
    RolledBack,
    /// Whoever was asked did not answer: it may be there or not.
    Unknown,
    /// Committed, or confirmed by the broker: it must arrive.
    Committed,
}

/// The messages of one way.
#[derive(Debug, Default)]
pub(crate) struct Column {
    /// By number.
    pub(crate) fates: Vec<Fate>,
    /// How often each crossed the wire, beside what a broker redelivered to the recorder.
    pub(crate) wire: Vec<u8>,
    /// How many inbox rows each has.
    pub(crate) inbox: Vec<u8>,
    /// How many were committed and have not crossed the wire.
    waiting: u64,
    bodies: Vec<u32>,
    /// When each was committed or confirmed, in milliseconds of the ledger's life.
    times: Vec<u32>,
    /// Those that a broker took right before it was killed, and lost.
    pub(crate) excused: BTreeSet<u64>,
    /// Numbers from here on were put in when the broker was back; and since when.
    awaited: Option<(u64, Instant)>,
    /// What came back when, after each outage.
    pub(crate) resumed: Vec<f64>,
}

/// What is wrong with single messages.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Strange {
    /// Nobody put them in, or they were rolled back.
    pub(crate) phantoms: BTreeSet<String>,
    /// Another payload than was put in, or copies that differ.
    pub(crate) wrong: BTreeSet<String>,
}

/// Both ways of one cell.
#[derive(Debug)]
pub(crate) struct Ledger {
    seed: u64,
    /// In milliseconds since 1970.
    born: u64,
    inside: Mutex<Inside>,
}

/// What a lock on a [`Ledger`] gives.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// Rows of the outbox.
    pub(crate) outbox: Column,
    /// Messages of a client of the broker.
    pub(crate) sender: Column,
    /// On the wire.
    pub(crate) strange_wire: Strange,
    /// In the inbox.
    pub(crate) strange_inbox: Strange,
    /// When a broker was killed that acknowledges before it writes, in milliseconds since 1970.
    pub(crate) kills: Vec<u64>,
}

impl Ledger {
    /// Without messages; the seed makes their payloads.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, born: now(), inside: Mutex::default() }
    }

    /// What makes the payloads.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Everything there is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("nobody panics with it")
    }

    /// Notes the attempt to put so many in, and returns the first number.
    pub(crate) fn attempt(&self, way: Way, messages: u64) -> u64 {
        let mut inside = self.lock();
        let column = inside.column(way);
        let first = column.fates.len() as u64;
        let length = usize::try_from(first + messages).expect("it fits into memory");
        column.fates.resize(length, Fate::Unknown);
        column.wire.resize(length, 0);
        column.inbox.resize(length, 0);
        column.bodies.resize(length, 0);
        column.times.resize(length, 0);
        first
    }

    /// Notes what became of it.
    pub(crate) fn settle(&self, way: Way, number: u64, fate: Fate) {
        let time = u32::try_from(now().saturating_sub(self.born)).unwrap_or(u32::MAX);
        let mut inside = self.lock();
        let column = inside.column(way);
        if fate == Fate::Committed && column.wire[index(number)] == 0 {
            column.waiting += 1;
        }
        column.fates[index(number)] = fate;
        column.times[index(number)] = time;
    }

    /// Notes that a broker is killed now that acknowledges before it writes.
    pub(crate) fn broker_killed(&self) {
        self.lock().kills.push(now());
    }

    /// Those that must have arrived and did not, on the wire or in the inbox.
    pub(crate) fn missing(&self, way: Way) -> Vec<u64> {
        let mut inside = self.lock();
        let column = inside.column(way);
        let committed = column.fates.iter().enumerate().filter(|(_, f)| **f == Fate::Committed);
        let missing = committed
            .filter(|(n, _)| column.inbox[*n] == 0 || (way == Way::Outbox && column.wire[*n] == 0));
        missing.map(|(number, _)| number as u64).collect()
    }

    /// How many must be in the inbox and are not, beside those that are excused.
    pub(crate) fn missing_in_inbox(&self) -> u64 {
        let mut inside = self.lock();
        let missing = Way::ALL.map(|way| {
            let column = inside.column(way);
            let due = column.fates.iter().zip(&column.inbox).zip(0..);
            let missing = due.filter(|((fate, rows), number)| {
                **fate == Fate::Committed && **rows == 0 && !column.excused.contains(number)
            });
            missing.count() as u64
        });
        missing.iter().sum()
    }

    /// When it was committed or confirmed, in milliseconds since 1970.
    pub(crate) fn time(&self, way: Way, number: u64) -> u64 {
        self.born + u64::from(self.lock().column(way).times[index(number)])
    }

    /// Excuses the loss of a message that a broker acknowledged at this time, where it was killed within so many milliseconds of
    /// that. Otherwise says how far from that it was.
    pub(crate) fn excuse(
        &self,
        way: Way,
        number: u64,
        acknowledged: u64,
        within: u64,
    ) -> Option<String> {
        let mut inside = self.lock();
        // An acknowledgement that left before the end may be noted after it.
        let off = inside.kills.iter().map(|kill| kill.abs_diff(acknowledged)).min();
        if off.is_some_and(|off| off <= within) {
            inside.column(way).excused.insert(number);
            return None;
        }
        let (id, off) = (ids::id(way, number), off.unwrap_or(0));
        Some(format!("{id} was acknowledged {off} ms from the kill of a broker"))
    }

    /// How many were committed and have not crossed the wire.
    pub(crate) fn waiting(&self, way: Way) -> u64 {
        self.lock().column(way).waiting
    }

    /// Excuses every message that was put in and is missing now, and says how many there are.
    pub(crate) fn excuse_missing(&self, way: Way) -> usize {
        let missing = self.missing(way);
        self.lock().column(way).excused.extend(&missing);
        missing.len()
    }

    /// How many must arrive.
    pub(crate) fn committed(&self, way: Way) -> u64 {
        let mut inside = self.lock();
        inside.column(way).fates.iter().filter(|fate| **fate == Fate::Committed).count() as u64
    }

    /// How many were tried.
    pub(crate) fn attempted(&self, way: Way) -> u64 {
        self.lock().column(way).fates.len() as u64
    }

    /// How many were committed, and how many different ones crossed the wire.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let mut inside = self.lock();
        let mut counts = (0, 0);
        for way in Way::ALL {
            let column = inside.column(way);
            counts.0 += column.fates.iter().filter(|fate| **fate == Fate::Committed).count();
            counts.1 += column.wire.iter().filter(|copies| **copies > 0).count();
        }
        counts
    }

    /// The broker is back; the time until a message that is put in from now on crosses the wire is of interest.
    pub(crate) fn await_resume(&self, way: Way) {
        let mut inside = self.lock();
        let column = inside.column(way);
        column.awaited = Some((column.fates.len() as u64, Instant::now()));
    }

    /// Notes a message on the wire.
    pub(crate) fn heard(&self, body: &[u8], redelivered: bool) {
        let found = Found::read(body);
        let mut inside = self.lock();
        let Some((way, number)) = found.as_ref().and_then(|found| ids::number(&found.message_id))
        else {
            inside.strange_wire.phantom(&String::from_utf8_lossy(body));
            return;
        };
        let found = found.expect("it has a number");
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        // Half of it is enough to see that copies differ. 0 stands for none yet.
        let digest = (hasher.finish() >> 32) as u32 | 1;
        let column = inside.column(way);
        let Some(copies) = column.wire.get_mut(index(number)) else {
            inside.strange_wire.phantom(&found.message_id);
            return;
        };
        let first = *copies == 0;
        if first && column.fates[index(number)] == Fate::Committed {
            column.waiting -= 1;
        }
        if first || !redelivered {
            *copies = copies.saturating_add(1);
        }
        if let Some((since, at)) = column.awaited
            && number >= since
        {
            column.resumed.push(at.elapsed().as_secs_f64());
            column.awaited = None;
        }
        let known = &mut column.bodies[index(number)];
        let same = first || *known == digest;
        *known = digest;
        if !same || (first && !ids::is_payload(self.seed, way, number, &found.payload)) {
            inside.strange_wire.wrong(&found.message_id);
        }
    }

    /// Notes a row of the inbox.
    pub(crate) fn stored(&self, message_id: &str, payload: &Value) {
        let mut inside = self.lock();
        let Some((way, number)) = ids::number(message_id) else {
            inside.strange_inbox.phantom(message_id);
            return;
        };
        let Some(rows) = inside.column(way).inbox.get_mut(index(number)) else {
            inside.strange_inbox.phantom(message_id);
            return;
        };
        *rows = rows.saturating_add(1);
        if !ids::is_payload(self.seed, way, number, payload) {
            inside.strange_inbox.wrong(message_id);
        }
    }

    /// Forgets what the inbox held, before it is read again.
    pub(crate) fn forget_inbox(&self) {
        let mut inside = self.lock();
        inside.strange_inbox = Strange::default();
        for way in Way::ALL {
            inside.column(way).inbox.fill(0);
        }
    }
}

impl Inside {
    /// The messages of a way.
    pub(crate) fn column(&mut self, way: Way) -> &mut Column {
        match way {
            Way::Outbox => &mut self.outbox,
            Way::Sender => &mut self.sender,
        }
    }
}

impl Strange {
    fn phantom(&mut self, what: &str) {
        keep(&mut self.phantoms, what);
    }

    fn wrong(&mut self, what: &str) {
        keep(&mut self.wrong, what);
    }
}

fn keep(set: &mut BTreeSet<String>, what: &str) {
    if set.len() < SHOWN {
        set.insert(what.chars().take(200).collect());
    }
}

/// What counts of an envelope.
#[derive(Debug)]
struct Found {
    message_id: String,
    payload: Value,
}

impl Found {
    fn read(body: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        let message_id = value.get("message_id")?.as_str()?.to_owned();
        Some(Self { message_id, payload: value.get_mut("payload")?.take() })
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// In milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
