//! How a message is told from another, and what to do with ids that do not fit.

use std::borrow::Cow;

use uuid::Uuid;

use crate::message::MessageId;

/// Most characters of an id.
const MAX_CHARACTERS: usize = 255;

/// What our ids are derived in. Never changes, or every message known would be new.
const NAMESPACE: Uuid = Uuid::from_u128(0x48e0_6cd5_aec1_4d29_ad6f_7b6b_a8f9_884d);

/// What a message has to be told by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits<'m> {
    pub(crate) topic: &'m str,
    /// SHA-256 of the bytes.
    pub(crate) fingerprint: &'m [u8],
    /// That of an event or a notification.
    pub(crate) own_id: Option<&'m str>,
    /// That of a request or an answer.
    pub(crate) request_id: Option<&'m str>,
    pub(crate) correlation_id: Option<&'m str>,
    /// Whether equal bytes are the same message: where the broker kept it, and for a batch of events.
    pub(crate) is_told_by_content: bool,
}

impl Traits<'_> {
    /// The first of these that there is: its own id; topic and request; topic, correlation and bytes; topic and
    /// bytes. Equal bytes alone are not a message that came twice: a clock ticks.
    pub(crate) fn message_id(&self) -> MessageId {
        let topic = self.topic.as_bytes();
        if let Some(id) = self.own_id {
            return if fits(id) {
                MessageId::Given(id.to_owned())
            } else {
                derived("own id", &[topic, id.as_bytes()])
            };
        }
        if let Some(request_id) = self.request_id {
            return derived("request", &[topic, request_id.as_bytes()]);
        }
        if let Some(correlation_id) = self.correlation_id {
            return derived("correlation", &[topic, correlation_id.as_bytes(), self.fingerprint]);
        }
        if self.is_told_by_content {
            return derived("content", &[topic, self.fingerprint]);
        }
        MessageId::Fresh
    }
}

/// A request id that fits: itself, or one derived from it, the same in a request and its answer.
pub(crate) fn fitting(request_id: &str) -> Cow<'_, str> {
    if fits(request_id) {
        return request_id.into();
    }
    uuid("long request id", &[request_id.as_bytes()]).to_string().into()
}

/// A name cut to what fits.
pub(crate) fn cut(mut name: String) -> String {
    if let Some((end, _)) = name.char_indices().nth(MAX_CHARACTERS) {
        name.truncate(end);
    }
    name
}

/// Whether a text is not longer than an id may be.
pub(crate) fn fits(text: &str) -> bool {
    text.len() <= MAX_CHARACTERS || text.chars().nth(MAX_CHARACTERS).is_none()
}

fn derived(rule: &str, parts: &[&[u8]]) -> MessageId {
    MessageId::Derived(uuid(rule, parts))
}

/// Each part comes after its length, so that no two lists read the same.
fn uuid(rule: &str, parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::new();
    for part in [rule.as_bytes()].iter().chain(parts) {
        name.extend((part.len() as u64).to_be_bytes());
        name.extend(*part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Traits<'_> = Traits {
        topic: "t",
        fingerprint: &[1],
        own_id: Some("id"),
        request_id: Some("request"),
        correlation_id: Some("correlation"),
        is_told_by_content: true,
    };

    #[test]
    fn the_first_rule_that_can_be_applied_decides() {
        let traits = ALL;
        assert_eq!(traits.message_id(), MessageId::Given("id".to_owned()));
        let traits = Traits { own_id: None, ..traits };
        assert_eq!(traits.message_id(), derived("request", &[b"t", b"request"]));
        let traits = Traits { request_id: None, ..traits };
        assert_eq!(traits.message_id(), derived("correlation", &[b"t", b"correlation", &[1]]));
        let traits = Traits { correlation_id: None, ..traits };
        assert_eq!(traits.message_id(), derived("content", &[b"t", &[1]]));
        let traits = Traits { is_told_by_content: false, ..traits };
        assert_eq!(traits.message_id(), MessageId::Fresh);
    }

    #[test]
    fn derived_ids_are_the_same_in_every_release() {
        let id = Traits { own_id: None, ..ALL }.message_id().or_fresh(String::new);
        assert_eq!(id, "b7fbc37c-e579-58cc-b2a0-2590b1f420b4");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(uuid("r", &[b"ab", b"c"]), uuid("r", &[b"a", b"bc"]));
    }

    #[test]
    fn an_id_of_255_characters_is_kept_and_a_longer_one_is_replaced_by_a_derived_one() {
        let (longest, too_long) = ("é".repeat(255), "é".repeat(256));
        let given = Traits { own_id: Some(&longest), ..ALL };
        assert_eq!(given.message_id(), MessageId::Given(longest.clone()));
        let replaced = Traits { own_id: Some(&too_long), ..ALL };
        assert!(matches!(replaced.message_id(), MessageId::Derived(_)));
        assert_eq!(replaced.message_id(), replaced.message_id());
        assert_eq!(fitting(&longest), longest);
        assert_eq!(fitting(&too_long).len(), 36);
        assert_eq!(cut(too_long), longest);
    }
}
