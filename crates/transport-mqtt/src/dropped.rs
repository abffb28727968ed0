//! What the broker says that it has thrown away.
//!
//! A broker keeps so many messages for a session that is away or slow, and no more: Mosquitto 100, unless `max_queued_messages`
//! says otherwise. It tells nobody but whoever asks, by one number for all its clients. So the number is watched while we are
//! there, and where it has grown while we were not, or took none, that may have been ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use paho_mqtt::{AsyncClient, RetainHandling};
use postroad_transport::ConnectError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::connect::{Connected, Role, connect};
use crate::settings::MqttSettings;
use crate::spool::Spool;
use crate::subscribe::granted;

/// Mosquitto's; other brokers have none, or another.
const TOPIC: &str = "$SYS/broker/publish/messages/dropped";
/// The broker tells of it once in this time, unless it was told otherwise, so that what it tells right after we came is about
/// the time before.
const TOLD: Duration = Duration::from_secs(12);

/// Watches on a connection of its own, because some brokers end a connection that asks for what it may not have. Ends when it is
/// dropped.
pub(crate) struct Watch(JoinHandle<()>);

impl Watch {
    /// What may have been ours is counted in `gaps`.
    pub(crate) fn start(
        settings: &MqttSettings,
        spool: &Arc<Spool>,
        gaps: &Arc<AtomicU64>,
    ) -> Self {
        let (settings, spool, gaps) = (settings.clone(), Arc::clone(spool), Arc::clone(gaps));
        Self(tokio::spawn(async move {
            if let Err(error) = watch(settings, &spool, &gaps).await {
                debug!(%error, "the broker does not tell what it throws away");
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Goes on until the connection is lost.
async fn watch(
    mut settings: MqttSettings,
    spool: &Spool,
    gaps: &AtomicU64,
) -> Result<(), ConnectError> {
    settings.qos = 0;
    let deadline = Instant::now() + settings.connect_timeout;
    let role = Role { client_id: settings.passing_id("sys"), clean: true };
    let Connected { client, relay: _relay, .. } = connect(&settings, &role, deadline, None).await?;
    let (tell, mut told) = watch::channel(None);
    client.run(move |client: &AsyncClient| {
        client.set_message_callback(move |_, message| {
            let number = message.and_then(|message| message.payload_str().trim().parse().ok());
            if let Some(number) = number {
                tell.send_replace(Some(number));
            }
        });
    });
    granted(&client, &settings, TOPIC, RetainHandling::SendRetainedOnSubscribe, deadline).await?;
    let came = Instant::now();
    let mut lost = client.lost();
    loop {
        tokio::select! {
            _ = lost.wait_for(Option::is_some) => return Ok(()),
            changed = told.changed() => if changed.is_err() { return Ok(()) },
        }
        let Some(now) = *told.borrow_and_update() else { continue };
        let before = spool.dropped();
        spool.note_dropped(now);
        let more = thrown_away(before, now);
        if more > 0 && (came.elapsed() < TOLD || spool.is_full()) {
            gaps.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("postroad_mqtt_possible_gaps_total").increment(1);
            warn!(
                messages = more,
                "the broker threw messages away while we took none, ours or another client's: raise its `max_queued_messages`"
            );
        }
    }
}

/// How many more there are than when we last looked, in this run or an earlier one. A broker that was started again counts from
/// the beginning.
fn thrown_away(before: Option<u64>, now: u64) -> u64 {
    match before {
        None => 0,
        Some(before) if now < before => now,
        Some(before) => now - before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_thrown_away_meanwhile_is_the_difference() {
        assert_eq!(thrown_away(None, 7), 0);
        assert_eq!(thrown_away(Some(7), 7), 0);
        assert_eq!(thrown_away(Some(7), 9), 2);
        assert_eq!(thrown_away(Some(7), 3), 3);
        assert_eq!(thrown_away(Some(7), 0), 0);
    }
}
