//! A place at a Mosquitto and a database, both the test's own.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use postroad_testbed::{Mosquitto, until};
use postroad_transport::testing::Proxy;
use tempfile::TempDir;
use uuid::Uuid;

use super::device::Device;
use super::postroad::Postroad;
use super::scratch::{Scratch, Server, tell};
use super::sql::Sql;

/// The program reaches the database through a proxy, `sql` does not.
pub(crate) struct Plant {
    pub(crate) postroad: Postroad,
    pub(crate) sql: Sql,
    pub(crate) mosquitto: Mosquitto,
    pub(crate) database: Proxy,
    scratch: Scratch,
    _folder: TempDir,
}

/// Runs a test on a new plant with each database there is.
pub(crate) async fn on_plant(more: &[&str], test: impl AsyncFn(&mut Plant)) {
    for server in Server::wanted() {
        tell(server);
        on_plant_with(server, more, &test).await;
    }
}

/// Runs a test on a new plant whose config `default` has these settings more, and takes down what it left.
pub(crate) async fn on_plant_with(server: Server, more: &[&str], test: impl AsyncFn(&mut Plant)) {
    let mut plant = Plant::open(server).await;
    configure_mqtt(&plant.postroad, &plant.mosquitto, more);
    let outcome = AssertUnwindSafe(test(&mut plant)).catch_unwind().await;
    plant.scratch.remove(plant.sql).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl Plant {
    async fn open(server: Server) -> Self {
        let mosquitto = Mosquitto::start().await;
        let scratch = Scratch::create(server, &Uuid::new_v4().simple().to_string()).await;
        let sql = scratch.sql().await;
        let (database, url) = scratch.behind_proxy().await;
        let folder = TempDir::new().unwrap();
        let postroad = Postroad::new(url, folder.path());
        postroad.done(&["migrate", "up"]);
        Self { postroad, sql, mosquitto, database, scratch, _folder: folder }
    }

    /// The message ids in the inbox.
    pub(crate) async fn stored(&self) -> BTreeSet<String> {
        let rows = self.sql.rows("SELECT message_id FROM inbound_event").await;
        rows.iter().map(|row| row["message_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Stops the device, waits until all that the broker took is stored, and checks that each is there once and nothing
    /// else is. Returns how many there are.
    pub(crate) async fn until_stored_once(&self, device: Device) -> usize {
        let sent = device.stop().await;
        until("all is stored", async || sent.is_subset(&self.stored().await)).await;
        let stored = self.stored().await;
        assert!(stored == sent, "{} were sent and {} stored", sent.len(), stored.len());
        assert_eq!(self.received().await, i64::try_from(sent.len()).unwrap());
        sent.len()
    }

    /// How many messages wait in the spool, as `postroad status` has it.
    pub(crate) fn spooled(&self) -> i64 {
        let status = self.postroad.status("default");
        status["workers"][0]["spool_messages"].as_i64().expect("it is a number")
    }

    /// How many rows the inbox holds.
    pub(crate) async fn received(&self) -> i64 {
        self.sql.count("SELECT count(*) FROM inbound_event").await
    }
}

/// Makes the config `default` in a hurry, with these settings more.
pub(crate) fn configure_mqtt(postroad: &Postroad, mosquitto: &Mosquitto, more: &[&str]) {
    let address = mosquitto.address;
    let folder = postroad.folder().display();
    postroad.import(&format!(
        r#"
        [config.default]
        broker_type = "mqtt"
        host = "{address}"
        source_service = "ebmr"
        connect_timeout = 10
        retry_interval_seconds = 1
        poll_interval_ms = 50
        heartbeat_interval_seconds = 1
        [config.default.mqtt]
        client_id = "ebmr"
        spool_dir = "{folder}/spool"
        "#
    ));
    if !more.is_empty() {
        postroad.done(&[&["config", "set", "default"], more].concat());
    }
}
