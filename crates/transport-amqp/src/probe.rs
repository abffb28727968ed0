//! Asks an idle connection whether it lives.

use std::time::Duration;

use amqprs::channel::{BasicQosArguments, Channel};
use amqprs::error::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The client can lose its reading half and go on sending heartbeats, so that both sides take the connection for
/// open. A request without an effect finds that out.
#[derive(Debug)]
pub(crate) struct Probe {
    state: State,
    /// What the request sets: the prefetch that is set already.
    prefetch: u16,
}

#[derive(Debug)]
enum State {
    Next(Instant),
    Asked { answer: JoinHandle<Result<(), Error>>, deadline: Instant },
}

impl Probe {
    pub(crate) fn new(prefetch: u16) -> Self {
        Self { state: State::Next(Instant::now() + INTERVAL), prefetch }
    }

    /// To be called every second or so. Asks, or looks for the answer; `Err` when there is none. Never waits.
    ///
    /// Asks only if `idle`: a broker short of memory or disk stops reading from a connection that publishes, and is not
    /// to be given up for that.
    pub(crate) async fn check(&mut self, channel: &Channel, idle: bool) -> Result<(), String> {
        let now = Instant::now();
        match &mut self.state {
            State::Next(at) if idle && *at <= now => {
                let (channel, prefetch) = (channel.clone(), self.prefetch);
                let request = async move {
                    channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await
                };
                self.state =
                    State::Asked { answer: tokio::spawn(request), deadline: now + ANSWER_TIMEOUT };
                Ok(())
            }
            State::Asked { answer, .. } if answer.is_finished() => {
                let answer = answer.await;
                self.state = State::Next(now + INTERVAL);
                match answer {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(format!("the connection is dead: {error}")),
                    Err(_panicked) => Err("the connection is dead".to_owned()),
                }
            }
            State::Asked { deadline, .. } if *deadline <= now => {
                Err(format!("the broker did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
            }
            State::Next(_) | State::Asked { .. } => Ok(()),
        }
    }
}
