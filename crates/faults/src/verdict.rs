//! What was lost, made up or doubled, by the definitions of Jepsen's checker of queues.
//!
//! With A all attempts, E those whose commit (or confirm) returned, W what an independent recorder saw on the wire and I the
//! inbox: lost is E without W or without I, phantom is W or I without A or with what was rolled back, duplicated is what
//! crossed the wire more than once (allowed, and counted), recovered is what arrived though nobody had said that it
//! would (allowed).

use serde::Serialize;

use crate::ids::{self, Way};
use crate::ledger::{Column, Fate, Inside};

/// How failures begin that say what did not arrive.
const LOST: &str = "lost on the way";
/// So many ids are shown of each kind.
const SHOWN: usize = 5;

/// What came of the messages of one cell.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A.
    pub(crate) attempted: u64,
    /// E.
    pub(crate) committed: u64,
    /// Rows whose transaction was rolled back.
    pub(crate) rolled_back: u64,
    /// E that did not cross the wire; rows of the outbox only.
    pub(crate) lost_on_wire: u64,
    /// E that is not in the inbox.
    pub(crate) lost_in_inbox: u64,
    /// Beside those: what the broker confirmed right before it was killed, and lost.
    pub(crate) lost_by_broker: u64,
    /// On the wire or in the inbox without having been put in.
    pub(crate) phantom: u64,
    /// Copies on the wire beyond the first.
    pub(crate) duplicated: u64,
    /// Arrived, though its commit or confirm had not returned.
    pub(crate) recovered: u64,
    /// Inbox rows beyond the first of a message.
    pub(crate) double_in_inbox: u64,
    /// Messages with another payload than was put in, or copies that differ.
    pub(crate) wrong_bytes: u64,
    /// In quarantine, which nothing of these messages may be.
    pub(crate) quarantined: u64,
    /// What is wrong, in words.
    pub(crate) failures: Vec<String>,
}

/// What a cell allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The most copies on the wire beyond the first.
    pub(crate) duplicates: u64,
    /// Whether rows loop back into the inbox.
    pub(crate) loops: bool,
}

