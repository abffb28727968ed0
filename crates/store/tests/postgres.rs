//! The promises of a store, on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "suite/late.rs"]
mod late;
mod suite;

use std::time::Duration;

use postroad_store::connect;
use postroad_worker_core::{Level, OutboxStore, StoreError};
use sea_orm::ConnectionTrait;
use suite::home::Home;
use uuid::Uuid;

/// Runs a test on a new database, and drops that whatever comes of the test.
async fn on_postgres<F>(test: impl FnOnce(Home) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let admin_url =
        std::env::var("POSTROAD_TEST_POSTGRES_URL").expect("POSTROAD_TEST_POSTGRES_URL is set");
    let admin = connect(&admin_url).await.unwrap();
    let name = format!("postroad_{}", Uuid::new_v4().simple());
    admin.connection().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, _) = admin_url.rsplit_once('/').expect("the URL ends in a database's name");
    let home = Home::new(format!("{server}/{name}")).await;
    let database = home.database.clone();
    let outcome = tokio::spawn(test(home)).await;
    database.close().await;
    admin
        .connection()
        .execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .unwrap();
    admin.close().await;
    outcome.unwrap();
}

macro_rules! declare_on_postgres {
    ($($module:ident::$promise:ident,)*) => {$(
        #[tokio::test]
        #[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
        async fn $promise() {
            on_postgres(suite::$module::$promise).await;
        }
    )*};
}

suite::every_promise!(declare_on_postgres);

macro_rules! declare_late_on_postgres {
    ($($promise:ident,)*) => {$(
        #[tokio::test]
        #[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
        async fn $promise() {
            on_postgres(late::$promise).await;
        }
    )*};
}

