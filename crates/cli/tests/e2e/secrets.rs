//! A password is shown nowhere.

use crate::support::{Home, Postroad, Worker, on_servers};

const SECRET: &str = "hunter2-and-more";

#[tokio::test]
async fn no_command_shows_a_password() {
    let home = Home::configured().await;
    let set = format!("password={SECRET}");
    let mut said = Vec::new();
    for arguments in [
        &["config", "set", "default", &set, "username=ebmr"][..],
        &["config", "set", "default", &set, "port=many"],
        &["config", "set", "default", &format!("{set}\n")],
        &["config", "show", "default"],
        &["config", "show", "default", "--json"],
        &["config", "list"],
        &["config", "list", "--json"],
        &["status"],
        &["status", "--json"],
    ] {
        let ran = home.postroad.run(arguments);
        assert!(!ran.out.is_empty() || !ran.err.is_empty(), "{arguments:?} says nothing");
        said.push(format!("{arguments:?} says {} {}", ran.out, ran.err).replace(&set, ""));
    }
    let file = home.postroad.file("import.toml", format!("[config.x]\npassword = ['{SECRET}']\n"));
    said.push(home.postroad.run(&["config", "import", &file]).exits(1).err);
    let leaks: Vec<_> = said.iter().filter(|said| said.contains(SECRET)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    let stored = home.sql.row("SELECT password FROM event_bus_runtime_config").await;
    assert_eq!(stored["password"], SECRET);
    assert!(home.postroad.done(&["config", "show", "default"]).contains("***"));
}

#[tokio::test]
async fn the_password_in_a_database_url_is_not_shown_either() {
    let home = Home::empty().await;
    for url in [
        format!("postgres://ebmr:{SECRET}@127.0.0.1:many/bus"),
        format!("mysql://ebmr:{SECRET}@127.0.0.1:1/bus"),
        format!("postgres://ebmr:{SECRET}@[::1/bus"),
    ] {
        let ran = home.postroad.run(&["--database-url", &url, "status"]).exits(1);
        assert!(!ran.err.contains(SECRET) && ran.err.contains("--database-url"), "{ran:?}");
        let ran = home.postroad.run(&["--database-url", &url, "--help"]).exits(0);
        assert!(!ran.out.contains(SECRET), "{ran:?}");
    }
    // Nobody is there; all the worker can do is say so.
    let url = format!("postgres://ebmr:{SECRET}@127.0.0.1:1/bus");
    let postroad = Postroad::new(url, home.postroad.folder()).with("RUST_LOG", "trace");
    let mut worker = postroad.worker(&[]);
    worker.says("database not available").await;
    worker.terminate();
    assert_eq!(worker.ended().await, 0);
    assert!(!worker.log().contains(SECRET), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, PostgreSQL and MariaDB: run `cargo xtask itest`"]
async fn the_most_talkative_log_holds_no_password() {
    on_servers(async |bus| {
        bus.configure("default", &[]);
        let database_url = std::env::var("POSTROAD_TEST_POSTGRES_URL").unwrap();
        let (user, _) = database_url.rsplit_once('@').unwrap();
        let (_, database_password) = user.rsplit_once(':').unwrap();
        let mut command = bus.postroad.command(&["worker"]);
        command.env("RUST_LOG", "trace");
        let worker = Worker::start(command, bus.postroad.folder());
        bus.enqueue(1).await;
        bus.until_received("default", 1).await;
        bus.broker.refuse(true);
        bus.broker.cut();
        worker.says("broker not available").await;
        let log = worker.stop().await;
        assert!(log.contains("DEBUG"), "it is talkative");
        for password in [&bus.url.password, database_password] {
            let lines: Vec<_> = log.lines().filter(|line| line.contains(password)).collect();
            assert!(lines.is_empty(), "{lines:?}");
        }
    })
    .await;
}
