//! What is in quarantine goes to the dead letter exchange too, before the broker is asked to forget it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amqprs::BasicProperties;
use amqprs::channel::{ConfirmSelectArguments, ExchangeDeclareArguments};
use bytes::Bytes;
use postroad_transport::{PublishError, Publisher, SetAside};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::connect::connect;
use crate::headers::table_size;
use crate::link::Link;
use crate::outgoing::Prepared;
use crate::publisher::AmqpPublisher;
use crate::refusals::Patience;
use crate::settings::AmqpSettings;
use crate::topology::{Refusal, ask};
use crate::trouble::Trouble;

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(5);

/// Room in the header frame for the properties that are not headers: each of the twelve short ones has 256 bytes at most.
const OTHER_PROPERTIES: usize = 4_096;

/// Enough to say what is wrong.
const LONGEST_DETAIL: usize = 1_000;

/// A message as amqprs delivered it.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) exchange: String,
    pub(crate) topic: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

/// A message on its way to the dead letter exchange.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) original: Original,
    pub(crate) aside: SetAside,
}

/// Sends letters, each until it is confirmed, in a task of its own with a connection of its own: the broker stops reading
/// from connections that publish when it is short of memory, and acknowledgements must not wait for that.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    letters: mpsc::Sender<Letter>,
    confirmed: mpsc::Receiver<u64>,
}

impl DeadLetters {
    /// `most`: how many deliveries can be unacknowledged, so also how many letters there can be. Connects once there is one.
    pub(crate) fn start(settings: AmqpSettings, trouble: Arc<Trouble>, most: usize) -> Self {
        let (letters, received) = mpsc::channel(most);
        let (confirms, confirmed) = mpsc::channel(most);
        let postman =
            Postman { settings, trouble, patience: Arc::default(), waiting: VecDeque::new() };
        tokio::spawn(postman.run(received, confirms));
        Self { letters, confirmed }
    }

    /// Takes a letter over. `Err`: there are more than can be.
    pub(crate) fn send(&self, letter: Letter) -> Result<(), String> {
        self.letters.try_send(letter).map_err(|_| "too many dead letters are under way".to_owned())
    }

    /// The tag of the next letter that the exchange has put into a queue.
    pub(crate) async fn confirmed(&mut self) -> Option<u64> {
        self.confirmed.recv().await
    }
}

struct Postman {
    settings: AmqpSettings,
    trouble: Arc<Trouble>,
    patience: Arc<Patience>,
    waiting: VecDeque<Letter>,
}

impl Postman {
    async fn run(mut self, mut letters: mpsc::Receiver<Letter>, confirms: mpsc::Sender<u64>) {
        let mut publisher = None;
        loop {
            if self.waiting.is_empty() {
                let Some(letter) = letters.recv().await else { break };
                self.waiting.push_back(letter);
            }
            while let Ok(letter) = letters.try_recv() {
                self.waiting.push_back(letter);
            }
            match self.send_all(&mut publisher, &confirms).await {
                Ok(()) => {
                    untold(&self.trouble, &self.settings.exchange);
                    continue;
                }
                Err(why) => {
                    told(&self.trouble, &self.settings.exchange, &why, self.waiting.len());
                }
            }
            if !self.pause(&mut letters).await {
                break;
            }
        }
        if let Some(publisher) = publisher {
            publisher.close().await;
        }
    }

