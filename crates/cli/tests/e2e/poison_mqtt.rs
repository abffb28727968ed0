//! Messages that no decent client sends by MQTT: each is stored or kept, and the others go on.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{
    Home, Letter, Mosquitto, Postroad, Publisher, Server, Sql, configure_mqtt, hex, on_plant,
    on_plant_with, publish_raw, until_in,
};

/// However bad the message before is.
const NEXT_WITHIN: Duration = Duration::from_mins(1);

const EVERYTHING: &str = r##"mqtt.inbound_topics=["#"]"##;

/// Under `edgex/events` a message has to be one of EdgeX.
const EDGEX: &[u8] = b"edgex/events/device/svc/profile/dev/src";

/// Topic and body, and whether it has to end in quarantine with its exact bytes.
fn poisons() -> Vec<(Vec<u8>, Vec<u8>, bool)> {
    let hall = |name: &str| format!("hall/{name}").into_bytes();
    let edgex = |name: &str| [EDGEX, name.as_bytes()].concat();
    let envelope = |payload: &str| {
        format!(
            r#"{{"schema":"interservice.envelope.v1","message_id":"{}","message_type":"event",
                "topic":"event.a.b.c","source_service":"s","event_type":"t","payload":{payload}}}"#,
            "i".repeat(4)
        )
        .into_bytes()
    };
    vec![
        (edgex("1"), b"\xff\xfe".to_vec(), true),
        (edgex("2"), Vec::new(), false),
        (edgex("3"), b"{\"apiVersion\":".to_vec(), true),
        (edgex("4"), vec![b'['; 1_000_000], true),
        (edgex("5"), b"{\"a\":\"\0\"}".to_vec(), true),
        (hall("envelope/nul"), envelope("\"\\u0000\""), true),
        (
            hall("envelope/long-id"),
            String::from_utf8(envelope("1"))
                .unwrap()
                .replace("iiii", &"i".repeat(300))
                .into_bytes(),
            true,
        ),
        (hall("bytes"), b"\xff\x00\xfe".to_vec(), false),
        (hall("empty"), Vec::new(), false),
        (hall("deep"), vec![b'['; 1_000_000], false),
        (hall("four-bytes"), "\u{1f980}".into(), false),
        (hall("escaped"), br#"{"a":"\u0000","b":"\ud800"}"#.to_vec(), false),
        ("halle 4/\u{d6}fen/\u{1f980}".into(), b"1".to_vec(), false),
        (b"/".to_vec(), b"2".to_vec(), false),
        (b"//a//".to_vec(), b"3".to_vec(), false),
        (b" ".to_vec(), b"4".to_vec(), false),
        ("a\u{1}b".into(), b"5".to_vec(), false),
        ("a\u{7f}b\u{85}".into(), b"6".to_vec(), false),
        ("a\u{fffe}b".into(), b"7".to_vec(), false),
        ("a\u{feff}b".into(), b"8".to_vec(), false),
        (b"a\0b".to_vec(), b"9".to_vec(), false),
        (b"a\xffb".to_vec(), b"10".to_vec(), false),
        (vec![b'x'; 65_535], b"11".to_vec(), false),
        ([&b"y/".repeat(199)[..], b"y"].concat(), b"12".to_vec(), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn poison_by_mqtt_is_stored_or_kept_and_what_comes_after_it_is_stored() {
    on_plant(&[EVERYTHING], async |plant| {
        poisoned(&plant.postroad, &plant.sql, plant.mosquitto.address).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn poison_by_mqtt_does_no_harm_with_sqlite_either() {
    let (home, mosquitto) = (Home::migrated().await, Mosquitto::start().await);
    configure_mqtt(&home.postroad, &mosquitto, &[EVERYTHING]);
    poisoned(&home.postroad, &home.sql, mosquitto.address).await;
}

async fn poisoned(postroad: &Postroad, sql: &Sql, address: SocketAddr) {
    let worker = postroad.worker(&[]);
    postroad.until_status("default", "running").await;
    let (mut sent, mut refused) = (0, 0);
    for (qos, retain) in [(0, false), (1, false), (1, true), (0, true)] {
        for (number, (topic, body, is_kept)) in poisons().iter().enumerate() {
            // A retained message without a body takes the one before away.
            if !publish_raw(address, topic, qos, retain, body).await {
                refused += 1;
                continue;
            }
            sent += 1;
            if *is_kept && qos == 1 && !retain {
                let kept = format!(
                    "SELECT count(*) FROM quarantined_message WHERE {} = '{}'",
                    sql.hex_of("body"),
                    hex(body)
                );
                until_in(NEXT_WITHIN, &format!("{number} is kept"), async || {
                    sql.count(&kept).await > 0
                })
                .await;
            }
        }
        let after = format!("good/after/{qos}/{retain}");
        // A new one, as each is kept alive only while it publishes.
        let mut good = Publisher::connect(address).await.unwrap();
        good.publish(&[Letter::new(&after, "21.5")]).await.unwrap();
        let row = format!("SELECT count(*) FROM inbound_event WHERE topic = '{after}'");
        until_in(NEXT_WITHIN, &after, async || sql.count(&row).await == 1).await;
    }
    assert!(refused < sent / 2, "the broker refused {refused}");
    // Equal messages are told apart by their arrival where nothing else does, and every one is somewhere.
    let all =
        "SELECT (SELECT count(*) FROM inbound_event) + (SELECT count(*) FROM quarantined_message)";
    until_in(NEXT_WITHIN, "each is somewhere", async || {
        let known = sql.row("SELECT duplicates FROM event_bus_worker").await;
        sql.count(all).await + known["duplicates"].as_i64().unwrap() == sent + 4
    })
    .await;
    for kept in postroad.json(&["quarantine", "list", "--limit", "200"]).as_array().unwrap() {
        let id = kept["id"].as_str().unwrap();
        postroad.done(&["quarantine", "show", id]);
        postroad.run(&["quarantine", "replay", id]).fails_saying(&["stays in quarantine"]);
        let replay = ["quarantine", "replay", id, "--topic", "mended/topic", "--body", "-"];
        let said = postroad.run_with_input(&replay, id.as_bytes()).exits(0).out;
        assert!(said.contains("in the inbox"), "{said}");
    }
    assert_eq!(sql.count("SELECT count(*) FROM quarantined_message").await, 0);
    worker.stop().await;
}

/// A server that gets more than `max_allowed_packet` may end the connection without a word, which looks like an outage.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn what_mariadb_does_not_take_at_once_is_kept_in_parts_and_what_comes_after_it_is_stored() {
    on_plant_with(Server::Mariadb, &[EVERYTHING], async |plant| {
        let packet = plant.sql.count("SELECT CAST(@@max_allowed_packet AS signed)").await;
        let packet = usize::try_from(packet).unwrap();
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let bodies = [
            vec![b'x'; packet + 1_000],
            vec![0xff; 2 * packet + 1_000_000],
            // As it is sent each of its bytes is two.
            format!("[{}]", vec![r#""""#; packet / 4].join(",")).into_bytes(),
        ];
        for (number, body) in bodies.iter().enumerate() {
            let mut publisher = Publisher::connect(plant.mosquitto.address).await.unwrap();
            let (large, after) = (format!("large/{number}"), format!("after/{number}"));
            let letters = [Letter::new(&large, body.clone()), Letter::new(&after, "21.5")];
            publisher.publish(&letters).await.unwrap();
            let row = format!("SELECT count(*) FROM inbound_event WHERE topic = '{after}'");
            plant.sql.until_count(1, &row).await;
            let kept = format!(
                "SELECT CAST(sum(length(body)) AS signed) FROM quarantined_message WHERE topic = '{large}'"
            );
            assert_eq!(plant.sql.count(&kept).await, i64::try_from(body.len()).unwrap());
        }
        let parts = "SELECT count(*) FROM quarantined_message WHERE detail LIKE 'part _ of _ of %'";
        assert_eq!(plant.sql.count(parts).await, 5);
        let log = worker.stop().await;
        assert!(!log.contains("not available"), "{log}");
    })
    .await;
}
