//! Opening connections.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use postroad_transport::{ConnectError, Finding, Kept, Transport, Wants};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::check::check;
use crate::client::{Gone, wait_for_end};
use crate::connect::{Role, connect};
use crate::drain::Drain;
use crate::dropped::Watch;
use crate::link::Link;
use crate::spool::{Spool, SpoolDepth};
use crate::subscriber::Source;
use crate::{MqttPublisher, MqttSettings, MqttSubscriber, SettingsError};

/// For the connection before, so that its messages are not fetched twice.
const FAREWELL: Duration = Duration::from_secs(3);

/// Connects to an MQTT broker, and owns the spool, which it opens for its first subscriber.
///
/// There is one subscriber at a time, as there is one session for a client id: the next one ends the one before.
pub struct MqttTransport {
    settings: MqttSettings,
    spool: OnceLock<Arc<Spool>>,
    /// The last subscriber's connection; held while the next one is made.
    inbound: Mutex<Previous>,
    possible_gaps: Arc<AtomicU64>,
}

#[derive(Default)]
struct Previous {
    link: Weak<Link>,
    gone: Option<Gone>,
}

impl MqttTransport {
    /// Checks the settings. After `Ok` they can fail at the broker and at the spool's folder only.
    pub fn new(settings: MqttSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            settings,
            spool: OnceLock::new(),
            inbound: Mutex::default(),
            possible_gaps: Arc::default(),
        })
    }

    /// Looks at broker and spool as a worker would find them, and says what is wrong, a line each. It connects under a name of
    /// its own with a session that ends at once, so that a worker that runs meanwhile is not disturbed, and makes
    /// nothing that stays. Ends within fifteen seconds.
    pub async fn check(&self, wants: Wants) -> Vec<Finding> {
        check(&self.settings, wants).await
    }

    /// What waits in the spool; `None` before the first subscriber has opened it.
    pub fn spool_depth(&self) -> Option<SpoolDepth> {
        self.spool.get().map(|spool| spool.depth())
    }

    /// How often, since this was made, the broker had lost the session and what it kept for us in it, or had thrown messages away
    /// while we were not there, which may have been others'.
    pub fn possible_gaps(&self) -> u64 {
        self.possible_gaps.load(Ordering::Relaxed)
    }

    /// Opens the spool, or mends it where a write has failed. Called by one task at a time.
    async fn spool(&self) -> Result<Arc<Spool>, ConnectError> {
        let (opened, settings) = (self.spool.get().cloned(), self.settings.clone());
        let open = move || match opened {
            Some(spool) => spool.mend().map(|()| spool),
            None => Spool::open(&settings).map(Arc::new),
        };
        let spool = spawn_blocking(open)
            .await
            .map_err(|error| error.to_string())
            .and_then(|opened| opened.map_err(|error| error.to_string()))
            .map_err(|error| {
                let folder = self.settings.spool_dir.display();
                ConnectError::Topology(format!("the spool in `{folder}` cannot be used: {error}"))
            })?;
        Ok(Arc::clone(self.spool.get_or_init(|| spool)))
    }

    async fn link(&self, spool: &Arc<Spool>, deadline: Instant) -> Result<Link, ConnectError> {
        if spool.is_full() {
            return Err(ConnectError::Topology("the spool is full".to_owned()));
        }
        let mut link = Link::open(&self.settings, spool, deadline).await?;
        let client_id = &self.settings.client_id;
        if self.settings.clean_session {
            spool.note_session(None);
        } else {
            if !link.session_present && spool.knows_session(client_id) {
                self.possible_gaps.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("postroad_mqtt_possible_gaps_total").increment(1);
                warn!(client_id, "the broker has lost our session: what it kept for us is lost");
            }
            spool.note_session(Some(client_id));
            link.dropped = Some(Watch::start(&self.settings, spool, &self.possible_gaps));
        }
        Ok(link)
    }
}

impl Previous {
    async fn end(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.close("another subscriber took over").await;
        }
        if let Some(gone) = self.gone.take() {
            wait_for_end(gone, FAREWELL).await;
        }
    }
}

impl Transport for MqttTransport {
    type Publisher = MqttPublisher;
    type Subscriber = MqttSubscriber;

    fn kept(&self) -> Kept {
        let depth = self.spool_depth().unwrap_or_default();
        Kept { messages: depth.messages, bytes: depth.bytes, possible_gaps: self.possible_gaps() }
    }

    async fn connect_publisher(&self) -> Result<MqttPublisher, ConnectError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        // Nothing is to be sent again behind our back, so the broker need not remember anything.
        let role = Role { client_id: self.settings.publisher_id(), clean: true };
        let connected = connect(&self.settings, &role, deadline, None).await?;
        info!("connected for publishing");
        Ok(MqttPublisher::start(connected, &self.settings))
    }

    fn joins_group(&self) -> bool {
        self.settings.shared_group.is_some()
    }

    /// Where the broker cannot be reached, or the spool is full, and the spool is not empty, this is `Ok` all the same:
    /// the subscriber hands out what there is and ends when the spool is empty, when a broker takes connections, or after ten
    /// seconds, to try for a connection again.
    async fn connect_subscriber(&self) -> Result<MqttSubscriber, ConnectError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let mut previous = self.inbound.lock().await;
        let spool = self.spool().await?;
        previous.end().await;
        let began = Instant::now();
        let source = match self.link(&spool, deadline).await {
            Ok(link) => {
                let link = Arc::new(link);
                *previous = Previous { link: Arc::downgrade(&link), gone: Some(link.gone()) };
                Source::link(link)
            }
            Err(error) => {
                let messages = spool.depth().messages;
                if messages == 0 {
                    return Err(error);
                }
                warn!(messages, %error, "no connection, taking what is in the spool");
                let drain = if spool.is_full() {
                    Drain::whole()
                } else {
                    Drain::until_back(self.settings.hosts.clone(), began.elapsed())
                };
                Source::Spool { reason: error.to_string(), drain }
            }
        };
        Ok(MqttSubscriber::new(spool, source, self.settings.prefetch))
    }
}

impl fmt::Debug for MqttTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttTransport")
            .field("settings", &self.settings)
            .field("spool_depth", &self.spool_depth())
            .finish_non_exhaustive()
    }
}
