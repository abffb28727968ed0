//! Header tables of AMQP, and JSON that becomes one.

use amqprs::{DecimalValue, FieldTable, FieldValue};
use bytes::Bytes;
use postroad_envelope::Limits;
use postroad_transport::{Incoming, Outgoing};
use postroad_transport_amqp::fuzzing;
use postroad_worker_core::{InboxEntry, decode};
use serde_json::{Map, Value};

use crate::input::check_json;

/// As the broker tells it.
const FRAME_MAX: u32 = 131_072;

/// Deeper ones are a matter of the stack, which `postroad` makes large.
const MAX_DEPTH: usize = 200;

/// A JSON object is the headers of a row; anything else says what a table is made of.
///
/// The bytes of a table are not read here: amqprs does that, which trusts their lengths, and RabbitMQ passes on none
/// whose lengths are wrong.
pub(crate) fn run(input: &[u8]) {
    if input.first() == Some(&b'{') {
        if let Ok(headers) = serde_json::from_slice::<Map<_, _>>(input) {
            out(&headers);
        }
    } else {
        let mut recipe = Recipe(input);
        let table = recipe.table(0);
        taken_in(fuzzing::headers(&table));
    }
}

/// Bytes that say what to make.
struct Recipe<'a>(&'a [u8]);

impl Recipe<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken.to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn table(&mut self, depth: usize) -> FieldTable {
        let mut table = FieldTable::new();
        for _ in 0..self.byte() % 8 {
            let Ok(name) = self.text().try_into() else { continue };
            table.insert(name, self.field(depth));
        }
        table
    }

    fn field(&mut self, depth: usize) -> FieldValue {
        match self.byte() {
            b't' => FieldValue::t(self.byte() != 0),
            b'b' => FieldValue::b(i8::from_be_bytes(self.number())),
            b'B' => FieldValue::B(self.byte()),
            b's' => FieldValue::s(i16::from_be_bytes(self.number())),
            b'u' => FieldValue::u(u16::from_be_bytes(self.number())),
            b'I' => FieldValue::I(i32::from_be_bytes(self.number())),
            b'i' => FieldValue::i(u32::from_be_bytes(self.number())),
            b'l' => FieldValue::l(i64::from_be_bytes(self.number())),
            b'f' => FieldValue::f(f32::from_be_bytes(self.number())),
            b'd' => FieldValue::d(f64::from_be_bytes(self.number())),
            b'D' => {
                FieldValue::D(DecimalValue::new(self.byte(), i32::from_be_bytes(self.number())))
            }
            b'T' => FieldValue::T(u64::from_be_bytes(self.number())),
            b'S' => self.text().try_into().map_or(FieldValue::V, FieldValue::S),
            b'x' => self.bytes().try_into().map_or(FieldValue::V, FieldValue::x),
            b'F' if depth < MAX_DEPTH => FieldValue::F(self.table(depth + 1)),
            b'A' if depth < MAX_DEPTH => {
                let count = self.byte() % 8;
                let fields: Vec<_> = (0..count).map(|_| self.field(depth + 1)).collect();
                fields.try_into().map_or(FieldValue::V, FieldValue::A)
            }
            _ => FieldValue::V,
        }
    }
}

/// Whatever the headers are, the message is kept with them, in JSON that a database reads.
fn taken_in(headers: Map<String, Value>) {
    let incoming = Incoming {
        topic: "event.a.b.c".to_owned(),
        body: Bytes::from_static(
            br#"{"schema":"interservice.envelope.v1","message_id":"m","message_type":"event","topic":"event.a.b.c","source_service":"s","event_type":"t","payload":1,"odd":2}"#,
        ),
        headers,
        ..Incoming::default()
    };
    let InboxEntry::Message(row) = decode(&incoming, &Limits::default()) else {
        panic!("headers do not make an envelope invalid")
    };
    check_json(&row.headers.expect("there is an unknown field"));
    check_json(&row.original.headers.expect("what came with it is kept"));
}

/// What can be laid out has the size that was counted, and comes back as it went.
fn out(headers: &Map<String, Value>) {
    let message = Outgoing {
        topic: "event.a.b.c".to_owned(),
        body: Bytes::new(),
        message_id: "m".to_owned(),
        message_type: None,
        correlation_id: None,
        reply_to: None,
        app_id: None,
        timestamp: None,
        headers: headers.clone(),
    };
    let Ok((size, table)) = fuzzing::lay_out(message, FRAME_MAX) else { return };
    let Some(table) = table else { return assert!(headers.is_empty()) };
    let bytes = amqp_serde::to_bytes(&table).expect("what was laid out can be written");
    assert!(bytes.len() <= size, "{} bytes were counted as {size}", bytes.len());
    let read: FieldTable = amqp_serde::from_bytes(&bytes).expect("what was written can be read");
    assert_eq!(fuzzing::headers(&read), fuzzing::headers(&table));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let headers = [
        r#"{"line":4,"half":0.5,"text":"\u00fc","nothing":null,"yes":true}"#,
        r#"{"list":[1,-2,[3,{"a":"b"}]],"table":{"deep":{"deeper":{}}}}"#,
        r#"{"big":18446744073709551615,"":""}"#,
    ];
    let mut seeds: Vec<_> = headers.iter().map(|text| text.as_bytes().to_vec()).collect();
    // A table of one field for each type.
    for value in [
        b"t\x01".as_slice(),
        b"b\xff",
        b"B\xff",
        b"s\x01\x02",
        b"u\x01\x02",
        b"I\xff\xff\xff\xfe",
        b"i\x01\x02\x03\x04",
        b"l\x01\x02\x03\x04\x05\x06\x07\x08",
        b"f\x7f\xc0\x00\x00",
        b"d\x3f\xe0\x00\x00\x00\x00\x00\x00",
        b"D\x02\x00\x00\x01\x3a",
        b"S\x02\xc3\xbc",
        b"T\x00\x00\x00\x00\x65\x00\x00\x00",
        b"V",
        b"x\x02\x00\xff",
        b"F\x01\x01aS\x00",
        b"A\x02t\x00F\x00",
    ] {
        seeds.push([b"\x01\x04name".as_slice(), value].concat());
    }
    seeds
}
