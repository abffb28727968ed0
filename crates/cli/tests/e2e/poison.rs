//! Messages that no decent client sends to RabbitMQ: each ends where it does no harm, and the others go on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Bus, Postroad, RawClient, Server, Sql, content_type, headers, hex, on_server, on_servers,
    until, until_in,
};

const TOPIC: &str = "event.machine.spindle.started";
/// However bad the message before is.
const NEXT_WITHIN: Duration = Duration::from_mins(1);

/// What a bad message has to become.
#[derive(Clone, Copy)]
enum Fate {
    /// In quarantine for this reason.
    Kept(&'static str),
    /// A row of the inbox.
    Row,
    /// Any of both: a queue may write down anew what it delivers again.
    Either,
}

struct Poison {
    name: &'static str,
    topic: &'static [u8],
    properties: Vec<u8>,
    body: Vec<u8>,
    fate: Fate,
}

/// A good envelope of an event with this id and payload.
fn envelope(id: &str, payload: &Value) -> Vec<u8> {
    let envelope = json!({
        "schema": "interservice.envelope.v1", "message_id": id, "message_type": "event",
        "topic": TOPIC, "source_service": "lathe", "event_type": "started", "payload": payload,
    });
    envelope.to_string().into_bytes()
}

fn poisons() -> Vec<Poison> {
    let none = || vec![0, 0];
    let good = |name: &str| envelope(name, &json!({ "n": 1 }));
    let poison = |name, properties, body, fate| Poison {
        name,
        topic: TOPIC.as_bytes(),
        properties,
        body,
        fate,
    };
    let undecodable = Fate::Kept("undecodable");
    let json = Fate::Kept("invalid_json");
    let without_id: Vec<u8> = {
        let mut envelope: Value = serde_json::from_slice(&good("no-id")).unwrap();
        envelope.as_object_mut().unwrap().remove("message_id");
        envelope.to_string().into_bytes()
    };
    // A table in a table in a table: a name, the type, the size of what is inside, what is inside.
    let nested: Vec<u8> = (0..18_000_u32)
        .rev()
        .flat_map(|inner| [&b"\x01aF"[..], &(inner * 7).to_be_bytes()[..]].concat())
        .collect();
    let many: Vec<u8> = (0..65_u8).flat_map(|n| [2, b'h', b'0' + n, b'V']).collect();
    vec![
        poison("text", headers(b"\x04bellS\0\0\0\x02\xff\xfe"), good("text"), undecodable),
        poison("name", headers(b"\x01\xffI\0\0\0\x01"), good("name"), undecodable),
        poison("type-L", headers(b"\x01nL\0\0\0\0\0\0\0\x09"), good("type-L"), Fate::Either),
        poison("content-type", content_type(b"\xc3\x28"), b"\xff\x00".to_vec(), undecodable),
        Poison { topic: b"event.machine.\xff", ..poison("key", none(), good("key"), undecodable) },
        poison("nested", headers(&nested), good("nested"), Fate::Row),
        poison("many-headers", headers(&many), good("many-headers"), Fate::Kept("too_large")),
        poison("no-id", none(), without_id, Fate::Kept("invalid_envelope")),
        poison(
            "long-id",
            none(),
            envelope(&"i".repeat(300), &json!(1)),
            Fate::Kept("invalid_envelope"),
        ),
        poison("nul", none(), b"{\"a\":\"\0\"}".to_vec(), json),
        poison(
            "escaped-nul",
            none(),
            envelope("escaped-nul", &json!("\0")),
            Fate::Kept("unstorable"),
        ),
        poison("four-bytes", none(), envelope("four-bytes", &json!("\u{1f980}")), Fate::Row),
        poison("empty", none(), Vec::new(), json),
        poison("too-large", none(), vec![b'x'; (1 << 20) + 1], Fate::Kept("too_large")),
        poison("cut-off", none(), b"{\"schema\":".to_vec(), json),
        poison("not-utf8", none(), b"{\"a\":\"\xff\"}".to_vec(), json),
        poison("deep", none(), vec![b'['; 1_000_000], json),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn poison_is_kept_with_its_bytes_and_what_comes_after_it_is_stored() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        poisoned(bus, &bus.postroad, &bus.sql).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn poison_does_no_harm_with_sqlite_either() {
    on_server(Server::Postgres, async |bus| {
        let (_folder, postroad, sql) = bus.on_sqlite().await;
        poisoned(bus, &postroad, &sql).await;
        bus.rabbit.delete_queue(&bus.inbox("default")).await;
    })
    .await;
}

async fn poisoned(bus: &Bus, postroad: &Postroad, sql: &Sql) {
    let worker = postroad.worker(&[]);
    postroad.until_status("default", "running").await;
    let mut client = RawClient::connect(&bus.url, bus.exchange()).await;
    for Poison { name, topic, properties, body, fate } in &poisons() {
        client.publish(topic, properties, body).await;
        let after = format!("after-{name}");
        client.publish(TOPIC.as_bytes(), &[0, 0], &envelope(&after, &json!(null))).await;
        let is_row = async |id: &str| {
            let row = format!("SELECT count(*) FROM inbound_event WHERE message_id = '{id}'");
            sql.count(&row).await == 1
        };
        until_in(NEXT_WITHIN, &after, async || is_row(&after).await).await;
        let hex = hex(body);
        let kept = format!(
            "SELECT reason, detail, topic FROM quarantined_message WHERE {} = '{hex}'",
            sql.hex_of("body")
        );
        let what = format!("`{name}` is somewhere");
        until(&what, async || !sql.rows(&kept).await.is_empty() || is_row(name).await).await;
        let kept = sql.rows(&kept).await;
        match fate {
            Fate::Row => assert!(is_row(name).await && kept.is_empty(), "{name}: {kept:?}"),
            Fate::Either => assert_eq!(kept.len() + usize::from(is_row(name).await), 1, "{kept:?}"),
            Fate::Kept(reason) => {
                assert_eq!(kept.len(), 1, "{name}: {kept:?}");
                assert_eq!(kept[0]["reason"], *reason, "{name}: {kept:?}");
                assert!(!is_row(name).await, "{name}");
                assert!(!kept[0]["detail"].as_str().unwrap().is_empty(), "{name}");
            }
        }
    }
    let ran = ["quarantine", "list"];
    assert!(postroad.done(&ran).chars().all(|c| !c.is_control() || c == '\n'));
    replayed(postroad, sql).await;
    until("the queue is empty", async || bus.rabbit.depth(&bus.inbox("default")).await == 0).await;
    worker.stop().await;
}

/// Every kept message can be shown, tried again, mended and thrown away.
async fn replayed(postroad: &Postroad, sql: &Sql) {
    let all = postroad.json(&["quarantine", "list"]);
    let all = all.as_array().unwrap();
    for kept in all {
        let id = kept["id"].as_str().unwrap();
        postroad.done(&["quarantine", "show", id]);
        assert_eq!(postroad.json(&["quarantine", "show", id])["id"], id);
        let replay = postroad.run(&["quarantine", "replay", id]);
        // Of the body alone nothing was wrong.
        if kept["reason"] == "undecodable" && kept["body"].is_string() {
            assert_eq!(replay.exits(0).out, "stored in the inbox\n");
            continue;
        }
        replay.fails_saying(&["stays in quarantine"]);
        let mended = format!("mended-{id}");
        let body = envelope(&mended, &json!("as it should be"));
        let again = ["quarantine", "replay", id, "--topic", TOPIC, "--body", "-"];
        let again = [&again[..], &["--headers", "{}"]].concat();
        assert_eq!(postroad.run_with_input(&again, &body).exits(0).out, "stored in the inbox\n");
        let row = format!("SELECT count(*) FROM inbound_event WHERE message_id = '{mended}'");
        assert_eq!(sql.count(&row).await, 1);
    }
    assert!(all.len() > 10);
    assert_eq!(sql.count("SELECT count(*) FROM quarantined_message").await, 0);
}
