//! Opening connections.

use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicConsumeArguments, BasicQosArguments, ConfirmSelectArguments};
use postroad_transport::{ConnectError, Finding, Transport, Wants};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::info;

use crate::breaker::Breaker;
use crate::check::check;
use crate::connect::connect;
use crate::dead_letters::DeadLetters;
use crate::link::Link;
use crate::refusals::Patience;
use crate::rescue::rescue;
use crate::subscriber::Consumer;
use crate::topology::{set_up, step};
use crate::trouble::Trouble;
use crate::{AmqpPublisher, AmqpSettings, AmqpSubscriber, SettingsError};

/// Connects to RabbitMQ. Publishers declare and bind the queue as subscribers do, so that a request sent before the
/// first subscriber came is kept.
#[derive(Debug)]
pub struct AmqpTransport {
    settings: AmqpSettings,
    breaker: Arc<Breaker>,
    patience: Arc<Patience>,
    /// With dead letters.
    trouble: Arc<Trouble>,
    /// With a broker that confirms nothing.
    stall: Arc<Trouble>,
    /// One set-up at a time: a consumer on a quorum queue that another connection is just making is refused.
    set_up: Mutex<()>,
}

impl AmqpTransport {
    /// Checks the settings. After `Ok` they can fail at the broker only.
    pub fn new(settings: AmqpSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            settings,
            breaker: Arc::default(),
            patience: Arc::default(),
            trouble: Arc::default(),
            stall: Arc::default(),
            set_up: Mutex::default(),
        })
    }

    /// Looks at the broker as a worker would find it, and says what is wrong, a line each. It makes nothing, takes no message
    /// and publishes none, so that a worker that runs meanwhile is not disturbed. Ends within fifteen seconds.
    pub async fn check(&self, wants: Wants) -> Vec<Finding> {
        check(&self.settings, wants).await
    }

    /// A connection on which the topology is as it should be.
    async fn link(&self, role: &str, deadline: Instant) -> Result<Link, ConnectError> {
        let mut link = connect(&self.settings, role, deadline).await?;
        let turn = self.set_up.lock().await;
        let done = set_up(&mut link, &self.settings, deadline).await;
        drop(turn);
        match done {
            Ok(()) => Ok(link),
            Err(error) => {
                link.abandon();
                Err(error)
            }
        }
    }

    /// The last connections broke at once: another reader has a look at the queue.
    async fn rescue(&self, deadline: Instant) -> Result<AmqpSubscriber, ConnectError> {
        let (breaker, trouble) = (Arc::clone(&self.breaker), Arc::clone(&self.trouble));
        match rescue(&self.settings, breaker, trouble, deadline).await {
            Ok(rescuer) => Ok(AmqpSubscriber::start_rescue(rescuer)),
            Err(error) => {
                self.breaker.close();
                Err(error)
            }
        }
    }

    /// Where what is in quarantine goes, if anywhere.
    fn dead_letters(&self) -> Option<DeadLetters> {
        let exchange = self.settings.dead_letter_exchange.clone()?;
        let settings = AmqpSettings { exchange, ..self.settings.clone() };
        let most = usize::from(self.settings.prefetch);
        Some(DeadLetters::start(settings, Arc::clone(&self.trouble), most))
    }

    async fn confirm_mode(link: &mut Link, deadline: Instant) -> Result<(), ConnectError> {
        let channel = link.channel.clone();
        let request =
            async move { channel.confirm_select(ConfirmSelectArguments::new(false)).await };
        step(link, "confirm mode", deadline, request).await
    }
}

impl Transport for AmqpTransport {
    type Publisher = AmqpPublisher;
    type Subscriber = AmqpSubscriber;

    fn trouble(&self) -> Option<String> {
        self.stall.text().or_else(|| self.trouble.text())
    }

    async fn connect_publisher(&self) -> Result<AmqpPublisher, ConnectError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let mut link = self.link("publisher", deadline).await?;
        if let Err(error) = Self::confirm_mode(&mut link, deadline).await {
            link.abandon();
            return Err(error);
        }
        info!(exchange = self.settings.exchange, "connected for publishing");
        let (patience, stall) = (Arc::clone(&self.patience), Arc::clone(&self.stall));
        Ok(AmqpPublisher::start(link, self.settings.clone(), patience, stall))
    }

    async fn connect_subscriber(&self) -> Result<AmqpSubscriber, ConnectError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        // What could not be sent on comes again, and with it the trouble.
        self.trouble.over();
        if self.breaker.is_open() {
            return self.rescue(deadline).await;
        }
        let prefetch = self.settings.prefetch;
        let mut link = self.link("subscriber", deadline).await?;
        let channel = link.channel.clone();
        let queue = self.settings.queue.clone();
        let consume = async move {
            channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await?;
            let (_, messages) =
                channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await?;
            Ok(messages)
        };
        let messages = match step(&mut link, "consumer", deadline, consume).await {
            Ok(messages) => messages,
            Err(error) => {
                // The first delivery may come with the answer.
                if matches!(error, ConnectError::Unreachable(_)) {
                    self.breaker.broke(Duration::ZERO, false);
                }
                link.abandon();
                return Err(error);
            }
        };
        info!(queue = self.settings.queue, prefetch, "connected for consuming");
        let write_timeout = self.settings.write_timeout;
        let breaker = Arc::clone(&self.breaker);
        Ok(AmqpSubscriber::start(Consumer {
            link,
            messages,
            prefetch,
            write_timeout,
            breaker,
            dead_letters: self.dead_letters(),
        }))
    }
}
