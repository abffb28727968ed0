//! What a topic says by itself, in every generation of EdgeX.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A topic, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address<'t> {
    pub(crate) place: Place<'t>,
    /// Whether only EdgeX has business here, so that what cannot be understood is malformed.
    pub(crate) is_edgex: bool,
    /// Who sent an event, by the levels after `events/device` and `events/core`.
    pub(crate) event_source: Option<Cow<'t, str>>,
}

/// What belongs on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place<'t> {
    /// Events of devices.
    Events,
    Request(Request<'t>),
    Answer(Answer<'t>),
    /// With the service that the topic names.
    SystemEvents(Option<Cow<'t, str>>),
    /// With the service that the topic names.
    Metrics(Option<Cow<'t, str>>),
    ConfigChanges,
    /// Anything.
    Elsewhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request<'t> {
    pub(crate) event_type: &'static str,
    pub(crate) source: Option<&'static str>,
    reply: Reply<'t>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<'t> {
    pub(crate) event_type: &'static str,
    pub(crate) source: Option<Cow<'t, str>>,
    pub(crate) request_id: Option<&'t str>,
}

/// Where EdgeX answers; all below the base prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply<'t> {
    Fixed(String),
    /// Since v3 on one topic for each request; v2 answers on a topic like that of the request.
    ByRequest {
        service: &'t str,
        v2: Option<String>,
    },
    /// Where the client of `v3.0` to `v4.0` waits in vain, having swapped its arguments.
    AllDevices,
}

const COMMAND_REQUEST: &str = "edgex.command.request";
const COMMAND_QUERY_REQUEST: &str = "edgex.command_query.request";
const COMMAND_RESPONSE: &str = "edgex.command.response";
const COMMAND_QUERY_RESPONSE: &str = "edgex.command_query.response";
const CORE_COMMAND: &str = "core-command";

impl<'t> Address<'t> {
    /// Looks at a topic under the configured base prefix.
    pub(crate) fn of(topic: &'t str, base_prefix: &str) -> Self {
        let below = below(topic, base_prefix.trim_end_matches('/'));
        let place = below.map_or(Place::Elsewhere, |below| below_base(&below));
        let is_edgex = place != Place::Elsewhere;
        let place = if is_edgex { place } else { elsewhere(topic) };
        Self { place, is_edgex, event_source: event_source(topic) }
    }

    /// Whether an event here is part of an answer.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.place, Place::Answer(_))
    }
}

impl Request<'_> {
    /// Where the answer will be; unknown where it depends on an id that is not there.
    pub(crate) fn reply_to(
        &self,
        base_prefix: &str,
        request_id: Option<&str>,
        is_v2: bool,
    ) -> Option<String> {
        let below = match (&self.reply, is_v2) {
            (Reply::Fixed(below), _) | (Reply::ByRequest { v2: Some(below), .. }, true) => {
                below.clone()
            }
            (Reply::ByRequest { service, .. }, _) => format!("response/{service}/{}", request_id?),
            (Reply::AllDevices, _) => format!("core/commandquery/request/all/{}", request_id?),
        };
        let base = base_prefix.trim_end_matches('/');
        Some(if base.is_empty() { below } else { format!("{base}/{below}") })
    }
}

/// The levels below the base prefix.
fn below<'t>(topic: &'t str, base_prefix: &str) -> Option<Vec<&'t str>> {
    if base_prefix.is_empty() {
        return Some(topic.split('/').collect());
    }
    let rest = topic.strip_prefix(base_prefix)?.strip_prefix('/')?;
    Some(rest.split('/').collect())
}

