//! Signals to circusd itself: the first TERM, INT or QUIT ends it in order, the second at once.

use crate::arbiter::handle::ArbiterHandle;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task;
use tracing::info;

/// Starts listening to the signals.
///
/// # Errors
/// The handlers cannot be installed.
pub fn listen(arbiter: ArbiterHandle) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    task::spawn(async move {
        let mut asked = false;
        loop {
            let name = tokio::select! {
                _ = term.recv() => "TERM",
                _ = int.recv() => "INT",
                _ = quit.recv() => "QUIT",
            };
            info!("Got signal SIG_{name}");
            if asked {
                arbiter.hurry().await;
            } else {
                asked = true;
                // Its end is waited for elsewhere.
                drop(arbiter.shut_down().await);
            }
        }
    });
    Ok(())
}
