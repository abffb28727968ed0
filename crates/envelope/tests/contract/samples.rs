//! Valid messages to start from, and ways to look at what became of them.

use postroad_envelope::{Envelope, Limits, Rejected};
use serde_json::{Value, json};

pub(crate) const SCHEMA: &str = "interservice.envelope.v1";

pub(crate) fn request() -> Value {
    json!({
        "schema": SCHEMA, "message_id": "m-1", "message_type": "request", "topic": "mes.request.order.create",
        "source_service": "shop", "request_id": "r-1", "reply_to": "shop.response.order.create", "payload": {"n": 1},
    })
}

pub(crate) fn response() -> Value {
    json!({
        "schema": SCHEMA, "message_id": "m-2", "message_type": "response", "topic": "shop.response.order.create",
        "source_service": "mes", "request_id": "r-1", "status": "success", "payload": null,
    })
}

pub(crate) fn event() -> Value {
    json!({
        "schema": SCHEMA, "message_id": "m-3", "message_type": "event", "topic": "event.sales.order.placed",
        "source_service": "shop", "event_type": "OrderPlaced", "payload": [1, 2],
    })
}

/// The sample with one field set.
pub(crate) fn with(mut sample: Value, field: &str, value: impl Into<Value>) -> Value {
    sample[field] = value.into();
    sample
}

/// The sample with one field left out.
pub(crate) fn without(mut sample: Value, field: &str) -> Value {
    assert!(
        sample.as_object_mut().unwrap().remove(field).is_some(),
        "{field} is not in the sample"
    );
    sample
}

/// An event whose payload is this text.
pub(crate) fn event_around(payload: &str) -> String {
    let sample = without(event(), "payload").to_string();
    format!("{},\"payload\":{payload}}}", sample.strip_suffix('}').unwrap())
}

pub(crate) fn read(body: impl AsRef<[u8]>) -> Result<Envelope, Rejected> {
    Envelope::from_json(body.as_ref(), &Limits::default())
}

#[track_caller]
pub(crate) fn refused(body: impl AsRef<[u8]>) -> String {
    read(body).expect_err("should be refused").to_string()
}
