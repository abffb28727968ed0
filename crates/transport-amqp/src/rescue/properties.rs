//! The properties of a message, whatever bytes they are made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postroad_transport::{Incoming, Undecodable};
use serde_json::{Map, Number, Value, json};

use super::frame::{Reader, long, room, short};
use super::session::Raw;

/// JSON is read to a depth of 128. Deeper tables are kept as bytes.
const MAX_DEPTH: usize = 100;

/// The flags of the properties in the order in which they come.
const FLAGS: [(u16, &str, Kind); 14] = [
    (1 << 15, "content_type", Kind::Short),
    (1 << 14, "content_encoding", Kind::Short),
    (1 << 13, "headers", Kind::Table),
    (1 << 12, "delivery_mode", Kind::Octet),
    (1 << 11, "priority", Kind::Octet),
    (1 << 10, "correlation_id", Kind::Short),
    (1 << 9, "reply_to", Kind::Short),
    (1 << 8, "expiration", Kind::Short),
    (1 << 7, "message_id", Kind::Short),
    (1 << 6, "timestamp", Kind::Time),
    (1 << 5, "type", Kind::Short),
    (1 << 4, "user_id", Kind::Short),
    (1 << 3, "app_id", Kind::Short),
    (1 << 2, "cluster_id", Kind::Short),
];

#[derive(Clone, Copy)]
enum Kind {
    Short,
    Octet,
    Time,
    Table,
}

/// What was found among the properties, and what of it amqprs cannot decode.
#[derive(Debug, Default)]
struct Found {
    properties: Map<String, Value>,
    headers: Map<String, Value>,
    faults: Vec<String>,
}

/// The message as the engine takes it.
pub(super) fn incoming(raw: &Raw) -> Incoming {
    let mut found = Found::default();
    let mut readable = true;
    if found.properties(Reader(&raw.properties)).is_none() {
        readable = false;
        found.faults.push("the properties or headers do not end where they should".to_owned());
    }
    let (topic, exchange) = (text(&raw.topic), text(&raw.exchange));
    for (name, text) in [("routing key", &topic), ("exchange", &exchange)] {
        if text.is_err() {
            found.faults.push(format!("the {name} is not UTF-8"));
        }
    }
    let property = |name: &str| found.properties.get(name)?.as_str().map(str::to_owned);
    let undecodable = (!found.faults.is_empty()).then(|| Undecodable {
        detail: found.faults.join("; "),
        properties: found.properties.clone(),
        raw: json!({
            "routing_key": STANDARD.encode(&raw.topic),
            "exchange": STANDARD.encode(&raw.exchange),
            "properties": STANDARD.encode(&raw.properties),
            "readable": readable,
        }),
    });
    Incoming {
        topic: topic.unwrap_or_else(|_| String::from_utf8_lossy(&raw.topic).into_owned()),
        body: raw.body.clone(),
        message_id: property("message_id"),
        correlation_id: property("correlation_id"),
        reply_to: property("reply_to"),
        app_id: property("app_id"),
        message_type: property("type"),
        headers: found.headers,
        redelivered: raw.redelivered,
        undecodable,
        ..Incoming::default()
    }
}

/// The same properties with these headers more; as they are where there is no room for that in a frame, or nobody can
/// tell where the headers are.
pub(super) fn with_headers(raw: &[u8], more: &[(&str, &str)], frame_max: u32) -> Vec<u8> {
    let entries: Vec<_> = more
        .iter()
        .flat_map(|(name, text)| [short(name.as_bytes()), b"S".to_vec(), long(text.as_bytes())])
        .collect();
    let changed = spliced(raw, &entries.concat());
    changed.filter(|changed| changed.len() <= room(frame_max)).unwrap_or_else(|| raw.to_vec())
}

fn spliced(raw: &[u8], entries: &[u8]) -> Option<Vec<u8>> {
    const HEADERS: u16 = 1 << 13;
    let mut reader = Reader(raw);
    let flags = reader.u16()?;
    // Content type and encoding come first.
    for flag in [1 << 15, 1 << 14] {
        if flags & flag != 0 {
            reader.short()?;
        }
    }
    let before = &raw[2..raw.len() - reader.0.len()];
    let table = if flags & HEADERS == 0 { &[][..] } else { reader.long()? };
    let table = long(&[table, entries].concat());
    Some([&(flags | HEADERS).to_be_bytes()[..], before, &table, reader.0].concat())
}