impl Verdict {
    /// From what was noted, once everything had the time to arrive.
    pub(crate) fn of(inside: &Inside, terms: Terms, quarantined: u64) -> Self {
        let mut verdict = Self { quarantined, ..Self::default() };
        for (way, column) in [(Way::Outbox, &inside.outbox), (Way::Sender, &inside.sender)] {
            verdict.add(way, column, terms);
        }
        for (place, strange) in
            [("on the wire", &inside.strange_wire), ("in the inbox", &inside.strange_inbox)]
        {
            if !strange.phantoms.is_empty() {
                verdict.phantom += strange.phantoms.len() as u64;
                verdict.fails(format!("phantom {place}: {:?}", strange.phantoms));
            }
            if !strange.wrong.is_empty() {
                verdict.wrong_bytes += strange.wrong.len() as u64;
                verdict.fails(format!("wrong bytes {place}: {:?}", strange.wrong));
            }
        }
        if verdict.duplicated > terms.duplicates {
            let (found, most) = (verdict.duplicated, terms.duplicates);
            verdict
                .fails(format!("duplicated: {found} copies on the wire, at most {most} allowed"));
        }
        if quarantined > 0 {
            verdict.fails(format!("quarantined: {quarantined} messages that were good"));
        }
        if verdict.committed == 0 {
            verdict.fails("nothing was moved".to_owned());
        }
        verdict
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Notes something that is wrong.
    pub(crate) fn fails(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Takes back what is said of messages that had no time to arrive.
    pub(crate) fn forget_lost(&mut self) {
        (self.lost_on_wire, self.lost_in_inbox, self.lost_by_broker) = (0, 0, 0);
        self.failures.retain(|failure| !failure.starts_with(LOST));
    }

    fn add(&mut self, way: Way, column: &Column, terms: Terms) {
        let mut named = Named::default();
        for (number, fate) in column.fates.iter().enumerate() {
            let (wire, inbox) = (u64::from(column.wire[number]), u64::from(column.inbox[number]));
            let id = || ids::id(way, number as u64);
            self.attempted += 1;
            self.duplicated += wire.saturating_sub(1);
            self.double_in_inbox += inbox.saturating_sub(1);
            if inbox > 1 {
                named.double.push(id());
            }
            match fate {
                Fate::Committed => {
                    self.committed += 1;
                    let on_wire = wire > 0 || way == Way::Sender;
                    let in_inbox = inbox > 0 || (way == Way::Outbox && !terms.loops);
                    if (!on_wire || !in_inbox) && column.excused.contains(&(number as u64)) {
                        self.lost_by_broker += 1;
                        continue;
                    }
                    if !on_wire {
                        self.lost_on_wire += 1;
                        named.wire.push(id());
                    }
                    if !in_inbox {
                        self.lost_in_inbox += 1;
                        named.inbox.push(id());
                    }
                }
                Fate::Unknown => self.recovered += u64::from(wire + inbox > 0),
                Fate::RolledBack => {
                    self.rolled_back += 1;
                    if wire + inbox > 0 {
                        self.phantom += 1;
                        named.phantom.push(id());
                    }
                }
            }
        }
        named.tell(way, self);
    }
}

#[derive(Default)]
struct Named {
    wire: Vec<String>,
    inbox: Vec<String>,
    phantom: Vec<String>,
    double: Vec<String>,
}

impl Named {
    fn tell(self, way: Way, verdict: &mut Verdict) {
        let kinds = [
            ("lost on the way to the wire", self.wire),
            ("lost on the way to the inbox", self.inbox),
            ("phantom, rolled back and seen", self.phantom),
            ("double in the inbox", self.double),
        ];
        for (kind, ids) in kinds {
            if !ids.is_empty() {
                let shown = &ids[..ids.len().min(SHOWN)];
                verdict.fails(format!("{kind} ({way:?}): {} such as {shown:?}", ids.len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::ledger::{Ledger, UNWRITTEN_MS};

    const SEED: u64 = 7;
    const TERMS: Terms = Terms { duplicates: 0, loops: true };

    /// Ten messages of each way that all went well.
    fn good() -> Ledger {
        let ledger = Ledger::new(SEED);
        for way in Way::ALL {
            ledger.attempt(way, 10);
            for number in 0..10 {
                ledger.settle(way, number, Fate::Committed);
                hear(&ledger, way, number);
                store(&ledger, way, number);
            }
        }
        ledger
    }

    fn hear(ledger: &Ledger, way: Way, number: u64) {
        let (id, payload) = (ids::id(way, number), ids::payload(SEED, way, number));
        ledger.heard(format!(r#"{{"message_id":"{id}","payload":{payload}}}"#).as_bytes(), false);
    }

    fn store(ledger: &Ledger, way: Way, number: u64) {
        let payload: Value = serde_json::from_str(&ids::payload(SEED, way, number)).unwrap();
        ledger.stored(&ids::id(way, number), &payload);
    }

    fn verdict(ledger: &Ledger) -> Verdict {
        Verdict::of(&ledger.lock(), TERMS, 0)
    }

    #[track_caller]
    fn fails(verdict: &Verdict, kind: &str) {
        assert_eq!(verdict.failures.len(), 1, "{verdict:?}");
        assert!(verdict.failures[0].starts_with(kind), "{verdict:?}");
    }

    #[test]
    fn what_arrived_once_is_good() {
        let verdict = verdict(&good());
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.attempted, verdict.committed), (20, 20));
    }

    #[test]
    fn a_run_that_moved_nothing_fails() {
        fails(&verdict(&Ledger::new(SEED)), "nothing was moved");
    }

    #[test]
    fn a_committed_row_that_did_not_arrive_is_lost_and_one_in_doubt_is_not() {
        let ledger = good();
        ledger.attempt(Way::Outbox, 1);
        assert!(verdict(&ledger).is_good());
        ledger.settle(Way::Outbox, 10, Fate::Committed);
        store(&ledger, Way::Outbox, 10);
        fails(&verdict(&ledger), "lost on the way to the wire");
        hear(&ledger, Way::Outbox, 10);
        assert!(verdict(&ledger).is_good());
        ledger.attempt(Way::Sender, 1);
        hear(&ledger, Way::Sender, 10);
        assert_eq!(verdict(&ledger).recovered, 1);
        ledger.settle(Way::Sender, 10, Fate::Committed);
        fails(&verdict(&ledger), "lost on the way to the inbox");
    }

    #[test]
    fn what_a_broker_lost_is_counted_and_forgiven_only_right_before_it_was_killed() {
        let ledger = good();
        ledger.attempt(Way::Sender, 1);
        ledger.settle(Way::Sender, 10, Fate::Committed);
        let time = ledger.time(Way::Sender, 10);
        ledger.excuse(Way::Sender, 10, time, UNWRITTEN_MS);
        fails(&verdict(&ledger), "lost on the way to the inbox");
        ledger.broker_killed();
        ledger.excuse(Way::Sender, 10, time - 10_000, UNWRITTEN_MS);
        fails(&verdict(&ledger), "lost on the way to the inbox");
        ledger.excuse(Way::Sender, 10, time, UNWRITTEN_MS);
        let verdict = verdict(&ledger);
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.lost_by_broker, verdict.lost_in_inbox), (1, 0));
    }

    #[test]
    fn what_was_rolled_back_or_never_put_in_is_a_phantom() {
        let ledger = good();
        ledger.attempt(Way::Outbox, 1);
        ledger.settle(Way::Outbox, 10, Fate::RolledBack);
        assert!(verdict(&ledger).is_good());
        hear(&ledger, Way::Outbox, 10);
        fails(&verdict(&ledger), "phantom, rolled back and seen");
        let ledger = good();
        hear(&ledger, Way::Outbox, 99);
        fails(&verdict(&ledger), "phantom on the wire");
        let ledger = good();
        ledger.stored("m-1", &Value::Null);
        fails(&verdict(&ledger), "phantom in the inbox");
    }

    #[test]
    fn copies_are_counted_and_must_not_be_more_than_allowed_nor_differ() {
        let ledger = good();
        hear(&ledger, Way::Outbox, 3);
        fails(&verdict(&ledger), "duplicated");
        let terms = Terms { duplicates: 1, ..TERMS };
        assert!(Verdict::of(&ledger.lock(), terms, 0).is_good());
        ledger.heard(
            format!(r#"{{"message_id":"{}","payload":1}}"#, ids::id(Way::Outbox, 4)).as_bytes(),
            true,
        );
        fails(&Verdict::of(&ledger.lock(), terms, 0), "wrong bytes on the wire");
    }

    #[test]
    fn a_second_row_another_payload_and_quarantine_fail() {
        let ledger = good();
        store(&ledger, Way::Sender, 5);
        fails(&verdict(&ledger), "double in the inbox");
        let ledger = Ledger::new(SEED);
        ledger.attempt(Way::Outbox, 1);
        ledger.settle(Way::Outbox, 0, Fate::Committed);
        hear(&ledger, Way::Outbox, 0);
        ledger.stored(&ids::id(Way::Outbox, 0), &Value::Null);
        fails(&verdict(&ledger), "wrong bytes in the inbox");
        fails(&Verdict::of(&good().lock(), TERMS, 1), "quarantined");
    }
}
