//! The promises of a store, on MariaDB.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "suite/late.rs"]
mod late;
mod suite;

use postroad_store::connect;
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
