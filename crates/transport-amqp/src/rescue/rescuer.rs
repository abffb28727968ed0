//! Takes one message at a time until the queue's head is one that amqprs can decode.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use postroad_transport::{ConnectError, Delivery, SetAside};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::properties::{incoming, with_headers};
use super::session::{Raw, Session, Trouble};
use crate::breaker::Breaker;
use crate::dead_letters::{headers, told, untold};
use crate::pump::Acknowledgement;
use crate::settings::AmqpSettings;
use crate::trouble;

/// So many in a row that amqprs can decode are a sign that it can go on; or as many as it would be given at once, so that the
/// next message that it cannot decode does not send all those back that stand around it: a queue may have a limit for that.
const CALM: u16 = 50;
/// It is slow, so amqprs is given another chance after so long.
const LONGEST: Duration = Duration::from_mins(1);
/// Between two attempts to send on what was set aside.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks at an empty queue while something waits to be sent on.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// No more messages are taken while so many wait to be sent on.
const MOST_HELD: usize = 64;

/// The task that owns the session.
pub(crate) struct Rescuer {
    session: Session,
    queue: String,
    dead_letter_exchange: Option<String>,
    breaker: Arc<Breaker>,
    trouble: Arc<trouble::Trouble>,
    /// Taken and to be sent on.
    held: VecDeque<(Raw, SetAside)>,
    retry_at: Instant,
    rescued: u64,
    /// How many in a row it could have decoded, and how many are enough.
    calm: u32,
    calm_enough: u32,
}

/// Opens a session for it.
pub(crate) async fn rescue(
    settings: &AmqpSettings,
    breaker: Arc<Breaker>,
    trouble: Arc<trouble::Trouble>,
    deadline: Instant,
) -> Result<Rescuer, ConnectError> {
    Ok(Rescuer {
        session: Session::open(settings, deadline).await?,
        queue: settings.queue.clone(),
        dead_letter_exchange: settings.dead_letter_exchange.clone(),
        breaker,
        trouble,
        held: VecDeque::new(),
        retry_at: Instant::now(),
        rescued: 0,
        calm: 0,
        calm_enough: settings.prefetch.max(CALM).into(),
    })
}

impl Rescuer {
    /// Runs until amqprs can go on, the connection ends or its subscriber is gone, and leaves the reason in `ended`.
    pub(crate) async fn run(
        mut self,
        deliveries: mpsc::Sender<Delivery>,
        mut acknowledgements: mpsc::Receiver<Acknowledgement>,
        ended: watch::Sender<Option<String>>,
    ) {
        let outcome = self.serve(&deliveries, &mut acknowledgements).await;
        if self.rescued > 0
            && let Some(messages) = self.breaker.rescues.tell(self.rescued, Instant::now())
        {
            warn!(
                queue = self.queue,
                messages,
                "messages that the client library cannot decode are in quarantine as `undecodable`"
            );
        }
        let reason = match outcome {
            Ok(()) => {
                self.breaker.half_open();
                self.session.close().await;
                "reading the queue message by message is over".to_owned()
            }
            Err(Trouble::Refused(reason) | Trouble::Lost(reason)) => {
                debug!(error = reason, "lost while reading the queue message by message");
                reason
            }
        };
        ended.send_replace(Some(reason));
    }

