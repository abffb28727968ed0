//! Which published messages wait for their confirm.

use std::collections::BTreeMap;
use std::mem;

use postroad_fault_points::{Bug, has};
use tokio::time::Instant;

/// Messages in flight, by the delivery tag that the broker gives them by counting.
///
/// `T` is whoever waits for the outcome.
#[derive(Debug)]
pub(crate) struct Tracker<T> {
    in_flight: BTreeMap<u64, InFlight<T>>,
    last_tag: u64,
    bytes: usize,
}

#[derive(Debug)]
struct InFlight<T> {
    waiter: T,
    size: usize,
    sent: Instant,
    /// What a return would say, for a mandatory message.
    returnable: Option<ReturnKey>,
    returned: Option<String>,
}

/// All that a return tells of which message it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnKey {
    pub(crate) message_id: Option<String>,
    pub(crate) topic: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker has it.
    Taken,
    /// The broker has not.
    Refused(String),
}

/// The broker answered for a message that was never sent, so the counting is not the broker's any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfStep;

impl<T> Tracker<T> {
    pub(crate) fn new() -> Self {
        Self { in_flight: BTreeMap::new(), last_tag: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest message in flight was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|(_, message)| message.sent)
    }

    /// Whoever waits for the only message in flight; `None` where there are more or none.
    pub(crate) fn take_only(&mut self) -> Option<T> {
        if self.in_flight.len() != 1 {
            return None;
        }
        self.bytes = 0;
        self.in_flight.pop_first().map(|(_, message)| message.waiter)
    }

    /// To be called before the message is sent, in the order of sending.
    pub(crate) fn insert(
        &mut self,
        waiter: T,
        size: usize,
        sent: Instant,
        returnable: Option<ReturnKey>,
    ) {
        self.last_tag += 1;
        self.bytes += size;
        self.in_flight
            .insert(self.last_tag, InFlight { waiter, size, sent, returnable, returned: None });
    }

    /// No queue took a message. Where several in flight could be meant, it counts for all of them: one that is sent
    /// again arrives twice at worst, one that is taken for sent would be lost.
    pub(crate) fn returned(&mut self, key: &ReturnKey, reason: &str) -> Result<(), OutOfStep> {
        let mut known = false;
        for message in
            self.in_flight.values_mut().filter(|message| message.returnable.as_ref() == Some(key))
        {
            message.returned.get_or_insert_with(|| reason.to_owned());
            known = true;
        }
        if known { Ok(()) } else { Err(OutOfStep) }
    }

    /// The broker's answer for `tag`, or for everything through it. Tag 0 then means everything.
    pub(crate) fn confirmed(
        &mut self,
        tag: u64,
        multiple: bool,
        taken: bool,
    ) -> Result<Vec<(T, Outcome)>, OutOfStep> {
        let tag = if has(Bug::DeliveryTagOffByOne) && tag > 0 {
            tag.saturating_add(1).min(self.last_tag)
        } else {
            tag
        };
        let settled = if multiple {
            let through = if tag == 0 { self.last_tag } else { tag };
            if through > self.last_tag {
                return Err(OutOfStep);
            }
            let rest = self.in_flight.split_off(&(through + 1));
            mem::replace(&mut self.in_flight, rest).into_values().collect()
        } else {
            self.in_flight.remove(&tag).into_iter().collect::<Vec<_>>()
        };
        if settled.is_empty() {
            return Err(OutOfStep);
        }
        self.bytes -= settled.iter().map(|message| message.size).sum::<usize>();
        Ok(settled.into_iter().map(|message| message.settle(taken)).collect())
    }
}

