//! Header tables of AMQP, and JSON that becomes one.

use amqprs::FieldTable;
use bytes::Bytes;
use postroad_envelope::Limits;
use postroad_transport::{Incoming, Outgoing};
use postroad_transport_amqp::fuzzing;
use postroad_worker_core::{InboxEntry, decode};
use serde_json::{Map, Value};

use crate::input::check_json;

/// As the broker tells it.
const FRAME_MAX: u32 = 131_072;

/// A JSON object is the headers of a row; anything else is a table as it is on the wire.
pub(crate) fn run(input: &[u8]) {
    if input.first() == Some(&b'{') {
        if let Ok(headers) = serde_json::from_slice::<Map<_, _>>(input) {
            out(&headers);
        }
    } else if let Ok(table) = amqp_serde::from_bytes::<FieldTable>(input) {
        let headers = fuzzing::headers(&table);
        taken_in(headers);
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
    // One field of each type, in the bytes of the specification.
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
        b"S\x00\x00\x00\x02\xc3\xbc",
        b"T\x00\x00\x00\x00\x65\x00\x00\x00",
        b"V",
        b"x\x00\x00\x00\x02\x00\xff",
        b"F\x00\x00\x00\x04\x01aS\x00",
        b"A\x00\x00\x00\x03t\x00V",
    ] {
        let mut field = b"\x04name".to_vec();
        field.extend_from_slice(value);
        let length = u32::try_from(field.len()).expect("it is short");
        seeds.push([length.to_be_bytes().as_slice(), &field].concat());
    }
    seeds
}