    async fn serve(
        &mut self,
        deliveries: &mpsc::Sender<Delivery>,
        acknowledgements: &mut mpsc::Receiver<Acknowledgement>,
    ) -> Result<(), Trouble> {
        let start = Instant::now();
        info!(queue = self.queue, "reading the queue message by message");
        loop {
            self.send_on().await?;
            let full = self.held.len() >= MOST_HELD;
            let message = if full { None } else { self.session.get(&self.queue).await? };
            let Some(raw) = message else {
                if self.held.is_empty() || !self.pause(acknowledgements).await? {
                    return Ok(());
                }
                continue;
            };
            let message = incoming(&raw);
            let decodable = message.undecodable.is_none();
            // Closed: the subscriber is being dropped, which the acknowledgements tell next.
            deliveries.send(Delivery { tag: raw.tag, message }).await.ok();
            let Some(acknowledgement) = self.answer(acknowledgements).await? else { return Ok(()) };
            let Acknowledgement { set_aside, sent, .. } = acknowledgement;
            let mine = set_aside.into_iter().find(|aside| aside.tag == raw.tag);
            match mine {
                Some(aside) if self.dead_letter_exchange.is_some() => {
                    self.held.push_back((raw, aside));
                    self.retry_at = Instant::now();
                }
                _ => self.session.acknowledge(raw.tag).await?,
            }
            self.count(decodable);
            let done: oneshot::Sender<()> = sent;
            // The subscriber may have stopped waiting.
            done.send(()).ok();
            let enough = self.calm >= self.calm_enough || start.elapsed() >= LONGEST;
            if enough && self.held.is_empty() {
                return Ok(());
            }
        }
    }

    fn count(&mut self, decodable: bool) {
        if decodable {
            self.calm += 1;
        } else {
            (self.calm, self.rescued) = (0, self.rescued + 1);
        }
    }

    /// Waits for the engine, however long the database takes; `None` where it is gone.
    async fn answer(
        &mut self,
        acknowledgements: &mut mpsc::Receiver<Acknowledgement>,
    ) -> Result<Option<Acknowledgement>, Trouble> {
        loop {
            let sign = tokio::select! {
                biased;
                answer = acknowledgements.recv() => return Ok(answer),
                sign = self.session.sign() => sign,
            };
            self.session.follow(sign).await?;
        }
    }

    /// Waits before looking at the queue again. `false` where the engine is gone.
    async fn pause(
        &mut self,
        acknowledgements: &mut mpsc::Receiver<Acknowledgement>,
    ) -> Result<bool, Trouble> {
        let until = Instant::now() + LOOK_AGAIN;
        loop {
            let sign = tokio::select! {
                biased;
                // There is nothing to acknowledge, so it is the end.
                _ = acknowledgements.recv() => return Ok(false),
                () = sleep_until(until) => return Ok(true),
                sign = self.session.sign() => sign,
            };
            self.session.follow(sign).await?;
        }
    }

    /// Sends on what was set aside, each once, and acknowledges each message that the exchange has put into a queue.
    async fn send_on(&mut self) -> Result<(), Trouble> {
        let Some(exchange) = self.dead_letter_exchange.clone() else { return Ok(()) };
        if self.retry_at > Instant::now() {
            return Ok(());
        }
        let mut refused = None;
        for _ in 0..self.held.len() {
            let Some((raw, aside)) = self.held.pop_front() else { break };
            match self.send(&exchange, &raw, &aside).await {
                Ok(()) => self.session.acknowledge(raw.tag).await?,
                Err(Trouble::Refused(why)) => {
                    self.held.push_back((raw, aside));
                    refused = Some(why);
                }
                Err(lost) => return Err(lost),
            }
        }
        match refused {
            Some(why) => {
                told(&self.trouble, &exchange, &why, self.held.len());
                self.retry_at = Instant::now() + RETRY;
            }
            None => untold(&self.trouble, &exchange),
        }
        Ok(())
    }

    async fn send(&mut self, exchange: &str, raw: &Raw, aside: &SetAside) -> Result<(), Trouble> {
        let from = String::from_utf8_lossy(&raw.exchange);
        let key = String::from_utf8_lossy(&raw.topic);
        let more = headers(aside, &from, &key);
        let more = more.each_ref().map(|(name, text)| (*name, text.as_str()));
        let properties = with_headers(&raw.properties, &more, self.session.frame_max());
        self.session.send_on(exchange, &raw.topic, &properties, &raw.body).await
    }
}
