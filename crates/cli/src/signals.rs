//! Being told to stop.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled at the first SIGTERM or SIGINT; a second one ends the process at once, as a crash would.
pub(crate) fn stop_token() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told.is_cancelled() {
                end_at_once();
            }
            told.cancel();
        }
    });
    Ok(stop)
}

#[expect(clippy::exit, reason = "a second signal asks for just that")]
fn end_at_once() -> ! {
    tracing::warn!("second signal, ending at once; leases end by themselves");
    std::process::exit(130)
}