    /// Goes through the letters once. `Err`: some are left, this is why.
    async fn send_all(
        &mut self,
        publisher: &mut Option<AmqpPublisher>,
        confirms: &mpsc::Sender<u64>,
    ) -> Result<(), String> {
        let mut refused = None;
        for _ in 0..self.waiting.len() {
            let open = match publisher.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            let Some(letter) = self.waiting.pop_front() else { break };
            let tag = letter.aside.tag;
            let prepared = Prepared::dead(&letter, properties(&letter, open.frame_max()));
            match open.send_prepared(prepared).await {
                Ok(()) => {
                    *publisher = Some(open);
                    // The subscriber may be gone; then the message comes again.
                    confirms.send(tag).await.ok();
                }
                Err(PublishError::Unconfirmed(why)) => {
                    self.waiting.push_back(letter);
                    return Err(why);
                }
                Err(error) => {
                    *publisher = Some(open);
                    self.waiting.push_back(letter);
                    refused = Some(error.to_string());
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// A connection in confirm mode, if the exchange is there.
    async fn connect(&self) -> Result<AmqpPublisher, String> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let mut link =
            connect(&self.settings, "dead letters", deadline).await.map_err(|e| e.to_string())?;
        match Self::set_up(&mut link, &self.settings.exchange, deadline).await {
            Ok(()) => {
                let patience = Arc::clone(&self.patience);
                Ok(AmqpPublisher::start(link, self.settings.clone(), patience, Arc::default()))
            }
            Err(why) => {
                link.abandon();
                Err(why)
            }
        }
    }

    async fn set_up(link: &mut Link, exchange: &str, deadline: Instant) -> Result<(), String> {
        let channel = link.channel.clone();
        let passive = ExchangeDeclareArguments::new(exchange, "").passive(true).finish();
        let set_up = async move {
            channel.exchange_declare(passive).await?;
            channel.confirm_select(ConfirmSelectArguments::new(false)).await
        };
        ask(link, deadline, set_up).await.map_err(|refusal| match refusal {
            Refusal::Closed { text, .. } | Refusal::NoAnswer(text) => text,
        })
    }

    /// Takes over letters meanwhile. `false`: nobody wants them sent any more.
    async fn pause(&mut self, letters: &mut mpsc::Receiver<Letter>) -> bool {
        let until = Instant::now() + RETRY;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return true,
                letter = letters.recv() => match letter {
                    Some(letter) => self.waiting.push_back(letter),
                    None => return false,
                },
            }
        }
    }
}

/// The properties as they came, with headers that say why; without those where a frame has no room for them.
fn properties(letter: &Letter, frame_max: u32) -> BasicProperties {
    let Letter { original, aside } = letter;
    let mut table = original.properties.headers().cloned().unwrap_or_default();
    for (name, text) in headers(aside, &original.exchange, &original.topic) {
        if let (Ok(name), Ok(text)) = (name.try_into(), text.as_str().try_into()) {
            table.insert(name, amqprs::FieldValue::S(text));
        }
    }
    let mut properties = original.properties.clone();
    if frame_max == 0 || table_size(&table) + OTHER_PROPERTIES <= frame_max as usize {
        properties.with_headers(table);
    }
    properties
}

/// Why it is there and where it comes from.
pub(crate) fn headers(
    aside: &SetAside,
    exchange: &str,
    topic: &str,
) -> [(&'static str, String); 4] {
    [
        ("x-postroad-reason", aside.reason.to_owned()),
        ("x-postroad-detail", aside.detail.chars().take(LONGEST_DETAIL).collect()),
        ("x-postroad-exchange", exchange.to_owned()),
        ("x-postroad-routing-key", topic.to_owned()),
    ]
}

/// Notes that letters stay, and logs the first time.
pub(crate) fn told(trouble: &Trouble, exchange: &str, why: &str, letters: usize) {
    let text = format!(
        "the dead letter exchange `{exchange}` does not take {letters} quarantined messages, which stay unacknowledged \
         until it does: {why}; declare it, bind a queue to it and let this user write to it"
    );
    if trouble.is(text.clone()) && trouble.lines.tell(1, Instant::now()).is_some() {
        warn!("{text}");
    }
}

/// Notes that none stays.
pub(crate) fn untold(trouble: &Trouble, exchange: &str) {
    if trouble.over() {
        info!(exchange, "the dead letter exchange takes messages again");
    }
}
