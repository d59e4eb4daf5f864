//! Signals to circusd itself: the first TERM, INT or QUIT ends it in order, the second at once; HUP reloads
//! every watcher and opens the log anew.

use crate::arbiter::handle::ArbiterHandle;
use crate::logging::DaemonLog;
use crate::notify::Notifier;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task;
use tracing::info;

/// The signals from now on. Those that come before anybody listens are not lost.
pub struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    winch: Signal,
    /// Has been told to end.
    asked: bool,
}

enum Order {
    End(&'static str),
    Reload,
    Nothing,
}

impl Signals {
    /// Takes over the signals.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn take_over() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            winch: signal(SignalKind::window_change())?,
            asked: false,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.term.recv() => Order::End("TERM"),
            _ = self.int.recv() => Order::End("INT"),
            _ = self.quit.recv() => Order::End("QUIT"),
            _ = self.hup.recv() => Order::Reload,
            _ = self.winch.recv() => {
                info!("Got signal SIG_WINCH");
                Order::Nothing
            }
        }
    }

    /// Returns when the daemon is told to end while it still starts. May be given up and called again.
    pub async fn end_of_start(&mut self) {
        while !self.asked {
            match self.next().await {
                Order::End(name) => {
                    info!("Got signal SIG_{name}");
                    self.asked = true;
                }
                // There is nothing to reload yet.
                Order::Reload | Order::Nothing => {}
            }
        }
    }

    /// Has been told to end.
    pub fn asked_to_end(&self) -> bool {
        self.asked
    }

    /// Acts on the signals from now on.
    pub fn serve(mut self, arbiter: ArbiterHandle, log: DaemonLog, notifier: Notifier) {
        task::spawn(async move {
            loop {
                match self.next().await {
                    Order::End(name) => {
                        info!("Got signal SIG_{name}");
                        if self.asked {
                            arbiter.hurry().await;
                        } else {
                            self.asked = true;
                            // Its end is waited for elsewhere.
                            drop(arbiter.shut_down().await);
                        }
                    }
                    Order::Reload => {
                        log.control.reopen();
                        info!("Got signal SIG_HUP");
                        reload(&arbiter, &notifier).await;
                    }
                    Order::Nothing => {}
                }
            }
        });
    }
}

/// Lets a write beyond the limit of file sizes fail, instead of ending circusd by SIGXFSZ.
///
/// # Errors
/// The handler cannot be installed.
pub fn outlive_file_size_limit() -> io::Result<()> {
    // The handler stays after its listener has gone, and does nothing. Children have the default again.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

/// Reloads every watcher, gracefully, when what is under way has ended; beside whatever comes next.
async fn reload(arbiter: &ArbiterHandle, notifier: &Notifier) {
    notifier.reloading();
    let ended = arbiter.hang_up().await;
    let notifier = notifier.clone();
    task::spawn(async move {
        // A dropped sender means that the daemon ends.
        if ended.await.is_ok() {
            notifier.ready();
        }
    });
}
