//! Reaching the kernel: connect, or start one when none answers.
//!
//! Which program that is, `role` knows; a lone `circusd` file is enough.

use super::client::{KernelClient, PapaError};
use super::endpoint::PapaEndpoint;
use super::unit;
use crate::role::{NotInstalled, Role};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;
use tracing::{info, warn};

/// No kernel can be reached.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no program to run.
    #[error("cannot start the papa kernel: {0}")]
    NoProgram(#[from] NotInstalled),
    /// Somebody answers who is no kernel, or refuses us.
    #[error("cannot use the papa kernel at {endpoint}: {source}")]
    Unusable {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: PapaError,
    },
    /// It could not be run.
    #[error("cannot start the papa kernel `{program}`: {source}")]
    Run {
        /// What was tried.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended instead of listening.
    #[error("the papa kernel `{program}` did not start at {endpoint}: {reason}")]
    Failed {
        /// What was run.
        program: PathBuf,
        /// Where it should listen.
        endpoint: String,
        /// What it said.
        reason: String,
    },
}

/// Connects to the kernel at `endpoint` and starts one if nobody listens there.
///
/// # Errors
/// [`StartError`].
pub async fn reach(endpoint: &PapaEndpoint) -> Result<KernelClient, StartError> {
    match KernelClient::connect(endpoint.clone()).await {
        Err(PapaError::NobodyListens(_)) => {}
        Ok(client) => return Ok(client),
        Err(source) => {
            return Err(StartError::Unusable { endpoint: endpoint.to_string(), source });
        }
    }
    let started = start(endpoint).await;
    match (KernelClient::connect(endpoint.clone()).await, started) {
        (Ok(client), Ok(())) => {
            info!("started the papa kernel at {endpoint}");
            Ok(client)
        }
        // Somebody else, such as another circusd that starts at the same time, was faster.
        (Ok(client), Err(_)) => Ok(client),
        (Err(_), Err(error)) => Err(error),
        (Err(source), Ok(())) => {
            Err(StartError::Unusable { endpoint: endpoint.to_string(), source })
        }
    }
}

/// Starts a kernel. The program comes back when the kernel listens or has failed, so there is nothing to
/// wait for afterwards.
async fn start(endpoint: &PapaEndpoint) -> Result<(), StartError> {
    let (program, role) = Role::PapaKernel.command()?;
    let mut words = role;
    words.extend(["--daemonize", "--title", "circusd"].map(OsString::from));
    match endpoint {
        PapaEndpoint::Tcp(port) => words.extend(["--port".into(), port.to_string().into()]),
        PapaEndpoint::Unix(path) => words.extend(["--unix-socket".into(), path.into()]),
    }
    if unit::is_inside() {
        match unit::start(&program, &words, endpoint).await {
            Ok(unit) => {
                info!("the papa kernel runs in a systemd unit of its own, {unit}");
                return Ok(());
            }
            Err(reason) => warn!(
                "the papa kernel is started inside this systemd unit, so stopping the unit ends hosted \
                 workers: no unit of its own can be had ({reason}); install papa-kernel.service"
            ),
        }
    }
    let mut command = Command::new(&program);
    // The title that papa's daemon has; the system keeps only its first 15 bytes as a name.
    command.arg0("papa daemon from circusd");
    command.args(words);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command
        .output()
        .await
        .map_err(|source| StartError::Run { program: program.clone(), source })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.lines().last().unwrap_or("it said nothing").to_owned();
        return Err(StartError::Failed { program, endpoint: endpoint.to_string(), reason });
    }
    Ok(())
}
