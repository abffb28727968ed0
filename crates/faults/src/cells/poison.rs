//! Messages and rows that nobody can take: they are set aside, and cost the others nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;
use rumqttc::QoS;
use serde_json::json;

use crate::amqp::{Client, Properties, long_string};
use crate::cell::{Fault, Needs, always};
use crate::ids::{self, Way};
use crate::ledger::Fate;
use crate::mqtt::Publisher;
use crate::servers::{Db, Kind};
use crate::world::World;

/// For a culprit to be found, however often it takes a connection with it.
const HEAD_OF_LINE: Duration = Duration::from_mins(1);
/// The largest body there is by default, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Tables in a table: more than any decoder needs that calls itself.
const DEEP: usize = 18_000;
/// Bytes of a body that are compared; of a longer one its length is, too.
const SHOWN: usize = 1_000;
const COPIES: usize = 200;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        id: "F12",
        title: "a request that no queue takes; over MQTT nobody can tell",
        needs: Needs::NOTHING,
        applies: crate::cell::rabbitmq_only,
        inject: unroutable,
    },
    Fault {
        id: "F14",
        title: "poison from a raw client: headers, ids, sizes, encodings",
        needs: Needs::NOTHING,
        applies: always,
        inject: inbound,
    },
    Fault {
        id: "F15",
        title: "rows that can never be sent",
        needs: Needs::NOTHING,
        applies: always,
        inject: outbound,
    },
    Fault {
        id: "F22",
        title: "one message again and again, beside others whose ids differ by case or a space",
        needs: Needs::GROUP,
        applies: always,
        inject: flood,
    },
];

/// A message that must not be taken, and what is to become of it.
struct Poison {
    what: &'static str,
    properties: Properties,
    body: Vec<u8>,
}

fn unroutable(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(20).await?;
        world.set(&["max_retry_count=2"])?;
        let tag = &world.tag;
        let insert = format!(
            "INSERT INTO outbound_event (topic, message_type, request_id, reply_to, payload) VALUES \
             ('nobody_{tag}.request.fault.ask', 'request', 'r-1', 'svc_{tag}.response.fault.ask', '{{}}')"
        );
        world.sql.execute(&insert).await?;
        let rows = "SELECT status, published, retry_count, last_error FROM outbound_event WHERE request_id = 'r-1'";
        world
            .until(HEAD_OF_LINE, "the request is given up", async || {
                Ok(world.sql.rows(rows).await?[0]["status"] == "error")
            })
            .await?;
        let row = world.sql.rows(rows).await?.remove(0);
        let error = row["last_error"].as_str().unwrap_or_default();
        ensure!(error.contains("no queue"), "it is not said why: {row}");
        world.moved(20).await
    })
}

fn inbound(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(20).await?;
        let topic = world.poison_topic();
        let poison = match world.cell.broker {
            Kind::Rabbitmq => send_by_amqp(world, &topic).await?,
            Kind::Mqtt => send_by_mqtt(world).await?,
        };
        // Behind the poison in the queue.
        world.moved(60).await.context("the others do not flow")?;
        for Poison { what, body, .. } in &poison {
            let (length, hex) = (body.len(), hex(&body[..body.len().min(SHOWN)]));
            let (octets, digits) = match world.cell.db {
                Db::Sqlite => ("length(body)", "lower(hex(substr(body, 1, 1000)))"),
                Db::Postgres => ("octet_length(body)", "encode(substr(body, 1, 1000), 'hex')"),
                Db::Mariadb => ("octet_length(body)", "lower(hex(substr(body, 1, 1000)))"),
            };
            let kept = format!(
                "SELECT count(*) FROM quarantined_message WHERE {octets} = {length} AND {digits} = '{hex}'"
            );
            world
                .until(HEAD_OF_LINE, &format!("{what} is in quarantine"), async || {
                    Ok(world.sql.count(&kept).await? > 0)
                })
                .await?;
        }
        let all = world.sql.count("SELECT count(*) FROM quarantined_message").await?;
        ensure!(all >= poison.len() as u64, "{all} messages are in quarantine");
        world.expected_quarantine = all;
        world.notes.push(format!("{} kinds of poison", poison.len()));
        world.moved(30).await
    })
}

