//! The promises of a store, on MariaDB.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "suite/late.rs"]
mod late;
mod suite;

use postroad_store::connect;
use postroad_worker_core::Level;
use sea_orm::ConnectionTrait;
use suite::home::Home;
use uuid::Uuid;

/// Runs a test on a new database, and drops that whatever comes of the test.
async fn on_mariadb<F>(test: impl FnOnce(Home) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let admin_url =
        std::env::var("POSTROAD_TEST_MARIADB_URL").expect("POSTROAD_TEST_MARIADB_URL is set");
    let admin = connect(&admin_url).await.unwrap();
    let name = format!("postroad_{}", Uuid::new_v4().simple());
    admin.connection().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, _) = admin_url.rsplit_once('/').expect("the URL ends in a database's name");
    let home = Home::new(format!("{server}/{name}")).await;
    let database = home.database.clone();
    let outcome = tokio::spawn(test(home)).await;
    database.close().await;
    admin.connection().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
    admin.close().await;
    outcome.unwrap();
}

macro_rules! declare_on_mariadb {
    ($($module:ident::$promise:ident,)*) => {$(
        #[tokio::test]
        #[ignore = "needs MariaDB: run `cargo xtask itest`"]
        async fn $promise() {
            on_mariadb(suite::$module::$promise).await;
        }
    )*};
}

suite::every_promise!(declare_on_mariadb);

async fn name_of(home: &Home) -> String {
    home.rows("SELECT database() AS name").await[0]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn a_collation_that_takes_two_ids_for_one_is_refused_and_the_advice_mends_it() {
    on_mariadb(|home: Home| async move {
        for collation in ["utf8mb4_general_ci", "utf8mb4_bin"] {
            let convert = "ALTER TABLE inbound_event CONVERT TO CHARACTER SET utf8mb4 COLLATE";
            home.execute(&format!("{convert} {collation}")).await;
            let error = home.unfit().await;
            assert!(error.contains(collation) && error.contains("inbound_event"), "{error}");
            let finding = home.finding("collation").await;
            assert_eq!(finding.level, Level::Failure, "{finding:#?}");
            home.execute(&finding.advice).await;
            assert_eq!(home.finding("collation").await.level, Level::Ok);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn a_user_is_told_what_to_grant_and_that_the_server_is_read_only() {
    on_mariadb(|home: Home| async move {
        let name = name_of(&home).await;
        let user = format!("w{}", &name[name.len() - 20..]);
        home.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'")).await;
        home.execute(&format!("GRANT CREATE ON {name}.* TO {user}@'%'")).await;
        let worker = Home::at(as_user(&home.url, &user)).await;
        for said in ["what a worker needs", "what some command needs"] {
            let finding = worker.finding("permissions").await;
            assert!(finding.found.contains(said), "{finding:#?}");
            for statement in finding.advice.split("; ") {
                home.execute(statement).await;
            }
        }
        assert_eq!(worker.finding("permissions").await.level, Level::Ok);
        let unseen = worker.finding("old transactions").await;
        assert!(unseen.advice.contains("PROCESS"), "{unseen:#?}");

        // The users of the other tests may write all the same.
        home.execute("SET GLOBAL read_only = 1").await;
        let (by_worker, by_admin) =
            (worker.finding("write access").await, home.finding("write access").await);
        let error = worker.unfit().await;
        home.execute("SET GLOBAL read_only = 0").await;
        assert_eq!(by_worker.level, Level::Failure, "{by_worker:#?}");
        assert_eq!(by_admin.level, Level::Ok, "{by_admin:#?}");
        assert!(error.contains("read_only is on"), "{error}");
        assert_eq!(worker.finding("write access").await.level, Level::Ok);
        worker.database.close().await;
        home.execute(&format!("DROP USER {user}@'%'")).await;
    })
    .await;
}

/// The same database as another user of the server, whose password is `x`.
fn as_user(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, place) = rest.rsplit_once('@').unwrap();
    format!("{scheme}://{name}:x@{place}")
}

macro_rules! declare_late_on_mariadb {
    ($($promise:ident,)*) => {$(
        #[tokio::test]
        #[ignore = "needs MariaDB: run `cargo xtask itest`"]
        async fn $promise() {
            on_mariadb(late::$promise).await;
        }
    )*};
}

declare_late_on_mariadb! {
    a_row_committed_late_goes_before_those_of_its_key_that_came_after_it,
    a_row_that_is_never_committed_holds_its_key_back_until_that_is_known,
    writers_that_never_pause_do_not_hold_a_key_back_for_ever,
    a_transaction_of_many_rows_holds_every_key_of_them_back,
    a_process_that_stops_in_the_middle_of_a_transaction_keeps_no_row_for_long,
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn a_migration_that_failed_halfway_goes_on_the_next_time() {
    on_mariadb(|home: Home| async move {
        // The columns are there, the rest is not.
        home.execute("DROP TABLE event_bus_maintenance").await;
        home.execute("DROP INDEX inbound_dedupe_created ON inbound_dedupe").await;
        home.execute("DELETE FROM postroad_migrations WHERE version = 'm0002_retention'").await;
        postroad_migration::up(home.database.connection()).await.unwrap();
        home.execute("SELECT 1 FROM event_bus_maintenance").await;
        let index = "SELECT count(*) FROM information_schema.statistics \
             WHERE table_schema = database() AND index_name = 'inbound_dedupe_created'";
        assert_eq!(home.count(index).await, 2, "its columns");
    })
    .await;
}