impl Found {
    /// `None` where they are cut off.
    fn properties(&mut self, mut reader: Reader<'_>) -> Option<()> {
        let flags = reader.u16()?;
        for (_, name, kind) in FLAGS.into_iter().filter(|(flag, _, _)| flags & flag != 0) {
            let value = match kind {
                Kind::Short => self.text(reader.short()?, &format!("the property `{name}`")),
                Kind::Octet => reader.u8()?.into(),
                Kind::Time => reader.u64()?.into(),
                Kind::Table => {
                    self.headers = self.table(Reader(reader.long()?), 1)?;
                    continue;
                }
            };
            self.properties.insert(name.to_owned(), value);
        }
        reader.is_empty().then_some(())
    }

    /// A text as it is, or its bytes.
    fn text(&mut self, bytes: &[u8], name: &str) -> Value {
        text(bytes).map_or_else(
            |bytes| {
                self.faults.push(format!("{name} is not UTF-8"));
                bytes
            },
            Value::from,
        )
    }

    /// `None` from where on nobody knows how to go on.
    fn table(&mut self, mut reader: Reader<'_>, depth: usize) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        while !reader.is_empty() {
            let name = reader.short()?;
            let shown = String::from_utf8_lossy(name).into_owned();
            if text(name).is_err() {
                self.faults.push(format!("the name of the header `{shown}` is not UTF-8"));
            }
            let value = self.field(&mut reader, &shown, depth)?;
            members.insert(shown, value);
        }
        Some(members)
    }

    fn array(&mut self, mut reader: Reader<'_>, name: &str, depth: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        while !reader.is_empty() {
            values.push(self.field(&mut reader, name, depth)?);
        }
        Some(values)
    }

    fn field(&mut self, reader: &mut Reader<'_>, name: &str, depth: usize) -> Option<Value> {
        let kind = reader.u8()?;
        Some(match kind {
            b't' => (reader.u8()? != 0).into(),
            b'b' => i8::from_be_bytes(reader.array()?).into(),
            b'B' => reader.u8()?.into(),
            b's' => i16::from_be_bytes(reader.array()?).into(),
            b'u' => reader.u16()?.into(),
            b'I' => i32::from_be_bytes(reader.array()?).into(),
            b'i' => reader.u32()?.into(),
            b'l' => i64::from_be_bytes(reader.array()?).into(),
            b'L' => {
                self.faults.push(format!("the header `{name}` is of a type (`L`) unknown here"));
                reader.u64()?.into()
            }
            b'T' => reader.u64()?.into(),
            b'f' => float(f32::from_be_bytes(reader.array()?).into()),
            b'd' => float(f64::from_be_bytes(reader.array()?)),
            b'D' => format!("Decimal({}, {})", reader.u8()?, reader.u32()?).into(),
            b'V' => Value::Null,
            b'S' => self.text(reader.long()?, &format!("the header `{name}`")),
            b'x' => text(reader.long()?).map_or_else(|bytes| bytes, Value::from),
            b'F' | b'A' if depth >= MAX_DEPTH => bytes(reader.long()?),
            b'F' => self.table(Reader(reader.long()?), depth + 1)?.into(),
            b'A' => self.array(Reader(reader.long()?), name, depth + 1)?.into(),
            other => {
                let shown = char::from(other).escape_default();
                self.faults
                    .push(format!("the header `{name}` is of a type (`{shown}`) unknown here"));
                return None;
            }
        })
    }
}

fn text(raw: &[u8]) -> Result<String, Value> {
    String::from_utf8(raw.to_vec()).map_err(|_| bytes(raw))
}

