//! A connection whose messages go into the spool.

use std::sync::Arc;
use std::time::Duration;

use postroad_transport::ConnectError;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::client::{Client, Gone, wait_for_end};
use crate::connect::{Connected, Role, connect};
use crate::dropped::Watch;
use crate::relay::Relay;
use crate::settings::MqttSettings;
use crate::spool::Spool;
use crate::subscribe::{subscribe, unsubscribe};

/// For the broker to answer.
const UNSUBSCRIBE: Duration = Duration::from_secs(2);
/// For paho to finish with what it has, and for the broker to close.
const FAREWELL: Duration = Duration::from_secs(3);

/// A subscribed connection. Dropping it ends it; whatever of its messages is in the spool stays there.
pub(crate) struct Link {
    client: Client,
    relay: Relay,
    settings: MqttSettings,
    /// Whether the broker had kept the session, with what came while nobody was connected.
    pub(crate) session_present: bool,
    /// What it throws away while nobody is connected.
    pub(crate) dropped: Option<Watch>,
}

impl Link {
    /// Connects and subscribes. `Ok`: every subscription was granted.
    pub(crate) async fn open(
        settings: &MqttSettings,
        spool: &Arc<Spool>,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let role = Role { client_id: settings.client_id.clone(), clean: settings.clean_session };
        let Connected { client, relay, session_present, .. } =
            connect(settings, &role, deadline, Some(spool)).await?;
        let link =
            Self { client, relay, settings: settings.clone(), session_present, dropped: None };
        subscribe(&link.client, settings, deadline).await?;
        info!(session_present, "subscribed");
        Ok(link)
    }

    /// Says why the connection was lost, when it is.
    pub(crate) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.client.lost()
    }

    /// Resolves when the connection to the broker is closed.
    pub(crate) fn gone(&self) -> Gone {
        self.relay.closed()
    }

    /// Whether the broker assigns messages to this subscriber that no other of its group gets.
    pub(crate) fn is_shared(&self) -> bool {
        self.settings.shared_group.is_some()
    }

    /// Takes back the subscriptions; what the broker has assigned to this session still comes. Whether that was done.
    pub(crate) async fn unsubscribe(&self) -> bool {
        let deadline = Instant::now() + UNSUBSCRIBE;
        match unsubscribe(&self.client, &self.settings, deadline).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "could not unsubscribe: the broker goes on assigning messages to this session");
                false
            }
        }
    }

    /// Ends it for whoever uses it. The broker is told of every message that is in the spool, so that it does not send
    /// it again.
    pub(crate) async fn close(&self, reason: &str) {
        self.client.lose(reason);
        self.relay.stop();
        wait_for_end(self.gone(), FAREWELL).await;
        self.client.end();
    }
}
