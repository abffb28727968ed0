//! The JSON texts of a row.

use crate::found::{Broken, Found};
use crate::identity;
use crate::json::{self, Json};
use crate::message::Message;

/// `{"data": .., "mqtt": {..}, "edgex": {..}}`. Nothing is added within `data`, since events carry keys of any name.
pub(crate) fn payload(found: &Found<'_>, message: &Message<'_>) -> String {
    let mut out = Vec::with_capacity(message.payload.len() + 256);
    out.extend(b"{\"data\":");
    found.data.write(&mut out);
    out.extend(b",\"mqtt\":");
    json::write_members(&mqtt(found, message), &mut out);
    out.extend(b",\"edgex\":");
    write_edgex(found, &mut out);
    out.push(b'}');
    json::into_text(out)
}

/// What `data` holds, which is what tells an event from another of the same id: it may come once more in an envelope with
/// another correlation id.
pub(crate) fn data(found: &Found<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    found.data.write(&mut out);
    out
}

/// `{"extra": {..}}`, with the fields of the envelope that EdgeX does not know.
pub(crate) fn headers(found: &Found<'_>) -> Option<String> {
    let extra = &found.envelope.extra;
    (!extra.is_empty()).then(|| {
        let mut out = b"{\"extra\":".to_vec();
        json::write_members(extra, &mut out);
        out.push(b'}');
        json::into_text(out)
    })
}

/// What is kept beside the bytes of a message.
pub(crate) fn properties(message: &Message<'_>) -> String {
    serde_json::json!({ "headers": {}, "properties": flags(message) }).to_string()
}

/// The same, with what could still be read of a malformed one.
pub(crate) fn properties_of_broken(message: &Message<'_>, broken: &Broken) -> String {
    let edgex = serde_json::json!({
        "shape": broken.shape,
        "requestID": broken.request_id,
        "correlationID": broken.correlation_id,
    });
    serde_json::json!({ "headers": {}, "properties": flags(message), "edgex": edgex }).to_string()
}

fn flags(message: &Message<'_>) -> serde_json::Value {
    serde_json::json!({ "qos": message.qos, "retain": message.retain, "dup": message.dup })
}

fn mqtt(found: &Found<'_>, message: &Message<'_>) -> Vec<(&'static str, Json<'static>)> {
    let mut members = vec![
        ("qos", Json::Number(message.qos.to_string().into())),
        ("retain", Json::Bool(message.retain)),
        ("encoding", Json::Text(found.encoding.into())),
    ];
    let sanitized: Vec<_> = found.sanitized.words().map(|word| Json::Text(word.into())).collect();
    if !sanitized.is_empty() {
        members.push(("sanitized", Json::Array(sanitized)));
    }
    members
}

fn write_edgex(found: &Found<'_>, out: &mut Vec<u8>) {
    if !found.is_edgex() {
        out.extend(b"{}");
        return;
    }
    out.extend(b"{\"shape\":");
    json::write_text(found.shape, out);
    // A column has the request id, unless it does not fit there.
    let long_id = found.request_id.as_deref().filter(|id| !identity::fits(id));
    let long_id = long_id.map(|id| ("requestID", Json::Text(id.into())));
    let long_id = long_id.as_ref().map(|(name, value)| (*name, value));
    for (name, value) in found.envelope.kept().chain(long_id) {
        out.push(b',');
        json::write_text(name, out);
        out.push(b':');
        value.write(out);
    }
    out.push(b'}');
}
