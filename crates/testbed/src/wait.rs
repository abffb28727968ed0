//! Waiting for what is to come.

use std::time::{Duration, Instant};

/// Far above what anything here takes on a busy machine: it says that something never comes, not how fast it is.
const LIMIT: Duration = Duration::from_mins(3);
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Waits until the condition holds; panics where it does not in all that time.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_in(LIMIT, what, holds).await;
}

/// The same with a limit of one's own.
pub async fn until_in(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "not within {} s: {what}", limit.as_secs());
        tokio::time::sleep(POLL).await;
    }
}
