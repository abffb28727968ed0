//! With exactly the permissions that `SECURITY.md` names everything works, and what they leave out does not.

use std::fs;

use postroad_tls::testing::{Flaw, Identity, Pki};
use uuid::Uuid;

use crate::support::{
    Home, Letter, Node, Postroad, Publisher, Scratch, Server, Sql, event, free_address,
    mosquitto_by_tls, until,
};

const DOCUMENT: &str = include_str!("../../../../SECURITY.md");
const EVENT: &str = "event.machine.spindle.started";

/// The lines of the fenced block that begins with this comment, without the comment.
fn block(first: &str) -> String {
    let (_, rest) =
        DOCUMENT.split_once(&format!("\n{first}\n")).unwrap_or_else(|| panic!("no `{first}`"));
    rest.split_once("\n```").expect("it has an end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn each_role_does_its_work_in_the_database_and_nothing_else() {
    for server in Server::wanted() {
        database_roles(server).await;
    }
}

async fn database_roles(server: Server) {
    let tag = Uuid::new_v4().simple().to_string();
    let tag = &tag[..8];
    let scratch = Scratch::create(server, tag).await;
    let name = if server == Server::Postgres { "postgresql" } else { "mariadb" };
    // Roles are the whole server's, and the database is not called `bus` here.
    let sql_of = |when: &str| {
        let text = block(&format!("-- {name}: {when} `postroad migrate up`"));
        let text = text.replace(" bus.", &format!(" {}.", scratch.name()));
        // The table of migrations is nobody's name.
        let table = "postroad_migrations";
        let text = ["migration", "worker", "service"]
            .iter()
            .fold(text.replace(table, "{table}"), |text, role| {
                text.replace(&format!("postroad_{role}"), &format!("p_{role}_{tag}"))
            });
        text.replace("{table}", table)
    };
    let url = |role: &str| scratch.url_of(&format!("p_{role}_{tag}"), "change-me");
    let owner = scratch.sql().await;
    run_all(&owner, &sql_of("before")).await;
    let home = Home::empty().await;
    let folder = home.postroad.folder();
    let migration = Postroad::new(url("migration"), folder);
    migration.done(&["migrate", "up"]);
    if server == Server::Postgres {
        let migration = Sql::connect(&url("migration")).await;
        run_all(&migration, &sql_of("after")).await;
        migration.close().await;
    } else {
        // There it takes who may grant.
        run_all(&owner, &sql_of("after")).await;
    }
    migration.import(
        "[config.default]\nbroker_type = 'memory'\nsource_service = 'ebmr'\npassword = 'env:NOBODY'\n\
         heartbeat_interval_seconds = 1\npoll_interval_ms = 50\n",
    );

    let service = Sql::connect(&url("service")).await;
    let insert = format!(
        "INSERT INTO outbound_event (topic, event_type, payload, ordering_key) \
         VALUES ('{EVENT}', 'started', '{{}}', 'k')"
    );
    service.execute(&insert).await;
    let postroad = Postroad::new(url("worker"), folder);
    let worker = postroad.worker(&[]);
    service.until_sent().await;
    service.until_count(1, "SELECT count(*) FROM inbound_event").await;
    postroad.until_status("default", "running").await;
    let log = worker.stop().await;
    assert!(!log.contains("denied") && !log.contains("not available"), "{log}");
    let id = service.row("SELECT message_id FROM inbound_event").await;
    let application = Postroad::new(url("service"), folder);
    let row =
        service.row(&format!("SELECT {} AS id FROM inbound_event", text_of("id", server))).await;
    application.done(&["inbox", "done", row["id"].as_str().unwrap()]);
    assert!(id["message_id"].is_string());
    service.until_count(1, "SELECT count(*) FROM inbound_event WHERE status = 'processed'").await;
    let by_hand = ["outbox", "send", "--topic", EVENT, "--event-type", "e", "--payload", "{}"];
    let ran = application.run(&by_hand).exits(0);
    assert!(ran.err.contains("checked by the defaults"), "{ran:?}");

    for forbidden in [
        "SELECT password FROM event_bus_runtime_config",
        "UPDATE event_bus_runtime_config SET host = 'evil.example'",
        "UPDATE outbound_event SET status = 'published'",
        "DELETE FROM outbound_event",
        "DELETE FROM inbound_event",
        "UPDATE inbound_event SET payload = '{}'",
        "INSERT INTO inbound_event (topic) VALUES ('x')",
        "SELECT * FROM quarantined_message",
        "DELETE FROM event_bus_worker",
        "DELETE FROM postroad_migrations",
        "CREATE TABLE mine (id int)",
        "DROP TABLE outbound_event",
    ] {
        service.may_not(forbidden).await;
    }
    let worker = Sql::connect(&url("worker")).await;
    for forbidden in [
        "UPDATE event_bus_runtime_config SET host = 'evil.example'",
        "UPDATE event_bus_runtime_config SET password = 'x'",
        "UPDATE event_bus_rabbitmq_settings SET exchange = 'x'",
        "DELETE FROM event_bus_runtime_config",
        "INSERT INTO outbound_event (topic, payload) VALUES ('x', '{}')",
        "DELETE FROM postroad_migrations",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE outbound_event ADD COLUMN mine int",
        "DROP TABLE outbound_event",
    ] {
        worker.may_not(forbidden).await;
    }
    postroad.run(&["migrate", "down"]).exits(1);
    worker.close().await;
    service.close().await;
    let roles = ["migration", "worker", "service"].map(|role| format!("p_{role}_{tag}"));
    scratch.remove_with(owner, &roles).await;
}

fn text_of(column: &str, server: Server) -> String {
    if server == Server::Postgres { format!("{column}::text") } else { column.to_owned() }
}

async fn run_all(sql: &Sql, script: &str) {
    for statement in script.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        sql.execute(statement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
async fn each_user_of_rabbitmq_sends_or_receives_and_nothing_else() {
    let pki = Pki::new();
    let node = Node::start(&pki);
    let identity = pki.client("orders");
    let home = Home::migrated().await;
    for user in ["orders_out", "orders_in"] {
        node.control(&["add_user", user, "secret"]);
    }
    for line in block("# rabbitmq").lines() {
        let words: Vec<_> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        assert_eq!(words[0], "rabbitmqctl");
        node.control(&words[1..]);
    }
    home.postroad.import(&rabbitmq_config(&node, &pki, &identity));
    let set = |values: &[&str]| {
        home.postroad.done(&[&["config", "set", "default"], values].concat());
    };
    // The administrator's worker makes exchange, queue and bindings.
    let worker = home.postroad.worker(&[]);
    home.postroad.until_status("default", "running").await;
    worker.stop().await;

    set(&["rabbitmq.declare_topology=false", "username=orders_out", "inbound_enabled=false"]);
    let insert = format!(
        "INSERT INTO outbound_event (topic, event_type, payload) VALUES ('{EVENT}', 'started', '{{}}')"
    );
    home.sql.execute(&insert).await;
    let worker = home.postroad.worker(&[]);
    home.sql.until_sent().await;
    worker.stop().await;
    home.sql.until_count(1, "SELECT count(*) FROM outbound_event WHERE status = 'published'").await;

    set(&["username=orders_in", "inbound_enabled=true", "outbound_enabled=false"]);
    let worker = home.postroad.worker(&[]);
    home.sql.until_count(1, "SELECT count(*) FROM inbound_event").await;
    worker.stop().await;

    // Neither does the other's work, or makes anything.
    home.sql.execute(&insert).await;
    for forbidden in [
        &["username=orders_out", "inbound_enabled=true", "outbound_enabled=false"][..],
        &["username=orders_out", "rabbitmq.declare_topology=true", "rabbitmq.queue=mine"],
        &["username=orders_in", "rabbitmq.declare_topology=true", "rabbitmq.exchange=mine"],
    ] {
        set(forbidden);
        let worker = home.postroad.worker(&[]);
        worker.says("ACCESS_REFUSED").await;
        worker.stop().await;
    }
    doctor_names_the_missing_permission(&home);
    set(&[
        "username=orders_in",
        "rabbitmq.declare_topology=false",
        "rabbitmq.exchange=interservice",
        "rabbitmq.queue=orders.inbox",
        "inbound_enabled=false",
        "outbound_enabled=true",
        "max_retry_count=0",
    ]);
    let worker = home.postroad.worker(&[]);
    let refused = "SELECT count(*) FROM outbound_event WHERE last_error LIKE '%ACCESS_REFUSED%'";
    home.sql.until_count(1, refused).await;
    worker.stop().await;
}

/// By what users the broker has, and with the command that grants it.
fn doctor_names_the_missing_permission(home: &Home) {
    let there = ["rabbitmq.exchange=interservice", "rabbitmq.queue=orders.inbox"];
    let both = ["inbound_enabled=true", "outbound_enabled=true"];
    for (user, topology, check, pattern) in [
        ("orders_out", "false", "consuming", "read"),
        ("orders_in", "false", "publishing", "write"),
        ("orders_out", "true", "queue", "configure"),
        ("orders_out", "true", "exchange", "configure"),
    ] {
        let who = [format!("username={user}"), format!("rabbitmq.declare_topology={topology}")];
        let who = who.each_ref().map(String::as_str);
        home.postroad.done(&[&["config", "set", "default"][..], &there, &both, &who].concat());
        let line = home.postroad.run(&["doctor", "--json"]).exits(1).line("config default", check);
        assert_eq!(line["result"], "failure", "{line:#}");
        assert!(line["found"].as_str().unwrap().contains("ACCESS_REFUSED"), "{line:#}");
        let advice = line["advice"].as_str().unwrap();
        assert!(
            advice.contains("rabbitmqctl set_permissions") && advice.contains(user),
            "{line:#}"
        );
        assert!(advice.contains(pattern), "{line:#}");
    }
}

fn rabbitmq_config(node: &Node, pki: &Pki, identity: &Identity) -> String {
    format!(
        "[config.default]\nhost = '{}'\nusername = 'billing'\npassword = 'secret'\n\
         source_service = 'orders'\ntls_enabled = true\ntls_ca_file = '{}'\ntls_cert_file = '{}'\n\
         tls_key_file = '{}'\nretry_interval_seconds = 1\nheartbeat_interval_seconds = 1\n\
         poll_interval_ms = 50\nretry_backoff_base_seconds = 1\nretry_backoff_max_seconds = 1\n\
         [config.default.rabbitmq]\nqueue_type = 'classic'\n",
        node.address,
        pki.ca().display(),
        identity.cert.display(),
        identity.key.display(),
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: run `cargo xtask itest`"]
async fn a_user_of_mosquitto_reads_and_writes_its_topics_and_no_others() {
    let home = Home::migrated().await;
    let pki = Pki::new();
    let rules = home.postroad.folder().join("acl");
    // Who comes without a name is the rest of the world, in this test.
    fs::write(&rules, format!("topic readwrite #\n{}\n", block("# mosquitto"))).unwrap();
    let plain = free_address();
    let lines = format!(
        "require_certificate true\nuse_identity_as_username true\nlistener {} 127.0.0.1\n\
         allow_anonymous true\nacl_file {}",
        plain.port(),
        rules.display()
    );
    let mosquitto = mosquitto_by_tls(&pki, &pki.server(Flaw::None), &lines).await;
    let identity = pki.client("orders");
    home.postroad.import(&format!(
        "[config.default]\nbroker_type = 'mqtt'\nhost = '{}'\nsource_service = 'orders'\ntls_enabled = true\n\
         tls_ca_file = '{}'\ntls_cert_file = '{}'\ntls_key_file = '{}'\nmax_retry_count = 0\n\
         poll_interval_ms = 50\nheartbeat_interval_seconds = 1\n\
         [config.default.mqtt]\ninbound_topics = ['edgex/events/#', 'machines/#']\n",
        mosquitto.address,
        pki.ca().display(),
        identity.cert.display(),
        identity.key.display(),
    ));
    let worker = home.postroad.worker(&[]);
    home.postroad.until_status("default", "running").await;
    for topic in ["machines/press-4/set", "doors/4/set"] {
        let insert =
            format!("INSERT INTO outbound_event (topic, payload) VALUES ('{topic}', '{{}}')");
        home.sql.execute(&insert).await;
    }
    home.sql.until_sent().await;
    let outcome = "SELECT status FROM outbound_event ORDER BY topic";
    let rows = home.sql.rows(outcome).await;
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&"error".into(), &"published".into()));

    let mut publisher = Publisher::connect(plain).await.unwrap();
    let id = Uuid::new_v4().to_string();
    let letters = [Letter::new("machines/press-4/set", "{}"), event(&id)];
    publisher.publish(&letters).await.unwrap();
    until("what may be read arrives", async || {
        home.sql.count("SELECT count(*) FROM inbound_event").await == 1
    })
    .await;
    let found = home.sql.row("SELECT message_id FROM inbound_event").await;
    assert_eq!(found["message_id"], id.as_str(), "its own message was not for it to read");
    worker.stop().await;
}