declare_late_on_postgres! {
    a_row_committed_late_goes_before_those_of_its_key_that_came_after_it,
    a_row_that_is_never_committed_holds_its_key_back_until_that_is_known,
    writers_that_never_pause_do_not_hold_a_key_back_for_ever,
    a_transaction_of_many_rows_holds_every_key_of_them_back,
    a_process_that_stops_in_the_middle_of_a_transaction_keeps_no_row_for_long,
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_claim_from_a_long_backlog_walks_the_index_whatever_the_statistics_say() {
    on_postgres(|home: Home| async move {
        // Statistics from a time when nothing was pending.
        let published = "INSERT INTO outbound_event (topic, payload, status, published) \
             SELECT 'event.a.b.c', '{}', 'published', true FROM generate_series(1, 20000)";
        home.execute(published).await;
        home.execute("ANALYZE outbound_event").await;
        let pending = "INSERT INTO outbound_event (topic, payload, ordering_key) \
             SELECT 'event.a.b.c', '{}', CASE WHEN n % 2 = 0 THEN 'k' || n END FROM generate_series(1, 50000) AS n";
        home.execute(pending).await;
        let plan = "EXPLAIN SELECT seq FROM outbound_event \
             WHERE config_key = 'default' AND status = 'pending' AND ordering_key IS NULL AND due_at <= now() \
             ORDER BY due_at, seq LIMIT 500 FOR UPDATE SKIP LOCKED";
        check_plan(&home, plan, "outbound_event_due").await;
        let plan = "EXPLAIN SELECT ordering_key, seq FROM outbound_event \
             WHERE config_key = 'default' AND status = 'pending' AND ordering_key > 'k' \
             ORDER BY ordering_key, seq LIMIT 1";
        check_plan(&home, plan, "outbound_event_ordering").await;
        let plan = "EXPLAIN UPDATE outbound_event SET claimed_until = now() \
             WHERE claim_token = 't' AND status = 'pending'";
        check_plan(&home, plan, "outbound_event_claim").await;
        assert_eq!(home.store().claim(500, Duration::from_secs(30)).await.unwrap().rows.len(), 500);
    })
    .await;
}

async fn check_plan(home: &Home, explain: &str, index: &str) {
    let plan = format!("{:?}", home.rows(explain).await);
    assert!(plan.contains(&format!("using {index}")) && !plan.contains("Sort"), "{plan}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_row_of_another_process_is_a_hint_as_soon_as_it_is_committed() {
    on_postgres(|home: Home| async move {
        let store = home.store();
        // Until it is known that notifications come through; hints of other tests in this process come meanwhile.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !store.is_told() {
            assert!(tokio::time::Instant::now() < deadline, "it does not listen");
            tokio::time::timeout(Duration::from_millis(50), store.woken()).await.ok();
        }
        // The hints of this process wake every store in it; a row that is written by plain SQL is none of them.
        let insert = "INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.c', '{}')";
        home.execute(insert).await;
        let hint = tokio::time::timeout(Duration::from_secs(5), store.woken()).await;
        assert!(hint.is_ok());
    })
    .await;
}

/// As where a process is held up between taking a number and locking the key.
#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_number_that_came_before_the_lock_on_its_key_is_given_anew_where_a_later_one_is_out() {
    on_postgres(|home: Home| async move {
        let insert = |seq: &str, key: &str| {
            format!(
                "INSERT INTO outbound_event (seq, topic, payload, ordering_key) \
                 VALUES ({seq}, 'event.a.b.c', '{{}}', {key}) RETURNING seq"
            )
        };
        let next = "SELECT nextval(pg_get_serial_sequence('outbound_event', 'seq'))";
        assert_eq!((home.count(next).await, home.count(next).await), (1, 2));
        // Whoever has the first is late.
        assert_eq!(home.count(&insert("2", "'k'")).await, 2);
        assert_eq!(home.count(&insert("1", "'k'")).await, 3);
        assert_eq!(home.count(&insert("DEFAULT", "'k'")).await, 4);
        // What has no key has no order, and what is brought from elsewhere may keep its number.
        assert_eq!(home.count(&insert("1", "NULL")).await, 1);
        assert_eq!(home.count(&insert("1000", "'k'")).await, 1_000);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_not_an_error_of_connecting() {
    // Port 1 is nobody's.
    let database = connect("postgres://user:hunter2@127.0.0.1:1/db").await.unwrap();
    let error = database.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

/// The name of the database that a test is in.
async fn name_of(home: &Home) -> String {
    home.rows("SELECT current_database()::text AS name").await[0]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_database_that_is_read_only_or_too_strict_is_not_worked_on() {
    on_postgres(|home: Home| async move {
        let name = name_of(&home).await;
        // The settings of a database are those of new connections.
        for (setting, value, said) in [
            ("default_transaction_read_only", "on", "read-only"),
            ("default_transaction_isolation", "'repeatable read'", "repeatable read"),
        ] {
            home.execute(&format!("ALTER DATABASE {name} SET {setting} = {value}")).await;
            let neighbour = Home::at(home.url.clone()).await;
            let error = neighbour.unfit().await;
            assert!(error.contains(said) && error.contains("ALTER ROLE postroad"), "{error}");
            let check = if said == "read-only" { "write access" } else { "isolation" };
            assert_eq!(neighbour.finding(check).await.level, Level::Failure);
            home.execute(&format!("ALTER DATABASE {name} RESET {setting}")).await;
            neighbour.database.close().await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn an_invalid_index_and_a_trigger_that_does_not_fire_are_told() {
    on_postgres(|home: Home| async move {
        home.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbound_event_claim'::regclass",
        )
        .await;
        let finding = home.finding("indexes").await;
        assert!(finding.found.ends_with("outbound_event_claim"), "{finding:#?}");
        for statement in finding.advice.split("; ") {
            home.execute(statement).await;
        }
        assert_eq!(home.finding("indexes").await.level, Level::Ok);

        home.execute("ALTER TABLE outbound_event DISABLE TRIGGER outbound_event_written").await;
        for state in ["disabled", "missing"] {
            let finding = home.finding("triggers").await;
            assert_eq!(finding.level, Level::Warning, "{finding:#?}");
            assert!(finding.found.contains(state), "{finding:#?}");
            home.execute(&finding.advice).await;
            assert_eq!(home.finding("triggers").await.level, Level::Ok);
            home.execute("DROP TRIGGER outbound_event_written ON outbound_event").await;
        }

        home.execute("ALTER TABLE inbound_dedupe DROP CONSTRAINT inbound_dedupe_pkey").await;
        let finding = home.finding("indexes").await;
        assert_eq!(finding.level, Level::Failure, "{finding:#?}");
        home.execute(&finding.advice).await;
        assert_eq!(home.finding("indexes").await.level, Level::Ok);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_user_who_may_not_do_what_a_worker_does_is_told_what_to_grant() {
    on_postgres(|home: Home| async move {
        let role = format!("{}_worker", name_of(&home).await);
        home.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await;
        let worker = Home::at(as_user(&home.url, &role)).await;
        let mut failed = 0;
        loop {
            let finding = worker.finding("permissions").await;
            match finding.level {
                Level::Ok => break,
                Level::Failure => assert!(finding.found.contains("what a worker needs")),
                Level::Warning => assert!(finding.found.contains("what some command needs")),
            }
            failed += 1;
            assert!(failed <= 2, "{finding:#?}");
            for statement in finding.advice.split("; ") {
                home.execute(statement).await;
            }
        }
        assert_eq!(failed, 2);
        worker.store().claim(1, Duration::from_secs(1)).await.unwrap();
        worker.database.close().await;
        home.execute(&format!("DROP OWNED BY {role}")).await;
        home.execute(&format!("DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn a_transaction_that_keeps_dead_rows_is_named_without_its_statement() {
    on_postgres(|home: Home| async move {
        let transaction = home.database.begin().await.unwrap();
        let secret =
            "INSERT INTO outbound_event (topic, payload) VALUES ('event.a.b.secret', '{}')";
        transaction.execute_unprepared(secret).await.unwrap();
        let finding = home.finding("old transactions").await;
        assert_eq!(finding.level, Level::Ok, "it is young: {finding:#?}");
        assert!(finding.found.contains("(postroad, idle in transaction)"), "{finding:#?}");
        assert!(!finding.found.contains("secret"), "{finding:#?}");
        transaction.rollback().await.unwrap();
    })
    .await;
}

/// The same database as another user of the server, whose password is `x`.
fn as_user(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, place) = rest.rsplit_once('@').unwrap();
    format!("{scheme}://{name}:x@{place}")
}