fn below_base<'t>(levels: &[&'t str]) -> Place<'t> {
    match levels {
        ["events", "device" | "core", ..] => Place::Events,
        ["device", "command", "request", service, target @ ..] => Place::Request(Request {
            event_type: COMMAND_REQUEST,
            source: Some(CORE_COMMAND),
            reply: Reply::ByRequest {
                service,
                v2: Some(joined("device/command/response", &[&[*service], target].concat())),
            },
        }),
        ["core", "command", "request", target @ ..] => Place::Request(Request {
            event_type: COMMAND_REQUEST,
            source: None,
            reply: Reply::ByRequest {
                service: CORE_COMMAND,
                v2: Some(joined("core/command/response", target)),
            },
        }),
        ["core", "commandquery", "request", ..] => Place::Request(Request {
            event_type: COMMAND_QUERY_REQUEST,
            source: None,
            reply: Reply::ByRequest {
                service: CORE_COMMAND,
                v2: Some("core/commandquery/response".to_owned()),
            },
        }),
        ["command", "request", target @ ..] => Place::Request(Request {
            event_type: COMMAND_REQUEST,
            source: None,
            reply: Reply::Fixed(joined("command/response", &decoded(target))),
        }),
        ["commandquery", "request", ..] => Place::Request(Request {
            event_type: COMMAND_QUERY_REQUEST,
            source: None,
            reply: Reply::Fixed("commandquery/response".to_owned()),
        }),
        [service, "validate", "device"] => Place::Request(Request {
            event_type: "edgex.device_validation.request",
            source: Some("core-metadata"),
            reply: Reply::ByRequest { service, v2: None },
        }),
        ["response", service, .., request_id] => Place::Answer(Answer {
            event_type: "edgex.response",
            source: name(service),
            request_id: Some(*request_id).filter(|id| !id.is_empty()),
        }),
        ["device", "command", "response", service, ..] => answer(COMMAND_RESPONSE, name(service)),
        ["core", "command", "response", ..] | ["command", "response", ..] => {
            answer(COMMAND_RESPONSE, Some(CORE_COMMAND.into()))
        }
        ["core", "commandquery", "response", ..] | ["commandquery", "response", ..] => {
            answer(COMMAND_QUERY_RESPONSE, Some(CORE_COMMAND.into()))
        }
        ["system-events" | "system-event", service, ..] => Place::SystemEvents(name(service)),
        ["telemetry", service, ..] => Place::Metrics(name(service)),
        ["configs", _, ..] => Place::ConfigChanges,
        _ => Place::Elsewhere,
    }
}

/// What is told by words that are not common, under a base prefix that is not ours.
fn elsewhere(topic: &str) -> Place<'_> {
    if topic == CORE_COMMAND {
        return Place::Request(Request {
            event_type: COMMAND_QUERY_REQUEST,
            source: None,
            reply: Reply::AllDevices,
        });
    }
    let mut levels = topic.split('/');
    match levels.find(|level| matches!(*level, "system-events" | "system-event")) {
        Some(_) => Place::SystemEvents(levels.next().and_then(name)),
        None => Place::Elsewhere,
    }
}

/// Since v3 the service is the first of four levels or more. In v2 there are three: core-data says who it is, a device
/// service does not.
fn event_source(topic: &str) -> Option<Cow<'_, str>> {
    let levels: Vec<_> = topic.split('/').collect();
    let at = levels.windows(2).position(|pair| matches!(pair, ["events", "device" | "core"]))?;
    match (levels[at + 1], &levels[at + 2..]) {
        (_, [service, _, _, _, ..]) => name(service),
        ("core", _) => Some("core-data".into()),
        _ => None,
    }
}

fn answer<'t>(event_type: &'static str, source: Option<Cow<'t, str>>) -> Place<'t> {
    Place::Answer(Answer { event_type, source, request_id: None })
}

fn joined(prefix: &str, levels: &[impl AsRef<str>]) -> String {
    levels.iter().fold(prefix.to_owned(), |topic, level| topic + "/" + level.as_ref())
}

fn decoded<'t>(levels: &[&'t str]) -> Vec<Cow<'t, str>> {
    levels.iter().map(|level| unescaped(level)).collect()
}

/// A level that is a name, if it is not empty.
fn name(level: &str) -> Option<Cow<'_, str>> {
    Some(unescaped(level)).filter(|name| !name.is_empty())
}

