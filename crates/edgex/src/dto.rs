//! What EdgeX services say to each other, told by shape.

use std::borrow::Cow;

use crate::body::json_in;
use crate::cbor;
use crate::content::from_base64;
use crate::json::{Json, Members, Sanitized};
use crate::parse::{self, Parsed};

/// An event, taken out of the request it came in.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    /// The event itself.
    pub(crate) event: Json<'a>,
    /// What the request around it says; `None` where there was none.
    pub(crate) request: Option<AddEventRequest<'a>>,
}

/// What an `AddEventRequest` says beside its event.
#[derive(Debug, Default)]
pub(crate) struct AddEventRequest<'a> {
    pub(crate) api_version: Option<Json<'a>>,
    pub(crate) request_id: Option<Json<'a>>,
    /// The rest, in its order.
    pub(crate) extra: Members<'a>,
}

/// Whether it is an event, or the request to add one.
pub(crate) fn is_event(json: &Json<'_>) -> bool {
    is_bare_event(json) || json.get("event").is_some_and(has_readings)
}

/// Takes the event out; anything else comes back.
pub(crate) fn event(json: Json<'_>) -> Result<Event<'_>, Json<'_>> {
    if is_bare_event(&json) {
        return Ok(Event { event: json, request: None });
    }
    if !is_event(&json) {
        return Err(json);
    }
    let Json::Object(members) = json else { return Err(json) };
    let mut event = None;
    let mut request = AddEventRequest::default();
    for (key, value) in members {
        let slot = match key.to_ascii_lowercase().as_str() {
            "event" => &mut event,
            "apiversion" => &mut request.api_version,
            "requestid" => &mut request.request_id,
            _ => {
                request.extra.push((key, value));
                continue;
            }
        };
        slot.get_or_insert(value);
    }
    Ok(Event { event: event.unwrap_or(Json::Null), request: Some(request) })
}

/// Takes the events out of a list of them, or of base64 strings of them; anything else comes back.
pub(crate) fn batch(json: Json<'_>) -> Result<Parsed<Json<'_>>, Json<'_>> {
    let items = match json {
        Json::Array(items) if !items.is_empty() => items,
        other => return Err(other),
    };
    if items.iter().all(is_event) {
        let events = items.into_iter().map(unwrapped).collect();
        return Ok((Json::Array(events), Sanitized::default()));
    }
    let mut sanitized = Sanitized::default();
    let events = items.iter().map(|item| encoded_event(item, &mut sanitized)).collect();
    match events {
        Some(events) => Ok((Json::Array(events), sanitized)),
        None => Err(Json::Array(items)),
    }
}

/// The event type of a system event.
pub(crate) fn system_event(json: &Json<'_>) -> Option<Cow<'static, str>> {
    let (kind, action) = (json.get("type")?.id()?, json.get("action")?.id()?);
    Some(format!("edgex.system_event.{kind}.{action}").into())
}

/// Whether it is a metric.
pub(crate) fn is_metric(json: &Json<'_>) -> bool {
    json.has("name") && json.has("fields")
}

/// Whether it is a change of the configuration.
pub(crate) fn is_config_change(json: &Json<'_>) -> bool {
    json.has("key")
}

/// Whether it is a notification.
pub(crate) fn is_notification(json: &Json<'_>) -> bool {
    ["Content", "Severity", "Sender", "Status"].iter().all(|name| json.has(name))
}

fn is_bare_event(json: &Json<'_>) -> bool {
    has_readings(json) && (json.has("deviceName") || is_v1_event(json))
}

/// In v1 devices and resources have shorter names, which many a message that is not of EdgeX has as well.
fn is_v1_event(json: &Json<'_>) -> bool {
    let is_reading = |reading: &Json<'_>| reading.has("name") || *reading == Json::Null;
    json.has("device")
        && match json.get("readings") {
            Some(Json::Array(readings)) => readings.iter().all(is_reading),
            _ => true,
        }
}

fn has_readings(json: &Json<'_>) -> bool {
    matches!(json.get("readings"), Some(Json::Array(_) | Json::Null))
}

fn unwrapped(json: Json<'_>) -> Json<'_> {
    event(json).map_or_else(|other| other, |event| event.event)
}

fn encoded_event(json: &Json<'_>, all: &mut Sanitized) -> Option<Json<'static>> {
    let bytes = from_base64(json.text()?)?;
    let (event, sanitized) = match std::str::from_utf8(&bytes) {
        Ok(text) => parse::document(json_in(text)).ok()?,
        Err(_) => cbor::map(&bytes).ok()?,
    };
    all.add(sanitized);
    is_event(&event).then(|| unwrapped(event).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::document;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_event(&document(text).unwrap().0), expected, "{text}");
    }

    #[test]
    fn an_event_has_readings_and_a_device() {
        check(r#"{"readings":[],"deviceName":"d"}"#, true);
        check(r#"{"Readings":null,"DeviceName":""}"#, true);
        check(r#"{"event":{"readings":null}}"#, true);
        check(r#"{"readings":[{"name":"n"},null],"device":"d"}"#, true);
        check(r#"{"readings":null,"device":"d"}"#, true);
        check(r#"{"readings":[21.5],"device":"esp32"}"#, false);
        check(r#"{"readings":"many","deviceName":"d"}"#, false);
        check(r#"{"readings":[]}"#, false);
        check(r#"{"deviceName":"d"}"#, false);
        check(r#"{"event":"opened"}"#, false);
        check(r#"[{"readings":[],"deviceName":"d"}]"#, false);
        check("null", false);
    }
}
