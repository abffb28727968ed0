//! What messages of a run are called and hold: all of it follows from the run's seed and a number.

use serde_json::{Value, json};

/// Of one to four bytes.
const LETTERS: [char; 10] = ['a', 'b', 'c', 'x', 'ä', 'ß', '€', '𝄞', ' ', '.'];

/// Which way a message was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a row of the outbox.
    Outbox,
    /// By a client of the broker.
    Sender,
}

impl Way {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Outbox, Self::Sender];

    fn letters(self) -> (char, char) {
        match self {
            Self::Outbox => ('o', 'O'),
            Self::Sender => ('s', 'S'),
        }
    }

    /// The topic of its messages in a cell of this tag.
    pub(crate) fn topic(self, tag: &str) -> String {
        match self {
            Self::Outbox => format!("event.{tag}.outbox.written"),
            Self::Sender => format!("event.{tag}.sender.sent"),
        }
    }
}

/// The message id of a number. Two neighbours differ only in case, so that who does not look at it takes them for one.
pub(crate) fn id(way: Way, number: u64) -> String {
    let (lower, upper) = way.letters();
    if number.is_multiple_of(2) {
        format!("{lower}-{}-a", number / 2)
    } else {
        format!("{upper}-{}-A", number / 2)
    }
}

/// The number of an id of [`id`].
pub(crate) fn number(id: &str) -> Option<(Way, u64)> {
    let mut parts = id.split('-');
    let (letter, half, case) = (parts.next()?, parts.next()?.parse::<u64>().ok()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let way = match letter {
        "o" | "O" => Way::Outbox,
        "s" | "S" => Way::Sender,
        _ => return None,
    };
    let number = half * 2 + u64::from(case == "A");
    (self::id(way, number) == id).then_some((way, number))
}

/// The payload of a number, as it is put in. No quotes and backslashes, so that it is a literal of every database.
pub(crate) fn payload(seed: u64, way: Way, number: u64) -> String {
    let (lower, _) = way.letters();
    let mut dice = fastrand::Rng::with_seed(seed ^ (number << 1) ^ u64::from(lower));
    let length = dice.usize(..96);
    let text: String = (0..length).map(|_| LETTERS[dice.usize(..LETTERS.len())]).collect();
    json!({ "n": number, "way": lower.to_string(), "text": text }).to_string()
}

/// Whether a payload is that of a number, however a database has spaced it.
pub(crate) fn is_payload(seed: u64, way: Way, number: u64, found: &Value) -> bool {
    serde_json::from_str::<Value>(&payload(seed, way, number)).is_ok_and(|value| value == *found)
}

/// The envelope of a message of the sender.
pub(crate) fn envelope(seed: u64, tag: &str, number: u64) -> String {
    let way = Way::Sender;
    let (id, topic, payload) = (id(way, number), way.topic(tag), payload(seed, way, number));
    format!(
        r#"{{"schema":"interservice.envelope.v1","message_id":"{id}","message_type":"event","topic":"{topic}","source_service":"faults","event_type":"sent","payload":{payload}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_numbers() {
        for way in Way::ALL {
            for wanted in [0, 1, 2, 999_999] {
                assert_eq!(number(&id(way, wanted)), Some((way, wanted)));
            }
        }
        for other in ["", "o-1", "o-1-A", "O-1-a", "m-1-a", "o-1-a-", "o-01-a"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn neighbours_differ_only_in_case_and_not_in_payload() {
        assert!(id(Way::Outbox, 6).eq_ignore_ascii_case(&id(Way::Outbox, 7)));
        let found = serde_json::from_str(&payload(1, Way::Outbox, 6)).unwrap();
        assert!(is_payload(1, Way::Outbox, 6, &found));
        assert!(!is_payload(1, Way::Outbox, 7, &found));
        assert!(!is_payload(2, Way::Outbox, 6, &found));
        assert!(!is_payload(1, Way::Sender, 6, &found));
    }
}
