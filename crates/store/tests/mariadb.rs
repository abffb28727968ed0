//! The promises of a store, on MariaDB.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

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
