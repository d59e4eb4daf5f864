//! Signals to circusd itself: the first TERM, INT or QUIT ends it in order, the second at once; HUP reloads
//! every watcher.

use crate::arbiter::handle::ArbiterHandle;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task;
use tracing::info;

/// Lets a write beyond the limit of file sizes fail, instead of ending circusd by SIGXFSZ.
///
/// # Errors
/// The handler cannot be installed.
pub fn outlive_file_size_limit() -> io::Result<()> {
    // The handler stays after its listener has gone, and does nothing. Children have the default again.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

/// Starts listening to the signals.
///
/// # Errors
/// The handlers cannot be installed.
pub fn listen(arbiter: ArbiterHandle) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hup = signal(SignalKind::hangup())?;
    task::spawn(async move {
        let mut asked = false;
        loop {
            let name = tokio::select! {
                _ = term.recv() => "TERM",
                _ = int.recv() => "INT",
                _ = quit.recv() => "QUIT",
                _ = hup.recv() => {
                    info!("Got signal SIG_HUP");
                    arbiter.hang_up().await;
                    continue;
                }
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
