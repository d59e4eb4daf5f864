//! Whether a program can take over: asked of the program itself, while nothing has changed yet.

use papa_spawn::successor;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time;

/// The hidden argument that asks a circusd which handover it understands.
pub const ASK_FORMAT: &str = "--handover-format";

/// The handover that this circusd writes and understands.
pub const FORMAT: &str = "1";

/// How long the program may take to answer. It only has to read its configuration.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that can take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its file.
    pub path: PathBuf,
    /// What it says to `--version`.
    pub version: String,
}

/// A program cannot take over. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// It is found from anywhere only with its whole path.
    #[error("`{0}` is not an absolute path")]
    Relative(PathBuf),
    /// There is none, or it is no program for this machine.
    #[error(transparent)]
    NoProgram(#[from] successor::CandidateError),
    /// It does not run, or not for long enough.
    #[error("`{path} {argument}` failed: {reason}")]
    Failed {
        /// Its file.
        path: PathBuf,
        /// What it was asked.
        argument: &'static str,
        /// What it said.
        reason: String,
    },
    /// It is no circusd, or one that cannot take over from this one.
    #[error(
        "`{path}` cannot take over from this circusd (handover format {FORMAT}): it answers `{answer}`"
    )]
    Format {
        /// Its file.
        path: PathBuf,
        /// What it said.
        answer: String,
    },
}

/// The file that this circusd was started from, also when it was replaced since.
pub fn own_program() -> io::Result<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe")?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or(path.clone(), PathBuf::from))
}

/// Asks the program at `path` for its version, whether it can take over, and whether it accepts the
/// configuration at `config`.
///
/// # Errors
/// [`CandidateError`].
pub async fn check(path: &Path, config: &Path) -> Result<Candidate, CandidateError> {
    if !path.is_absolute() {
        return Err(CandidateError::Relative(path.to_owned()));
    }
    successor::Candidate::open(path.to_owned())?;
    let answer = ask(path, ASK_FORMAT, None).await?;
    if answer != FORMAT {
        return Err(CandidateError::Format { path: path.to_owned(), answer });
    }
    let version = ask(path, "--version", None).await?;
    ask(path, "--check", Some(config.as_os_str())).await?;
    Ok(Candidate { path: path.to_owned(), version })
}

/// What the program prints when it is run with this argument.
async fn ask(
    path: &Path,
    argument: &'static str,
    more: Option<&OsStr>,
) -> Result<String, CandidateError> {
    let failed =
        |reason: String| CandidateError::Failed { path: path.to_owned(), argument, reason };
    let mut command = Command::new(path);
    command.arg(argument).args(more).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = match time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no end after {} s", PATIENCE.as_secs()))),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    // The last line is the reason, what comes before are warnings.
    let said = text(&output.stderr);
    let reason = said.lines().last().map_or_else(|| output.status.to_string(), str::to_owned);
    Err(failed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_circusd_is_refused() {
        let config = Path::new("/nowhere.ini");
        let refusal = async |path: &str| check(Path::new(path), config).await.unwrap_err();
        assert!(matches!(refusal("circusd").await, CandidateError::Relative(_)));
        for path in ["/nowhere", "/etc/passwd"] {
            assert!(matches!(refusal(path).await, CandidateError::NoProgram(_)));
        }
        assert!(matches!(refusal("/bin/true").await, CandidateError::Format { .. }));
        assert!(matches!(refusal("/bin/false").await, CandidateError::Failed { .. }));
    }

    #[test]
    fn our_own_program_is_found() {
        assert!(own_program().unwrap().is_absolute());
    }
}