fn in_envelope(topic: &str, id: &str, payload: &str) -> Vec<u8> {
    format!(
        r#"{{"schema":"interservice.envelope.v1","message_id":"{id}","message_type":"event","topic":"{topic}","source_service":"faults","event_type":"sent","payload":{payload}}}"#
    )
    .into_bytes()
}

/// What is wrong in the body alone.
fn bodies(topic: &str) -> Vec<(&'static str, Vec<u8>)> {
    let no_id = String::from_utf8(in_envelope(topic, "x", "1")).expect("it is text");
    vec![
        ("no message id", no_id.replace(r#""message_id":"x","#, "").into_bytes()),
        ("an id of 300 bytes", in_envelope(topic, &"i".repeat(300), "2")),
        ("a NUL in the body", b"\0\0\0".to_vec()),
        ("U+0000 in the payload", in_envelope(topic, "poison-nul", r#""a\u0000b""#)),
        ("half a surrogate pair", in_envelope(topic, "poison-surrogate", r#""\ud800""#)),
        ("bad UTF-8", b"\xff\xfe{}".to_vec()),
        ("an envelope that is cut off", in_envelope(topic, "poison-cut", "3")[..60].to_vec()),
        ("a duplicate key", in_envelope(topic, "poison-key", r#"{"a":1,"a":2}"#)),
        ("a byte too much", vec![b' '; MAX_BODY + 1]),
    ]
}

/// Through an exchange of its own, past the recorder.
async fn send_by_amqp(world: &World, topic: &str) -> Result<Vec<Poison>> {
    let mut deep = Vec::new();
    for _ in 0..DEEP {
        // `x`: a table, of which this is the beginning; lengths are put in from the inside.
        deep = nest(&deep);
    }
    let with = |table: &[u8]| Properties::with_headers(table);
    let mut poison = vec![
        poison("a header that is not UTF-8", with(b"\x01hS\x00\x00\x00\x02\xff\xfe"), b"header"),
        poison("a header of type L", with(b"\x01hL\x00\x00\x00\x00\x00\x00\x00\x01"), b"type L"),
        poison("a table 18,000 deep", with(&deep), b"deep"),
        poison("an id property that is not UTF-8", Properties::with_message_id(b"\xff\xfe"), b"id"),
        poison("nothing at all", Properties::default(), b""),
        poison("no JSON", Properties::default(), b"{"),
    ];
    let bodies = bodies(topic).into_iter();
    poison.extend(bodies.map(|(what, body)| self::poison(what, Properties::default(), &body)));
    let exchange = format!("poison-{}", world.tag);
    let mut client = world.client().await?;
    client.declare_exchange(&exchange).await?;
    client.bind(&world.queue(), &exchange, "#").await?;
    for Poison { what, properties, body } in &poison {
        client.publish(&exchange, topic.as_bytes(), properties, body).await?;
        client.confirm().await.with_context(|| format!("RabbitMQ does not take {what}"))?;
    }
    client.delete_exchange(&exchange).await?;
    // Four bytes of UTF-8 are good, and come by the way of all good ones.
    Ok(poison)
}

fn poison(what: &'static str, properties: Properties, body: &[u8]) -> Poison {
    Poison { what, properties, body: body.to_vec() }
}

fn nest(inside: &[u8]) -> Vec<u8> {
    let mut table = b"\x01xF".to_vec();
    long_string(&mut table, inside);
    table
}

/// On the topic of good ones, but not heard by the recorder as anything else than poison. What is no envelope is stored as what it
/// is, by MQTT; only what is broken is set aside.
async fn send_by_mqtt(world: &World) -> Result<Vec<Poison>> {
    let topic = world.poison_topic();
    // Bodies of EdgeX may be larger than the limit of envelopes.
    let address = world.broker.address();
    let mut publisher = Publisher::connect(address).await?;
    let wrong = |(what, _): &(&'static str, Vec<u8>)| {
        ["no message id", "an id of 300 bytes", "U+0000 in the payload", "a duplicate key"]
            .contains(what)
    };
    let broken: Vec<_> = bodies(&topic).into_iter().filter(wrong).collect();
    for (_, body) in &broken {
        publisher.publish(&[(topic.clone(), body.clone())], |_| ()).await?;
    }
    // What is stored as what it is: retained and at QoS 0 too, however broken.
    let as_it_is = [(topic.clone(), b"\xff\x00plain".to_vec()), (topic.clone(), Vec::new())];
    publisher.publish_with(&as_it_is[..1], QoS::AtLeastOnce, true, |_| ()).await?;
    publisher.publish_with(&as_it_is, QoS::AtMostOnce, false, |_| ()).await?;
    publisher.flush().await?;
    let rows = format!("SELECT count(*) FROM inbound_event WHERE topic = '{topic}'");
    world
        .until(HEAD_OF_LINE, "what is no envelope is stored as it is", async || {
            Ok(world.sql.count(&rows).await? > as_it_is.len() as u64)
        })
        .await?;
    // Nobody put them in, as far as the verdict goes.
    world.sql.execute(&format!("DELETE FROM inbound_event WHERE topic = '{topic}'")).await?;
    let kept = broken.into_iter().map(|(what, body)| poison(what, Properties::default(), &body));
    Ok(kept.collect())
}

fn outbound(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        world.start_worker();
        world.moved(20).await?;
        let connections = "SELECT id, disconnects FROM event_bus_worker ORDER BY id";
        let before = world.sql.rows(connections).await?;
        let good = Way::Outbox.topic(&world.tag);
        let topics = [
            format!("event.{}.a.b", "d".repeat(256)),
            "event.fault.#.b".to_owned(),
            "event.fault.+.b".to_owned(),
            "event.fault..b".to_owned(),
            String::new(),
            "event.fault.\u{fffe}.b".to_owned(),
            "event.fault.a b.c".to_owned(),
        ];
        let mut values: Vec<_> =
            topics.iter().map(|topic| (topic.as_str(), "'event'", json!({}).to_string())).collect();
        let large = json!("x".repeat(MAX_BODY)).to_string();
        values.push((&good, "'event'", large));
        if world.cell.broker == Kind::Mqtt {
            // As it is written, with nothing around the payload.
            values
                .extend(["fault/#", "fault/+/b", ""].map(|topic| (topic, "NULL", "1".to_owned())));
        }
        for (topic, kind, payload) in &values {
            let insert = format!(
                "INSERT INTO outbound_event (request_id, topic, message_type, event_type, payload) \
                 VALUES ('poison', '{topic}', {kind}, 'written', '{payload}')"
            );
            world.sql.execute(&insert).await?;
        }
        let invalid = "SELECT count(*) FROM outbound_event WHERE request_id = 'poison' AND status = 'invalid' AND last_error IS NOT NULL";
        let wanted = values.len() as u64;
        world
            .until(HEAD_OF_LINE, "every such row is invalid, with a reason", async || {
                Ok(world.sql.count(invalid).await? == wanted)
            })
            .await?;
        world.moved(30).await?;
        ensure!(world.sql.rows(connections).await? == before, "they cost a connection");
        Ok(())
    })
}

fn flood(world: &mut World) -> LocalBoxFuture<'_, Result<()>> {
    Box::pin(async move {
        for _ in 0..3 {
            world.start_worker();
        }
        world.moved(20).await?;
        let numbers = world.ledger.attempt(Way::Sender, 2);
        let seed = world.ledger.seed();
        let body = |number| ids::envelope(seed, &world.tag, number).into_bytes();
        let topic = Way::Sender.topic(&world.tag);
        let mut messages: Vec<_> =
            (0..COPIES as u64).map(|copy| (topic.clone(), body(numbers + copy % 2))).collect();
        world.dice.shuffle(&mut messages);
        match world.cell.broker {
            Kind::Rabbitmq => {
                let mut client: Client = world.client().await?;
                for (topic, body) in &messages {
                    let exchange = world.exchange();
                    client
                        .publish(&exchange, topic.as_bytes(), &Properties::default(), body)
                        .await?;
                    client.confirm().await?;
                }
            }
            Kind::Mqtt => {
                let mut publisher = Publisher::connect(world.broker.address()).await?;
                publisher.publish(&messages, |_| ()).await?;
            }
        }
        for number in numbers..numbers + 2 {
            world.ledger.settle(Way::Sender, number, Fate::Committed);
        }
        world.terms.duplicates += messages.len() as u64;
        world.moved(30).await
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
