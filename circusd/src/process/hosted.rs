//! A child of the kernel: its watch connection and its end.
//!
//! Output is acknowledged only after it has been written, so what circusd has not written stays in the
//! kernel whatever happens to circusd. `delivery` sees to it that it is written once.

use super::delivery::{Delivery, DeliveryError};
use super::direct::{self, Outputs};
use super::end::End;
use crate::papa::client::{KernelClient, PapaError};
use crate::papa::watch::Watch;
use crate::watcher::wid::Wid;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use papa_spawn::child::PidFd;
use protocol::papa::ProcessRow;
use protocol::papa::{Form, ProcessSpec};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Pauses between attempts to reach a kernel that does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// How long a write that is under way may take when the daemon ends. What is not confirmed by then stays in
/// the kernel for the next circusd.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// A process in the kernel.
pub struct Hosted {
    /// Its name in the kernel.
    pub name: String,
    /// Its pid. The kernel keeps the zombie until the end has been acknowledged, so the number is ours.
    pub pid: i32,
    /// For signals; none when it has ended already.
    pub pidfd: Option<Arc<PidFd>>,
    /// When it was spawned, in seconds since the epoch.
    pub started: f64,
    /// It had not ended when we looked.
    pub running: bool,
    /// What the kernel has noted for us, see `stream::ledger`.
    note: Option<Vec<u8>>,
    kernel: KernelClient,
}

/// The name of a worker in the kernel: `circus.<watcher>.<wid>`, in lower case.
pub fn process_name(watcher: &str, wid: Wid) -> String {
    format!("circus.{}.{wid}", watcher.to_lowercase())
}

/// The wid in the name of a process in the kernel, if it belongs to this watcher.
pub fn wid_of(watcher: &str, process: &str) -> Option<Wid> {
    let rest = process.strip_prefix("circus.")?.strip_prefix(&watcher.to_lowercase())?;
    let number: u32 = rest.strip_prefix('.')?.parse().ok()?;
    (number > 0).then_some(Wid(number))
}

impl Hosted {
    /// A process that the kernel lists.
    pub fn from_row(kernel: &KernelClient, row: ProcessRow) -> Self {
        let pidfd = if row.running { PidFd::open(row.pid).ok().map(Arc::new) } else { None };
        Self {
            name: row.name,
            pid: row.pid,
            pidfd,
            started: row.started,
            running: row.running,
            note: row.note,
            kernel: kernel.clone(),
        }
    }
}

/// Makes a process in the kernel. One of the same name that is there already is taken as it is.
///
/// # Errors
/// [`PapaError`] is what the kernel said.
pub async fn make(kernel: &KernelClient, mut spec: ProcessSpec) -> Result<Hosted, PapaError> {
    // A process is as private as circusd is told to be, wherever it runs. The old kernel cannot do it.
    spec.umask = own_umask().filter(|_| kernel.form() == Form::Exact);
    let row = match kernel.make_process(&spec).await {
        Err(PapaError::Refused(reason)) => {
            let existing = kernel.list_processes(&spec.name).await?.into_iter().next();
            let Some(row) = existing else { return Err(PapaError::Refused(reason)) };
            warn!("process `{}` already exists in papa and is used as it is", spec.name);
            row
        }
        result => result?,
    };
    Ok(Hosted::from_row(kernel, row))
}

/// circusd's umask, which does not change once the daemon runs.
fn own_umask() -> Option<u32> {
    static UMASK: OnceLock<Option<u32>> = OnceLock::new();
    let read = || procfs::process::Process::myself().ok()?.status().ok()?.umask;
    *UMASK.get_or_init(read)
}

/// Follows a process until it has ended and its output is written, or until it is to be left alone.
pub async fn supervise(process: Hosted, outputs: Outputs, detach: CancellationToken) -> End {
    let mut failing = false;
    let mut delivery = Delivery::new(process.pid, process.note.as_deref());
    loop {
        match follow(&process, &outputs, &mut delivery, &detach).await {
            Ok(end) => return end,
            // A stream was changed while it could not be written. The kernel has the output.
            Err(DeliveryError::GivenUp) => {}
            Err(DeliveryError::Papa(
                error @ (PapaError::Refused(_) | PapaError::NobodyListens(_)),
            )) => {
                // The kernel does not know the process any more, so nobody will tell its exit status.
                if !has_ended(&process) {
                    warn!("process `{}` is gone from papa but runs: {error}", process.name);
                }
                return without_kernel(&process, &detach).await;
            }
            Err(DeliveryError::Papa(error)) if failing => {
                tracing::debug!("cannot follow `{}`: {error}", process.name);
            }
            Err(DeliveryError::Papa(error)) => {
                warn!("cannot follow `{}`, trying again: {error}", process.name);
                failing = true;
            }
        }
        tokio::select! {
            () = detach.cancelled() => return End::Detached,
            () = time::sleep(RETRY) => {}
        }
    }
}

/// Waits for the end of a process whose kernel is gone. Its pidfd names no other process, whatever becomes
/// of the number.
async fn without_kernel(process: &Hosted, detach: &CancellationToken) -> End {
    let Some(pidfd) = &process.pidfd else { return End::Exited(None) };
    let ended = direct::ended(pidfd);
    tokio::select! {
        () = detach.cancelled() => End::Detached,
        ended = ended => {
            if let Err(error) = ended {
                warn!("cannot watch process {}: {error}", process.pid);
            }
            End::Exited(None)
        }
    }
}

/// The process has ended, seen without the kernel.
fn has_ended(process: &Hosted) -> bool {
    process.pidfd.as_ref().is_none_or(|pidfd| {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    })
}

async fn follow(
    process: &Hosted,
    outputs: &Outputs,
    delivery: &mut Delivery,
    detach: &CancellationToken,
) -> Result<End, DeliveryError> {
    let mut watch = tokio::select! {
        () = detach.cancelled() => return Ok(End::Detached),
        watch = process.kernel.watch(&process.name) => watch?,
    };
    delivery.begin(watch.is_exact().then(|| watch.offset()));
    loop {
        let block = tokio::select! {
            () = detach.cancelled() => return Ok(End::Detached),
            block = watch.next() => block?,
        };
        let closed = block.closed;
        // While it cannot be written the kernel keeps what comes after it, and counts what it must drop.
        tokio::select! {
            delivered = delivery.deliver(block, outputs, &mut watch) => delivered?,
            // Not acknowledged, so the kernel keeps it for the next circusd.
            () = given_up(detach) => return Ok(End::Detached),
        }
        if let Some(code) = closed {
            finish(watch).await;
            return Ok(End::Exited(code));
        }
    }
}

/// After the end has been acknowledged the kernel says that nothing is left; then the name is free.
async fn finish(mut watch: Watch) {
    let _ = time::timeout(Duration::from_secs(5), watch.over()).await;
}

/// The daemon is ending, and the write has had its time.
async fn given_up(detach: &CancellationToken) {
    detach.cancelled().await;
    time::sleep(LAST_WRITE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_knows_its_own_processes_only() {
        assert_eq!(wid_of("Web", "circus.web.3"), Some(Wid(3)));
        assert_eq!(wid_of("web", "circus.web.api.3"), None);
        assert_eq!(wid_of("web.api", "circus.web.api.3"), Some(Wid(3)));
        assert_eq!(wid_of("web", "circus.web.0"), None);
        assert_eq!(process_name("Web", Wid(3)), "circus.web.3");
    }
}
