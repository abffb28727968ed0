//! Ctrl-C, SIGTERM and SIGHUP, noted here and looked at wherever we wait, so that what we started is always stopped.

use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From here on those signals end nothing by themselves.
pub(crate) fn catch() -> anyhow::Result<()> {
    let noted = SIGNAL.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let number = usize::try_from(signal).expect("signal numbers are positive");
        signal_hook::flag::register_usize(signal, Arc::clone(noted), number)
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(())
}

/// `Err` once a signal has come.
pub(crate) fn check() -> Result<(), Interrupted> {
    match SIGNAL.get().map_or(0, |noted| noted.load(Ordering::Relaxed)) {
        0 => Ok(()),
        signal => Err(Interrupted { signal }),
    }
}

/// The user wants us to stop.
#[derive(Debug)]
pub(crate) struct Interrupted {
    signal: usize,
}

impl Interrupted {
    /// What a shell makes of a death by that signal.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(128 + self.signal).unwrap_or(u8::MAX))
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped by signal {}", self.signal)
    }
}

impl std::error::Error for Interrupted {}