fn bytes(raw: &[u8]) -> Value {
    json!({ "base64": STANDARD.encode(raw) })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(properties: Vec<u8>) -> Raw {
        Raw {
            tag: 1,
            redelivered: true,
            exchange: b"bus".to_vec(),
            topic: b"event.a.b.c".to_vec(),
            properties,
            body: "{}".into(),
        }
    }

    fn headed(table: &[u8]) -> Incoming {
        incoming(&raw([&[0x20, 0], &long(table)[..]].concat()))
    }

    #[track_caller]
    fn faults(incoming: &Incoming) -> &str {
        incoming.undecodable.as_ref().map_or("", |undecodable| &undecodable.detail)
    }

    #[test]
    fn what_amqprs_would_have_taken_is_an_ordinary_message() {
        let flags = (1_u16 << 15) | (1 << 12) | (1 << 7) | (1 << 6) | (1 << 5);
        let properties = [
            &flags.to_be_bytes()[..],
            &short(b"application/json"),
            &[2],
            &short("größe".as_bytes()),
            &7_u64.to_be_bytes(),
            &short(b"event"),
        ];
        let incoming = incoming(&raw(properties.concat()));
        assert_eq!(incoming.undecodable, None);
        assert_eq!(incoming.message_id.as_deref(), Some("größe"));
        assert_eq!(incoming.message_type.as_deref(), Some("event"));
        assert_eq!((incoming.topic.as_str(), incoming.redelivered), ("event.a.b.c", true));

        let table = b"\x01aI\0\0\0\x05\x01bS\0\0\0\x02hi\x01cA\0\0\0\x03t\x01V";
        assert_eq!(
            Value::Object(headed(table).headers),
            json!({ "a": 5, "b": "hi", "c": [true, null] })
        );
    }

    #[test]
    fn what_is_not_utf8_or_of_an_unknown_type_is_named_and_kept_in_bytes() {
        let text = headed(b"\x04bellS\0\0\0\x01\xff\x01bI\0\0\0\x05");
        assert_eq!(faults(&text), "the header `bell` is not UTF-8");
        assert_eq!(Value::Object(text.headers), json!({ "bell": { "base64": "/w==" }, "b": 5 }));
        let long = headed(b"\x01nL\0\0\0\0\0\0\0\x09");
        assert!(faults(&long).contains("`L`"), "{long:?}");
        assert_eq!(long.headers["n"], 9);
        assert!(faults(&headed(b"\x01nZ\0")).contains("`Z`"));
        assert!(faults(&headed(b"\xff\x01a")).contains("do not end"));
        let named = incoming(&raw([&[0x80, 0], &short(b"\xff\xfe")[..]].concat()));
        assert_eq!(faults(&named), "the property `content_type` is not UTF-8");
        let kept = named.undecodable.unwrap();
        assert_eq!(kept.properties["content_type"], json!({ "base64": "//4=" }));
        assert_eq!(kept.raw["properties"], STANDARD.encode([0x80, 0, 2, 0xff, 0xfe]));
        let key = incoming(&Raw { topic: b"event.\xff".to_vec(), ..raw(vec![0, 0]) });
        assert_eq!(
            (key.topic.as_str(), faults(&key)),
            ("event.\u{fffd}", "the routing key is not UTF-8")
        );
    }

    #[test]
    fn tables_in_tables_end_where_json_does() {
        let mut table = Vec::new();
        for _ in 0..10_000 {
            table = [&b"\x01aF"[..], &long(&table)].concat();
        }
        let incoming = headed(&table);
        assert!(serde_json::to_string(&incoming.headers).unwrap().contains("base64"));
    }

    #[test]
    fn headers_are_added_to_what_there_is_and_all_else_stays() {
        let more = [("x-reason", "why")];
        let flags = (1_u16 << 15) | (1 << 12);
        let bare = [&flags.to_be_bytes()[..], &short(b"\xff"), &[2]].concat();
        let headed = incoming(&raw(with_headers(&bare, &more, 131_072)));
        assert_eq!(Value::Object(headed.headers), json!({ "x-reason": "why" }));
        let kept = headed.undecodable.unwrap().properties;
        assert_eq!(
            Value::Object(kept),
            json!({ "content_type": { "base64": "/w==" }, "delivery_mode": 2 })
        );

        let flags = (1_u16 << 13) | (1 << 7);
        let table = long(b"\x01aS\0\0\0\x01\xff");
        let full = [&flags.to_be_bytes()[..], &table, &short(b"m-1")].concat();
        let both = incoming(&raw(with_headers(&full, &more, 131_072)));
        assert_eq!(both.message_id.as_deref(), Some("m-1"));
        assert_eq!(
            Value::Object(both.headers),
            json!({ "a": { "base64": "/w==" }, "x-reason": "why" })
        );
        assert_eq!(with_headers(&full, &more, 32), full, "there is no room");
        assert_eq!(with_headers(b"\xff", &more, 131_072), b"\xff");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_something_comes_of_them(
            properties in proptest::collection::vec(any::<u8>(), 0..200),
            topic in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let raw = Raw { topic, ..raw(properties) };
            prop_assert_eq!(&incoming(&raw).body, &raw.body);
            with_headers(&raw.properties, &[("a", "b")], 131_072);
        }
    }
}
