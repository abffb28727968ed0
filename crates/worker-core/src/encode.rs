//! From a claimed row to the message that goes out.

use bytes::Bytes;
use postroad_envelope::normalise_outbound;
use postroad_transport::Outgoing;
use serde_json::{Map, Value};

use crate::headers::check;
use crate::{OutboxRow, Settings};

/// Makes an envelope of a row; `Err` says for a person why it can never be sent.
pub fn encode(row: &OutboxRow, settings: &Settings) -> Result<Outgoing, String> {
    let prepared = normalise_outbound(&row.columns, &settings.source_service, &settings.limits);
    let (prepared, headers) = match (prepared, headers(row.headers.as_deref())) {
        (Ok(prepared), Ok(headers)) => (prepared, headers),
        (Ok(_), Err(problem)) => return Err(problem),
        (Err(faults), Ok(_)) => return Err(faults.to_string()),
        (Err(faults), Err(problem)) => return Err(format!("{faults}; {problem}")),
    };
    let envelope = prepared.envelope;
    Ok(Outgoing {
        topic: envelope.topic.as_str().to_owned(),
        body: Bytes::from(prepared.body),
        message_id: envelope.message_id,
        message_type: Some(envelope.message_type),
        correlation_id: envelope.request_id,
        reply_to: envelope.reply_to.map(|topic| topic.as_str().to_owned()),
        app_id: Some(envelope.source_service),
        timestamp: Some(row.created_at),
        headers,
    })
}

fn headers(text: Option<&str>) -> Result<Map<String, Value>, String> {
    let Some(text) = text else { return Ok(Map::new()) };
    match serde_json::from_str(text) {
        Ok(Value::Object(headers)) => check(&headers).map(|()| headers),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("headers: not a JSON object".to_owned()),
        Err(error) => Err(format!("headers: not JSON ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use postroad_envelope::OutboxColumns;

    use super::*;

    fn row(topic: &str, headers: Option<&str>) -> OutboxRow {
        OutboxRow {
            seq: 1,
            columns: OutboxColumns {
                id: "0b7c0f2e-6d0e-4d55-a2a6-0f1f4ac5a001".to_owned(),
                topic: topic.to_owned(),
                event_type: Some("machine.started".to_owned()),
                payload: r#"{"speed": 12345678901234567890}"#.to_owned(),
                ..OutboxColumns::default()
            },
            headers: headers.map(str::to_owned),
            retry_count: 0,
            created_at: 1_790_000_000,
            ordering_key: None,
        }
    }

    #[track_caller]
    fn check_error(row: &OutboxRow, expected: &[&str]) {
        let problem = encode(row, &Settings::new("default", "ebmr")).unwrap_err();
        for part in expected {
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn two_encodings_of_one_row_are_equal() {
        let row = row("event.machine.spindle.started", Some(r#"{"line": 4}"#));
        let settings = Settings::new("default", "ebmr");
        let message = encode(&row, &settings).unwrap();
        assert_eq!(message, encode(&row, &settings).unwrap());
        assert_eq!(message.message_id, row.columns.id);
        assert_eq!(message.app_id.as_deref(), Some("ebmr"));
        assert_eq!(message.timestamp, Some(1_790_000_000));
        assert_eq!(message.headers["line"], 4);
    }

    #[test]
    fn what_can_never_be_sent_says_every_reason() {
        check_error(&row("event.machine", Some("[1]")), &["topic", "headers: not a JSON object"]);
        check_error(&row("event.machine.spindle.started", Some("{")), &["headers: not JSON"]);
        let many: Map<_, _> = (0..65).map(|n| (n.to_string(), Value::Null)).collect();
        let many = Value::Object(many).to_string();
        check_error(&row("event.a.b.c", Some(&many)), &["headers: 65 entries"]);
        check_error(&row("event.*.spindle.started", None), &["topic"]);
    }
}
