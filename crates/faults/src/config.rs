//! The config of a cell: in a hurry, and through the network that breaks.

use crate::ids::Way;
use crate::launch::PASSWORD;
use crate::recorder::Place;
use crate::world::{HEARTBEAT, World};

impl World {
    /// As `postroad config import` takes it.
    pub(crate) fn config(&self) -> String {
        let address = self.network.addr();
        let tag = &self.tag;
        let common = format!(
            "[config.default]\nhost = \"{address}\"\nsource_service = \"svc_{tag}\"\nconnect_timeout = 5\n\
             retry_interval_seconds = 1\npoll_interval_ms = 100\nheartbeat_interval_seconds = 1\n"
        );
        match &self.place {
            Place::Amqp { url, exchange, .. } => format!(
                "{common}broker_type = \"rabbitmq\"\nusername = \"{}\"\npassword = \"env:{PASSWORD}\"\n\
                 [config.default.rabbitmq]\nvirtual_host = \"{}\"\nexchange = \"{exchange}\"\n\
                 binding_keys = [\"event.{tag}.#\"]\nheartbeat_seconds = {HEARTBEAT}\n",
                url.username, url.virtual_host
            ),
            Place::Mqtt { .. } => {
                let [rows, messages] = Way::ALL.map(|way| way.topic(tag));
                let topics = [rows, messages, self.poison_topic()];
                let group = if self.cell.fault.needs.group { "shared_group = \"g\"\n" } else { "" };
                format!(
                    "{common}broker_type = \"mqtt\"\n[config.default.mqtt]\nclient_id = \"{tag}\"\n\
                     keep_alive_seconds = {HEARTBEAT}\ninbound_topics = {topics:?}\n\
                     spool_dir = \"{}/spool\"\n{group}",
                    self.folder.path().display()
                )
            }
        }
    }
}
