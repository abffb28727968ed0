//! EdgeX's own envelope, in any key case and with any of its fields missing.

use crate::json::{Json, Members};

/// The fields, as v3 writes them. Two of those after the first, in any case, make an envelope.
const FIELDS: [&str; 9] = [
    "apiVersion",
    "correlationID",
    "contentType",
    "errorCode",
    "queryParams",
    "receivedTopic",
    "requestID",
    "payload",
    "checksum",
];

/// Beside one of these it is something else that shares some words with an envelope.
const OTHERS: [&str; 4] = ["event", "readings", "statusCode", "severity"];

/// An envelope taken apart. Of a field in two spellings the first counts.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    fields: [Option<Json<'a>>; FIELDS.len()],
    /// Fields that EdgeX does not know, in their order.
    pub(crate) extra: Members<'a>,
}

impl<'a> Envelope<'a> {
    /// Takes an envelope apart; anything else comes back. On a topic for requests `apiVersion` counts as one of the two
    /// fields, since one made by hand may have nothing but that and its id.
    pub(crate) fn of(json: Json<'a>, as_request: bool) -> Result<Self, Json<'a>> {
        if !is_envelope(&json, as_request) {
            return Err(json);
        }
        let Json::Object(members) = json else { return Err(json) };
        let mut envelope = Self::default();
        for (key, value) in members {
            match FIELDS.iter().position(|field| field.eq_ignore_ascii_case(&key)) {
                Some(index) => {
                    envelope.fields[index].get_or_insert(value);
                }
                None => envelope.extra.push((key, value)),
            }
        }
        Ok(envelope)
    }

    /// A field that is there.
    pub(crate) fn field(&self, name: &str) -> Option<&Json<'a>> {
        self.fields[index_of(name)].as_ref()
    }

    /// A field that can serve as an id.
    pub(crate) fn id(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(Json::id)
    }

    /// Fills in a field that is not there or says nothing.
    pub(crate) fn fill(&mut self, name: &str, value: Json<'a>) {
        let slot = &mut self.fields[index_of(name)];
        if slot.as_ref().is_none_or(Json::is_blank) {
            *slot = Some(value);
        }
    }

    /// Takes the payload, null where there is none.
    pub(crate) fn take_payload(&mut self) -> Json<'a> {
        self.fields[index_of("payload")].take().unwrap_or(Json::Null)
    }

    /// Whether it reports a failure: a number but 0, or such a number as text.
    pub(crate) fn is_error(&self) -> bool {
        let code = self.id("errorCode").and_then(|code| code.trim().parse::<f64>().ok());
        code.is_some_and(|code| code != 0.0)
    }

    /// What the payload is said to be, without parameters.
    pub(crate) fn content_type(&self) -> String {
        let said = self.field("contentType").and_then(Json::text).unwrap_or_default();
        said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Whether it is of an EdgeX 2.
    pub(crate) fn is_v2(&self) -> bool {
        self.id("apiVersion").is_some_and(|version| version.eq_ignore_ascii_case("v2"))
    }

    /// The fields that no column has and that say something, in a fixed order.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&'static str, &Json<'a>)> {
        const WITHOUT_COLUMN: usize = 6;
        FIELDS[..WITHOUT_COLUMN]
            .iter()
            .zip(&self.fields)
            .filter_map(|(name, value)| Some((*name, value.as_ref()?)))
            .filter(|(_, value)| !value.is_blank())
    }
}

fn is_envelope(json: &Json<'_>, as_request: bool) -> bool {
    let counted = &FIELDS[usize::from(!as_request)..];
    counted.iter().filter(|field| json.has(field)).count() >= 2
        && !OTHERS.iter().any(|other| json.has(other))
}

fn index_of(name: &str) -> usize {
    FIELDS.iter().position(|field| *field == name).expect("only known fields are asked for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::document;

    fn envelope(text: &str, as_request: bool) -> Option<Envelope<'_>> {
        let (json, _) = document(text).unwrap();
        Envelope::of(json, as_request).ok()
    }

    #[track_caller]
    fn check(text: &str, anywhere: bool, as_request: bool) {
        assert_eq!(envelope(text, false).is_some(), anywhere, "{text} anywhere");
        assert_eq!(envelope(text, true).is_some(), as_request, "{text} as a request");
    }

    #[test]
    fn two_words_make_an_envelope_and_one_does_not() {
        check(r#"{"PAYLOAD":1,"contenttype":""}"#, true, true);
        check(r#"{"checksum":"","correlationID":null}"#, true, true);
        check(r#"{"payload":1,"fPort":2}"#, false, false);
        check(r#"{"errorCode":0,"ErrorCode":0}"#, false, false);
        check(r#"{"apiVersion":"v3","requestId":"r"}"#, false, true);
        check(r#"[{"payload":1,"contentType":""}]"#, false, false);
    }

    #[test]
    fn beside_the_words_of_something_else_it_is_that() {
        for other in OTHERS {
            let text = format!(r#"{{"contentType":"t","payload":1,"{}":0}}"#, other.to_uppercase());
            check(&text, false, false);
        }
    }

    #[test]
    fn the_first_of_two_spellings_counts_and_unknown_fields_are_kept() {
        let text = r#"{"CorrelationID":"a","correlationId":"b","x":1,"payload":null,"X":2}"#;
        let envelope = envelope(text, false).unwrap();
        assert_eq!(envelope.id("correlationID"), Some("a"));
        let extra: Vec<_> = envelope.extra.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(extra, ["x", "X"]);
    }

    #[test]
    fn an_error_is_any_code_but_0_as_number_or_text() {
        let cases = [
            ("0", false),
            ("1", true),
            ("404", true),
            (r#""1""#, true),
            (r#"" 0 ""#, false),
            (r#""0.0""#, false),
            ("null", false),
            (r#""""#, false),
            (r#""none""#, false),
            ("true", false),
        ];
        for (code, expected) in cases {
            let text = format!(r#"{{"payload":1,"errorCode":{code}}}"#);
            assert_eq!(envelope(&text, false).unwrap().is_error(), expected, "{code}");
        }
    }

    #[test]
    fn a_content_type_is_compared_without_its_parameters() {
        let text = r#"{"payload":1,"contentType":" Application/JSON ; charset=utf-8"}"#;
        assert_eq!(envelope(text, false).unwrap().content_type(), "application/json");
    }
}