impl<T> InFlight<T> {
    fn settle(self, taken: bool) -> (T, Outcome) {
        let outcome = match self.returned {
            Some(reason) => Outcome::Refused(reason),
            None if taken => Outcome::Taken,
            None => Outcome::Refused("it answered with a negative confirm".to_owned()),
        };
        (self.waiter, outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(message_id: Option<&str>, topic: &str) -> ReturnKey {
        ReturnKey { message_id: message_id.map(str::to_owned), topic: topic.to_owned() }
    }

    /// A tracker with messages 1 to `count`, mandatory, each with its number for an id.
    fn tracker(count: u64) -> Tracker<u64> {
        let mut tracker = Tracker::new();
        for number in 1..=count {
            tracker.insert(number, 10, Instant::now(), Some(key(Some(&number.to_string()), "t")));
        }
        tracker
    }

    fn refused(reason: &str) -> Outcome {
        Outcome::Refused(reason.to_owned())
    }

    #[test]
    fn a_confirm_settles_its_message_and_no_other() {
        let mut tracker = tracker(3);
        assert_eq!(tracker.confirmed(2, false, true), Ok(vec![(2, Outcome::Taken)]));
        assert_eq!((tracker.len(), tracker.bytes()), (2, 20));
    }

    #[test]
    fn a_multiple_confirm_settles_everything_through_its_tag() {
        let mut tracker = tracker(3);
        assert_eq!(
            tracker.confirmed(2, true, true),
            Ok(vec![(1, Outcome::Taken), (2, Outcome::Taken)])
        );
        assert_eq!(tracker.confirmed(0, true, true), Ok(vec![(3, Outcome::Taken)]));
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_returned_message_is_refused_by_its_confirm() {
        let mut tracker = tracker(2);
        tracker.returned(&key(Some("1"), "t"), "no queue").unwrap();
        assert_eq!(
            tracker.confirmed(2, true, true),
            Ok(vec![(1, refused("no queue")), (2, Outcome::Taken)])
        );
    }

    #[test]
    fn a_return_that_could_mean_several_messages_refuses_them_all() {
        let mut tracker = Tracker::new();
        for number in 1..=2 {
            tracker.insert(number, 1, Instant::now(), Some(key(None, "t")));
        }
        tracker.insert(3, 1, Instant::now(), None);
        tracker.returned(&key(None, "t"), "no queue").unwrap();
        let expected =
            vec![(1, refused("no queue")), (2, refused("no queue")), (3, Outcome::Taken)];
        assert_eq!(tracker.confirmed(0, true, true), Ok(expected));
    }

    #[test]
    fn an_answer_for_a_message_never_sent_is_out_of_step() {
        let mut tracker = tracker(2);
        assert_eq!(tracker.confirmed(3, false, true), Err(OutOfStep));
        assert_eq!(tracker.confirmed(3, true, true), Err(OutOfStep));
        assert_eq!(tracker.returned(&key(Some("1"), "other"), ""), Err(OutOfStep));
        tracker.confirmed(1, false, true).unwrap();
        assert_eq!(tracker.confirmed(1, false, true), Err(OutOfStep));
        assert_eq!(tracker.confirmed(1, true, true), Err(OutOfStep));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Send,
        Return(u64),
        Confirm { tag: u64, multiple: bool, taken: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Send),
            1 => (0_u64..30).prop_map(Step::Return),
            2 => (0_u64..30, any::<bool>(), any::<bool>())
                .prop_map(|(tag, multiple, taken)| Step::Confirm { tag, multiple, taken }),
        ]
    }

    proptest! {
        /// Against a model that is a plain list of `(tag, returned)`.
        #[test]
        fn it_agrees_with_a_list(steps in proptest::collection::vec(step(), 0..60)) {
            let mut tracker = Tracker::new();
            let mut model: Vec<(u64, bool)> = Vec::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::Send => {
                        last += 1;
                        tracker.insert(last, 1, Instant::now(), Some(key(Some(&last.to_string()), "t")));
                        model.push((last, false));
                    }
                    Step::Return(tag) => {
                        let outcome = tracker.returned(&key(Some(&tag.to_string()), "t"), "r");
                        let found = model.iter_mut().find(|(known, _)| *known == tag);
                        prop_assert_eq!(outcome.is_ok(), found.is_some());
                        if let Some((_, returned)) = found {
                            *returned = true;
                        }
                    }
                    Step::Confirm { tag, multiple, taken } => {
                        let settles = |known: u64| if multiple { tag == 0 || known <= tag } else { known == tag };
                        let (settled, rest): (Vec<_>, Vec<_>) = model.iter().partition(|(known, _)| settles(*known));
                        let expected: Vec<_> = settled.iter().map(|(known, returned)| (*known, taken && !returned)).collect();
                        match tracker.confirmed(tag, multiple, taken) {
                            Ok(outcomes) => {
                                let outcomes: Vec<_> =
                                    outcomes.into_iter().map(|(waiter, outcome)| (waiter, outcome == Outcome::Taken)).collect();
                                prop_assert_eq!(outcomes, expected);
                                model = rest;
                            }
                            Err(OutOfStep) => prop_assert!(expected.is_empty() || tag > last),
                        }
                    }
                }
                prop_assert_eq!(tracker.len(), model.len());
                prop_assert_eq!(tracker.bytes(), model.len());
            }
        }
    }
}
