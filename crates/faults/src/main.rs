//! `cargo xtask faults`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use futures_util::FutureExt;
use postroad_faults::Options;
use tokio::signal::unix::{SignalKind, signal};

/// Some of them wait for a process that is being started or asked.
const THREADS: usize = 8;
const INTERRUPTED: u8 = 130;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // All that is left on the disk is in it, also where nothing is dropped. Servers run as users of their own.
    let folder = tempfile::Builder::new()
        .prefix("postroad-faults-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    if let Err(other) = tempfile::env::override_temp_dir(folder.path()) {
        bail!("temporary files go to `{}` already", other.display());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let good = runtime.block_on(async {
        tokio::select! {
            good = AssertUnwindSafe(postroad_faults::run(options)).catch_unwind() => good.map(Some),
            () = interrupted() => Ok(None),
        }
    });
    if !matches!(good, Ok(Some(_))) {
        // Threads still wait for some of them.
        postroad_testbed::kill_all();
        folder.close()?;
    }
    runtime.shutdown_background();
    let good = good.unwrap_or_else(|panic| resume_unwind(panic));
    Ok(match good.transpose()? {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => ExitCode::from(INTERRUPTED),
    })
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
