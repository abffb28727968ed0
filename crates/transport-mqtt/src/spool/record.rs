//! A message as the spool keeps it.

use bytes::Bytes;
use postroad_transport::MqttFlags;
use uuid::Uuid;

/// First byte of every record, for the day that the layout changes.
const VERSION: u8 = 1;
/// Version, flags, id and the length of the topic.
const HEAD: usize = 1 + 1 + 16 + 4;

const QOS: u8 = 0b11;
const RETAIN: u8 = 1 << 2;
const DUP: u8 = 1 << 3;

/// A message with the id that it got on arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) flags: MqttFlags,
    pub(crate) topic: String,
    pub(crate) body: Bytes,
}

impl Record {
    /// Reads a record and writes it again.
    pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
        let record = decode(bytes)?;
        Some(encode(record.id, record.flags, &record.topic, &record.body))
    }

    /// A message of no topic whose body is what the spool has, so that it is kept.
    pub(super) fn unreadable(bytes: &[u8]) -> Self {
        Self {
            id: Uuid::now_v7(),
            flags: MqttFlags::default(),
            topic: String::new(),
            body: Bytes::copy_from_slice(bytes),
        }
    }
}

pub(super) fn encode(id: Uuid, flags: MqttFlags, topic: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(topic.len()).expect("MQTT's topics have at most 65535 bytes");
    let retain = if flags.retain { RETAIN } else { 0 };
    let dup = if flags.dup { DUP } else { 0 };
    let mut bytes = Vec::with_capacity(HEAD + topic.len() + body.len());
    bytes.extend_from_slice(&[VERSION, flags.qos & QOS | retain | dup]);
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `None` for what is no record of this version.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let (&[VERSION, flags], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (topic, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let flags = MqttFlags { qos: flags & QOS, retain: flags & RETAIN != 0, dup: flags & DUP != 0 };
    Some(Record {
        id: Uuid::from_bytes(*id),
        flags,
        topic: str::from_utf8(topic).ok()?.to_owned(),
        body: Bytes::copy_from_slice(body),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            id: u128,
            qos in 0_u8..3,
            retain: bool,
            dup: bool,
            topic: String,
            body: Vec<u8>,
        ) {
            let (id, flags) = (Uuid::from_u128(id), MqttFlags { qos, retain, dup });
            let bytes = encode(id, flags, &topic, &body);
            prop_assert_eq!(bytes.len(), HEAD + topic.len() + body.len());
            let expected = Record { id, flags, topic, body: body.into() };
            prop_assert_eq!(decode(&bytes), Some(expected));
        }

        #[test]
        fn no_bytes_at_all_break_the_reader(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
