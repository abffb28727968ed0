//! `postroad doctor` and the check at start, at real servers.

use crate::support::{
    Bus, Letter, Publisher, Server, TOPIC, event, on_plant_with, on_server, on_servers, until,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn a_healthy_bus_at_work_is_all_right_and_is_not_disturbed() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        bus.enqueue(200).await;
        for _ in 0..3 {
            let ran = bus.postroad.run(&["doctor", "--json"]).exits(0);
            assert_eq!(ran.complaints(), [""; 0], "{ran:?}");
            assert_eq!(ran.err, "");
        }
        bus.sql.until_sent().await;
        bus.until_received("default", 200).await;
        let status = bus.status("default");
        assert_eq!(status["quarantined"], 0);
        let counts =
            bus.sql.row("SELECT received, duplicates, disconnects FROM event_bus_worker").await;
        assert_eq!((&counts["duplicates"], &counts["disconnects"]), (&0.into(), &0.into()));
        let log = worker.stop().await;
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_bus_on_sqlite_is_all_right() {
    on_server(Server::Postgres, async |bus| {
        // The same config in both, so that what the test leaves at the broker is taken down.
        bus.configure("default", &[]);
        let file = bus.postroad.folder().join("bus.db");
        let postroad = bus.postroad_on(format!("sqlite://{}?mode=rwc", file.display()));
        postroad.done(&["migrate", "up"]);
        postroad.import(&bus.config("default"));
        let worker = postroad.worker(&[]);
        postroad.until_status("default", "running").await;
        let ran = postroad.run(&["doctor", "--json"]).exits(0);
        assert_eq!(ran.complaints(), [""; 0], "{ran:?}");
        worker.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn each_fault_has_its_line() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let worker = bus.postroad.worker(&[]);
        bus.until_status("default", "running").await;
        worker.stop().await;
        let complaints = |code| bus.postroad.run(&["doctor", "--json"]).exits(code).complaints();

        let on = if bus.sql.is_postgres() { "" } else { " ON outbound_event" };
        bus.sql.execute(&format!("DROP INDEX outbound_event_claim{on}")).await;
        assert_eq!(complaints(1), ["indexes: failure"]);
        let line = bus.postroad.run(&["doctor", "--json"]).line("database", "indexes");
        bus.sql.execute(line["advice"].as_str().unwrap()).await;
        assert_eq!(complaints(0), [""; 0]);

        for (key, ordering) in [("Default", "NULL"), ("default ", "'k'")] {
            let insert = format!(
                "INSERT INTO outbound_event (config_key, topic, event_type, payload, ordering_key) \
                 VALUES ('{key}', 'event.a.b.c', 'c', '1', {ordering})"
            );
            bus.sql.execute(&insert).await;
        }
        assert_eq!(complaints(0), ["config keys: warning"]);
        let line = bus.postroad.run(&["doctor", "--json"]).line("database", "config keys");
        let found = line["found"].as_str().unwrap();
        assert!(found.contains("`Default`") && found.contains("`default `"), "{line:#}");
        bus.sql.execute("DELETE FROM outbound_event").await;

        bus.postroad.done(&["config", "set", "default", "rabbitmq.queue_type=classic"]);
        assert_eq!(complaints(1), ["settings: warning", "queue: failure"]);
        bus.postroad.done(&["config", "set", "default", "rabbitmq.queue_type=quorum"]);

        bus.broker.refuse(true);
        assert_eq!(complaints(1), ["broker: failure"]);
        bus.broker.refuse(false);
        bus.broker.blackhole(true);
        bus.postroad.done(&["config", "set", "default", "connect_timeout=2"]);
        assert_eq!(complaints(1), ["broker: failure"]);
        bus.broker.blackhole(false);
        bus.postroad.done(&["config", "set", "default", "connect_timeout=10"]);
        bus.database.refuse(true);
        assert_eq!(complaints(1), ["connection: failure"]);
        bus.database.refuse(false);
        assert_eq!(complaints(0), [""; 0]);

        for statement in lose_permission(bus).await {
            bus.sql.execute(&statement).await;
        }
    })
    .await;
}

/// Looks as a user who may not write the outbox. Returns what takes that user away again.
async fn lose_permission(bus: &Bus) -> Vec<String> {
    let tag = bus.service("u").split_off(2);
    let user = format!("u_{}", &tag[..20]);
    let (create, grant, drop) = if bus.sql.is_postgres() {
        (
            format!("CREATE ROLE {user} LOGIN PASSWORD 'x'"),
            format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"),
            vec![format!("DROP OWNED BY {user}"), format!("DROP ROLE {user}")],
        )
    } else {
        (
            format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'"),
            format!("GRANT SELECT ON postroad_{tag}.* TO {user}@'%'"),
            vec![format!("DROP USER {user}@'%'")],
        )
    };
    bus.sql.execute(&create).await;
    bus.sql.execute(&grant).await;
    let scheme = if bus.sql.is_postgres() { "postgres" } else { "mysql" };
    let url = format!("{scheme}://{user}:x@{}/postroad_{tag}", bus.database.addr());
    let ran = bus.postroad_on(url).run(&["doctor", "--json"]).exits(1);
    let line = ran.line("database", "permissions");
    assert_eq!(line["result"], "failure", "{line:#}");
    assert!(line["found"].as_str().unwrap().contains("UPDATE on outbound_event"), "{line:#}");
    assert!(
        line["advice"].as_str().unwrap().contains("GRANT UPDATE ON outbound_event"),
        "{line:#}"
    );
    drop
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and PostgreSQL: run `cargo xtask itest`"]
async fn a_worker_and_a_migration_refuse_a_database_that_is_not_fit_in_one_line() {
    on_server(Server::Postgres, async |bus| {
        bus.configure("default", &[]);
        let tag = bus.service("u").split_off(2);
        for (setting, said) in [
            ("default_transaction_read_only = on", "read-only"),
            ("default_transaction_isolation = 'serializable'", "`serializable`"),
        ] {
            bus.sql.execute(&format!("ALTER DATABASE postroad_{tag} SET {setting}")).await;
            let mut worker = bus.postroad.worker(&[]);
            assert_eq!(worker.ended().await, 1, "{}", worker.log());
            let log = worker.log();
            let errors: Vec<_> = log.lines().filter(|line| line.starts_with("error: ")).collect();
            assert!(errors.len() == 1 && errors[0].contains(said), "{log}");
            assert!(errors[0].contains("ALTER ROLE"), "{log}");
            bus.postroad.run(&["migrate", "up"]).fails_saying(&[said, "ALTER ROLE"]);
            let (name, _) = setting.split_once(' ').unwrap();
            let reset = format!("SET default_transaction_read_only = off; ALTER DATABASE postroad_{tag} RESET {name}");
            bus.sql.execute(&reset).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto and PostgreSQL: run `cargo xtask itest`"]
async fn a_plant_at_work_is_all_right_and_is_not_disturbed() {
    on_plant_with(Server::Postgres, &[], async |plant| {
        let worker = plant.postroad.worker(&[]);
        plant.postroad.until_status("default", "running").await;
        let mut device = Publisher::connect(plant.mosquitto.address).await.unwrap();
        for round in 0..3 {
            let ran = plant.postroad.run(&["doctor", "--json"]).exits(0);
            assert_eq!(ran.complaints(), [""; 0], "{ran:?}");
            assert_eq!(ran.err, "");
            let lock = ran.line("config default", "spool lock");
            assert!(lock["found"].as_str().unwrap().contains("held by a worker"), "{lock:#}");
            let id = format!("0192f0c1-7c7c-7000-8000-00000000000{round}");
            device.publish(&[Letter::new(TOPIC, event(&id).payload)]).await.unwrap();
        }
        until("all are stored", async || plant.received().await == 3).await;
        // Paho warns of the end that a stop is.
        let log = worker.log();
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
        worker.stop().await;

        plant.mosquitto.kill();
        let ran = plant.postroad.run(&["doctor", "--json"]).exits(1);
        assert_eq!(ran.complaints(), ["broker: failure"], "{ran:?}");
    })
    .await;
}
