//! Messages that keep coming, both ways, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::amqp::{Client, Properties};
use crate::ids::{self, Way};
use crate::ledger::{Fate, Ledger};
use crate::mqtt::Publisher;
use crate::recorder::Place;
use crate::sql::{Committed, Sql};

/// Between two attempts at a server that is away.
const RETRY: Duration = Duration::from_millis(100);

/// How fast messages come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The most rows of one transaction, and messages that are sent at once.
    pub(crate) batch: u64,
    /// Between two of them.
    pub(crate) pause: Duration,
    /// Messages a second each way, which are made up for after an outage; none for as many as that gives.
    pub(crate) per_second: Option<f64>,
    /// Nothing more is put in while so many have not crossed the wire.
    pub(crate) most_waiting: u64,
}

impl Pace {
    /// As many as that gives.
    pub(crate) const fn free(batch: u64, pause: Duration) -> Self {
        Self { batch, pause, per_second: None, most_waiting: u64::MAX }
    }
}

/// It goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: CancellationToken,
    still: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts an independent writer and an independent sender.
    pub(crate) fn start(
        ledger: &Arc<Ledger>,
        sql: Sql,
        place: Place,
        tag: &str,
        rate: Pace,
    ) -> Self {
        let stop = CancellationToken::new();
        let still = Arc::new(AtomicBool::new(false));
        let feed = |way, number: u64| Feed {
            ledger: ledger.clone(),
            way,
            tag: tag.to_owned(),
            dice: fastrand::Rng::with_seed(ledger.seed() ^ number),
            rate,
            stop: stop.clone(),
            still: still.clone(),
            began: Instant::now(),
            done: 0,
        };
        let tasks = vec![
            tokio::spawn(feed(Way::Outbox, 1).write(sql)),
            tokio::spawn(feed(Way::Sender, 2).send(place)),
        ];
        Self { stop, still, tasks }
    }

    /// Nothing comes.
    pub(crate) fn idle() -> Self {
        Self { stop: CancellationToken::new(), still: Arc::default(), tasks: Vec::new() }
    }

    /// Whether to put nothing in for a while.
    pub(crate) fn pause(&self, on: bool) {
        self.still.store(on, Ordering::Relaxed);
    }

    /// Ends with what is in hand.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Feed {
    ledger: Arc<Ledger>,
    way: Way,
    tag: String,
    dice: fastrand::Rng,
    rate: Pace,
    stop: CancellationToken,
    still: Arc<AtomicBool>,
    began: Instant,
    done: u64,
}

impl Feed {
    /// Waits for the next turn, and says how many messages it is for; `None` where there is none.
    async fn turn(&mut self) -> Option<u64> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(self.rate.pause) => {}
            }
            if self.still.load(Ordering::Relaxed)
                || self.ledger.waiting(self.way) > self.rate.most_waiting
            {
                continue;
            }
            let messages = match self.rate.per_second {
                None => self.dice.u64(1..=self.rate.batch),
                Some(rate) => self.due(rate).min(self.rate.batch),
            };
            if messages > 0 {
                self.done += messages;
                return Some(messages);
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a small number above 0"
    )]
    fn due(&self, rate: f64) -> u64 {
        let due = (self.began.elapsed().as_secs_f64() * rate) as u64;
        due.saturating_sub(self.done)
    }

    /// One transaction in eight is taken back.
    async fn write(mut self, sql: Sql) {
        while let Some(rows) = self.turn().await {
            let keep = self.dice.u8(..8) > 0;
            let first = self.ledger.attempt(Way::Outbox, rows);
            let numbers = first..first + rows;
            let done = sql.write(&self.tag, self.ledger.seed(), numbers.clone(), keep).await;
            let fate = match done {
                Committed::Yes => Fate::Committed,
                Committed::No => Fate::RolledBack,
                Committed::Unknown => Fate::Unknown,
            };
            for number in numbers {
                self.ledger.settle(Way::Outbox, number, fate);
            }
            if keep && done != Committed::Yes {
                tokio::time::sleep(RETRY).await;
            }
        }
        sql.close().await;
    }

    async fn send(mut self, place: Place) {
        while !self.stop.is_cancelled() {
            // What is not confirmed stays in doubt, and is not sent again.
            let ended = match &place {
                Place::Amqp { url, exchange, .. } => match Client::connect(url).await {
                    Ok(client) => self.send_amqp(client, exchange).await,
                    Err(error) => Err(error),
                },
                Place::Mqtt { address, .. } => match Publisher::connect(*address).await {
                    Ok(publisher) => self.send_mqtt(publisher).await,
                    Err(error) => Err(error),
                },
            };
            if ended.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn send_amqp(&mut self, mut client: Client, exchange: &str) -> Result<()> {
        client.declare_exchange(exchange).await?;
        let topic = Way::Sender.topic(&self.tag);
        while let Some(messages) = self.turn().await {
            let first = self.ledger.attempt(Way::Sender, messages);
            let (mut tag, mut base) = (0, 0);
            for number in first..first + messages {
                let body = ids::envelope(self.ledger.seed(), &self.tag, number);
                let properties = Properties::default();
                tag = client
                    .publish(exchange, topic.as_bytes(), &properties, body.as_bytes())
                    .await?;
                if number == first {
                    base = tag;
                }
            }
            let mut waiting: Vec<bool> = vec![true; usize::try_from(messages)?];
            while waiting.iter().any(|waits| *waits) {
                let (last, multiple, taken) = client.confirm().await?;
                let from = if multiple { base } else { last };
                for confirmed in from..=last.min(tag) {
                    let index = usize::try_from(confirmed - base)?;
                    if std::mem::replace(&mut waiting[index], false) && taken {
                        self.ledger.settle(Way::Sender, first + confirmed - base, Fate::Committed);
                    }
                }
            }
        }
        Ok(())
    }

    async fn send_mqtt(&mut self, mut publisher: Publisher) -> Result<()> {
        let topic = Way::Sender.topic(&self.tag);
        while let Some(messages) = self.turn().await {
            let first = self.ledger.attempt(Way::Sender, messages);
            let seed = self.ledger.seed();
            let letters: Vec<_> = (first..first + messages)
                .map(|number| (topic.clone(), ids::envelope(seed, &self.tag, number).into_bytes()))
                .collect();
            let ledger = &self.ledger;
            publisher
                .publish(&letters, |index| {
                    ledger.settle(Way::Sender, first + index as u64, Fate::Committed);
                })
                .await?;
        }
        Ok(())
    }
}
