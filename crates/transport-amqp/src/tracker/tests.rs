//! Confirms and returns, one by one and at random.

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
    let expected = vec![(1, refused("no queue")), (2, refused("no queue")), (3, Outcome::Taken)];
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

/// A window that random steps fill now and then.
const WINDOW: usize = 8;
const WINDOW_BYTES: usize = 200;
const LARGEST: usize = 100;

#[derive(Debug, Clone)]
enum Step {
    /// A message with one of a few ids, or none, so that a return may mean several.
    Send {
        id: Option<u8>,
        size: usize,
        mandatory: bool,
    },
    Return {
        id: Option<u8>,
    },
    /// Of a tag that was sent or is ahead of them all.
    Confirm {
        tag: u64,
        multiple: bool,
        taken: bool,
    },
}

/// A message as the naive model keeps it.
#[derive(Debug, Clone)]
struct Sent {
    tag: u64,
    id: Option<u8>,
    size: usize,
    mandatory: bool,
    returned: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || prop::option::of(0..4_u8);
    prop_oneof![
        4 => (id(), 1..LARGEST, any::<bool>())
            .prop_map(|(id, size, mandatory)| Step::Send { id, size, mandatory }),
        1 => id().prop_map(|id| Step::Return { id }),
        3 => (0_u64..30, any::<bool>(), any::<bool>())
            .prop_map(|(tag, multiple, taken)| Step::Confirm { tag, multiple, taken }),
    ]
}

fn key_of(id: Option<u8>) -> ReturnKey {
    key(id.map(|id| id.to_string()).as_deref(), "t")
}

/// What a confirm has to settle, and with which outcome; `None` where it is out of step.
fn confirmed(model: &mut Vec<Sent>, last: u64, step: &Step) -> Option<Vec<(u64, Outcome)>> {
    let Step::Confirm { tag, multiple, taken } = *step else { return None };
    let meant = |sent: &Sent| if multiple { tag == 0 || sent.tag <= tag } else { sent.tag == tag };
    let (settled, rest): (Vec<_>, Vec<_>) = model.iter().cloned().partition(meant);
    if settled.is_empty() || tag > last {
        return None;
    }
    *model = rest;
    let outcome = |sent: Sent| match (sent.returned, taken) {
        (true, _) => (sent.tag, refused("no queue")),
        (false, true) => (sent.tag, Outcome::Taken),
        (false, false) => (sent.tag, refused("it answered with a negative confirm")),
    };
    Some(settled.into_iter().map(outcome).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Against a model that is a plain list.
    #[test]
    fn it_agrees_with_a_list(steps in proptest::collection::vec(step(), 0..80)) {
        let mut tracker = Tracker::new();
        let mut model: Vec<Sent> = Vec::new();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Send { id, size, mandatory } => {
                    if !tracker.has_room(WINDOW, WINDOW_BYTES) {
                        continue;
                    }
                    last += 1;
                    tracker.insert(last, size, Instant::now(), mandatory.then(|| key_of(id)));
                    model.push(Sent { tag: last, id, size, mandatory, returned: false });
                }
                Step::Return { id } => {
                    let outcome = tracker.returned(&key_of(id), "no queue");
                    let mut meant: Vec<_> =
                        model.iter_mut().filter(|sent| sent.mandatory && sent.id == id).collect();
                    prop_assert_eq!(outcome.is_ok(), !meant.is_empty());
                    for sent in &mut meant {
                        sent.returned = true;
                    }
                }
                Step::Confirm { tag, multiple, taken } => {
                    let expected = confirmed(&mut model, last, &step);
                    prop_assert_eq!(tracker.confirmed(tag, multiple, taken).ok(), expected);
                }
            }
            prop_assert_eq!(tracker.len(), model.len());
            prop_assert_eq!(tracker.bytes(), model.iter().map(|sent| sent.size).sum::<usize>());
            prop_assert!(tracker.len() <= WINDOW && tracker.bytes() < WINDOW_BYTES + LARGEST);
            prop_assert_eq!(tracker.oldest().is_some(), !model.is_empty());
        }
        if let [only] = model.as_slice() {
            prop_assert_eq!(tracker.take_only(), Some(only.tag));
            prop_assert!(tracker.is_empty() && tracker.bytes() == 0);
        } else {
            prop_assert_eq!(tracker.take_only(), None);
        }
    }
}
