//! Requests to the broker that can be given up without harm.

use std::fmt;
use std::future::Future;

use amqprs::error::Error;
use tokio::time::{Instant, timeout_at};

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    TimedOut,
    Failed(Error),
    /// amqprs panicked.
    Broken,
}

/// Makes a request in a task of its own and waits for the answer until the deadline.
///
/// A request of amqprs that is dropped before its answer came makes the task that gets the answer panic. So at the
/// deadline only the waiting ends, and the connection has to be given up by the caller.
pub(crate) async fn call<T: Send + 'static>(
    deadline: Instant,
    request: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, CallError> {
    match timeout_at(deadline, tokio::spawn(request)).await {
        Ok(Ok(answer)) => answer.map_err(CallError::Failed),
        Ok(Err(_panicked)) => Err(CallError::Broken),
        Err(_elapsed) => Err(CallError::TimedOut),
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(error) => error.fmt(f),
            Self::Broken => f.write_str("the client failed"),
        }
    }
}
