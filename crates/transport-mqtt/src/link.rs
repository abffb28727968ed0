//! A connection whose messages go into the spool.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paho_mqtt::{AsyncClient, Message};
use postroad_transport::{ConnectError, MqttFlags};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use crate::client::{Client, Gone, wait_for_end};
use crate::connect::{Connected, Role, connect};
use crate::relay::Relay;
use crate::settings::MqttSettings;
use crate::spool::Spool;
use crate::subscribe::subscribe;

/// For paho to finish with what it has.
const FAREWELL: Duration = Duration::from_secs(2);

/// A subscribed connection. Dropping it ends it; whatever of its messages is in the spool stays there.
pub(crate) struct Link {
    client: Client,
    relay: Relay,
    spool: Arc<Spool>,
    closing: Arc<AtomicBool>,
    /// Whether the broker had kept the session, with what came while nobody was connected.
    pub(crate) session_present: bool,
}

impl Link {
    /// Connects and subscribes. `Ok`: every subscription was granted.
    pub(crate) async fn open(
        settings: &MqttSettings,
        spool: &Arc<Spool>,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let role = Role { client_id: settings.client_id.clone(), clean: settings.clean_session };
        let closing = Arc::new(AtomicBool::new(false));
        let (stored, flag) = (Arc::clone(spool), Arc::clone(&closing));
        // The broker may send what it kept before it even answers the subscription.
        let receive = move |client: &AsyncClient| {
            client.set_message_callback(move |_, message| {
                if let Some(message) = message {
                    store(&stored, &flag, &message);
                }
            });
        };
        let Connected { client, relay, session_present, .. } =
            connect(settings, &role, deadline, receive).await?;
        let link = Self { client, relay, spool: Arc::clone(spool), closing, session_present };
        subscribe(&link.client, settings, deadline).await?;
        info!(session_present, "subscribed");
        Ok(link)
    }

    /// Says why the connection was lost, when it is.
    pub(crate) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.client.lost()
    }

    pub(crate) fn gone(&self) -> Gone {
        self.client.gone()
    }

    /// Ends it for whoever uses it. The broker is told of every message that is in the spool, so that it does not send
    /// it again.
    pub(crate) async fn close(&self, reason: &str) {
        self.client.lose(reason);
        self.let_go();
        self.relay.stop(FAREWELL).await;
        self.client.end();
        wait_for_end(self.client.gone(), FAREWELL).await;
    }

    /// A message in hand is not waited for longer than it takes to store it.
    fn let_go(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.spool.wake();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The broker gets its acknowledgement when this returns, so it returns only when the message is in the spool. It runs
/// on paho's one thread, under paho's lock, and touches nothing of the async runtime.
fn store(spool: &Spool, closing: &AtomicBool, message: &Message) {
    let append = || spool.append(flags(message), message.topic(), message.payload(), closing);
    if catch_unwind(AssertUnwindSafe(append)).is_err() {
        // Going on would acknowledge the message, and a panic must not cross the C code that called us.
        error!(
            "storing a message failed in a way that it must not; the process ends, so that nothing is acknowledged"
        );
        std::process::abort();
    }
}

fn flags(message: &Message) -> MqttFlags {
    // There are 0, 1 and 2.
    let qos = u8::try_from(message.qos() as i32).unwrap_or_default();
    MqttFlags { qos, retain: message.retained(), dup: qos > 0 && is_dup(message) }
}

/// Paho knows the DUP flag and has no way to ask for it but its debug text, in which it stands before topic and body.
fn is_dup(message: &Message) -> bool {
    let mut seeker = Seeker::default();
    // It ends with an error as soon as the answer is found.
    write!(seeker, "{message:?}").ok();
    seeker.dup
}

/// Looks for the value after `dup`, and ends the text that is being written there.
#[derive(Default)]
struct Seeker {
    named: bool,
    dup: bool,
}

impl Write for Seeker {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.named {
            if let Some(digit) = text.chars().find(char::is_ascii_digit) {
                self.dup = digit != '0';
                return Err(fmt::Error);
            }
        } else if text == "dup" {
            self.named = true;
        } else if text == "data" {
            // Topic and body follow.
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dup_flag_is_found_in_the_debug_text_before_anything_that_a_peer_wrote() {
        let message = Message::new("dup", "dup: 1", 1);
        let text = format!("{message:?}");
        let (dup, data) = (text.find("dup: 0").unwrap(), text.find("data: ").unwrap());
        assert!(dup < data, "{text}");
        assert!(!is_dup(&message));
        let mut seeker = Seeker::default();
        for part in ["qos", ": ", "1", ", ", "dup", ": ", "1"] {
            seeker.write_str(part).ok();
        }
        assert!(seeker.dup);
    }
}