/// A level without its escapes; as it is where not every `%` is one, since most names are not escaped.
fn unescaped(level: &str) -> Cow<'_, str> {
    let escapes_only = level.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_only {
        return level.into();
    }
    percent_decode_str(level).decode_utf8().unwrap_or(level.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn event_source_is(topic: &str, expected: Option<&str>) {
        assert_eq!(Address::of(topic, "edgex").event_source.as_deref(), expected, "{topic}");
    }

    #[track_caller]
    fn asks(topic: &str, is_v2: bool, event_type: &str, reply_to: Option<&str>) {
        let address = Address::of(topic, "edgex");
        let Place::Request(request) = address.place else { panic!("{topic} is no request") };
        assert_eq!(request.event_type, event_type, "{topic}");
        assert_eq!(request.reply_to("edgex", Some("r-1"), is_v2).as_deref(), reply_to, "{topic}");
    }

    #[track_caller]
    fn answers(topic: &str, event_type: &str, source: Option<&str>, request_id: Option<&str>) {
        let Place::Answer(answer) = Address::of(topic, "edgex").place else {
            panic!("{topic} is no answer")
        };
        let found = (answer.event_type, answer.source.as_deref(), answer.request_id);
        assert_eq!(found, (event_type, source, request_id), "{topic}");
    }

    #[test]
    fn the_service_of_an_event_is_the_first_of_four_levels_or_more() {
        event_source_is("edgex/events/device/s/p/d/r", Some("s"));
        event_source_is("edgex/events/core/s/p/d/with/slashes/r", Some("s"));
        event_source_is("other/base/events/device/device%2Ds7/p/d/r", Some("device-s7"));
        event_source_is("edgex/events/device/50%RH/p/d/r", Some("50%RH"));
        event_source_is("edgex/events/device/%ff/p/d/r", Some("%ff"));
        event_source_is("edgex/events/device/s///", Some("s"));
        event_source_is("edgex/events/device//p/d/r", None);
        event_source_is("edgex/events/device/p/d/r", None);
        event_source_is("edgex/events/core/p/d/r", Some("core-data"));
        event_source_is("edgex/events/app/p/d/r/x", None);
        event_source_is("events", None);
    }

    #[test]
    fn a_request_is_answered_where_its_generation_answers() {
        let command = COMMAND_REQUEST;
        let topic = "edgex/device/command/request/s/d%2D1/c/get";
        asks(topic, true, command, Some("edgex/device/command/response/s/d%2D1/c/get"));
        asks(topic, false, command, Some("edgex/response/s/r-1"));
        let topic = "edgex/core/command/request/d/c/set";
        asks(topic, true, command, Some("edgex/core/command/response/d/c/set"));
        asks(topic, false, command, Some("edgex/response/core-command/r-1"));
        let topic = "edgex/command/request/d%2D1/50%/set";
        asks(topic, true, command, Some("edgex/command/response/d-1/50%/set"));
        asks(topic, false, command, Some("edgex/command/response/d-1/50%/set"));
        let query = COMMAND_QUERY_REQUEST;
        let topic = "edgex/core/commandquery/request/all";
        asks(topic, true, query, Some("edgex/core/commandquery/response"));
        asks(topic, false, query, Some("edgex/response/core-command/r-1"));
        asks("edgex/commandquery/request/d", false, query, Some("edgex/commandquery/response"));
        asks(CORE_COMMAND, false, query, Some("edgex/core/commandquery/request/all/r-1"));
        let validation = "edgex.device_validation.request";
        asks("edgex/s/validate/device", true, validation, Some("edgex/response/s/r-1"));
    }

    #[test]
    fn where_the_answer_goes_is_unknown_without_the_request_id() {
        let address = Address::of("edgex/core/command/request/d/c/get", "edgex");
        let Place::Request(request) = address.place else { panic!("it is a request") };
        assert_eq!(request.reply_to("edgex", None, false), None);
    }

    #[test]
    fn an_answer_names_its_service_and_since_v3_its_request() {
        let topic = "edgex/response/device%2Ds7/r-1";
        answers(topic, "edgex.response", Some("device-s7"), Some("r-1"));
        answers("edgex/response/a/b/r-1", "edgex.response", Some("a"), Some("r-1"));
        answers("edgex/response/s/", "edgex.response", Some("s"), None);
        let command = COMMAND_RESPONSE;
        answers("edgex/device/command/response/s/d/c/get", command, Some("s"), None);
        answers("edgex/core/command/response/d/c/get", command, Some(CORE_COMMAND), None);
        answers("edgex/command/response/d/c/get", command, Some(CORE_COMMAND), None);
        let query = COMMAND_QUERY_RESPONSE;
        answers("edgex/core/commandquery/response", query, Some(CORE_COMMAND), None);
        answers("edgex/commandquery/response", query, Some(CORE_COMMAND), None);
    }

    #[test]
    fn common_words_count_only_directly_below_the_base_prefix() {
        for topic in [
            "v1/devices/me/telemetry",
            "telemetry/s/m",
            "plant/edgex/telemetry/s/m",
            "edgexy/telemetry/s/m",
            "edgex/x/telemetry/s/m",
            "edgex/response/s",
            "response/s/r",
            "edgex/jobs/raw",
            "edgex",
            "edgex/",
            "",
        ] {
            assert_eq!(Address::of(topic, "edgex").place, Place::Elsewhere, "{topic}");
        }
        let base = "plant 7/edgex";
        let metrics = Place::Metrics(Some("s".into()));
        assert_eq!(Address::of("plant 7/edgex/telemetry/s/m", base).place, metrics);
        assert_eq!(Address::of("edgex/telemetry/s/m", "edgex/").place, metrics);
        assert_eq!(Address::of("telemetry/s/m", "").place, metrics);
    }

    #[test]
    fn system_events_are_told_under_any_prefix() {
        let place = Place::SystemEvents(Some("s".into()));
        let ours = Address::of("edgex/system-event/s/device/add", "edgex");
        assert_eq!((&ours.place, ours.is_edgex), (&place, true));
        let other = Address::of("other/system-events/s/device/add", "edgex");
        assert_eq!((&other.place, other.is_edgex), (&place, false));
    }
}
