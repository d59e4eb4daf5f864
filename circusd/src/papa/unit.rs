//! Putting the kernel into a systemd unit of its own, when circusd runs in one.
//!
//! systemd ends everything in a unit with it, so a kernel that circusd starts itself would die, and its
//! workers with it, when circusd's unit is stopped or restarted. `systemd-run` asks systemd to start it
//! elsewhere. Where that is not allowed, as for most users other than root, the caller does without.

use super::endpoint::PapaEndpoint;
use nix::unistd::Uid;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time;

/// How long systemd may take. It answers when the kernel listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// We run in a systemd unit: systemd sets this variable for everything that it starts (systemd.exec(5)).
pub fn is_inside() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// Starts the program in a unit of its own and gives the name of the unit.
///
/// # Errors
/// Why not, as a text.
pub async fn start(
    program: &Path,
    words: &[OsString],
    endpoint: &PapaEndpoint,
) -> Result<String, String> {
    let unit = name(endpoint);
    let mut command = Command::new("systemd-run");
    command.args(arguments(&unit, Uid::effective().is_root(), program, words)).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = match time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("systemd-run: {error}")),
        Err(_) => return Err("systemd-run does not end".to_owned()),
    };
    if output.status.success() {
        return Ok(unit);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.trim().lines().last().unwrap_or("systemd-run said nothing").to_owned())
}

/// The unit for the kernel at this place: several kernels have several.
fn name(endpoint: &PapaEndpoint) -> String {
    let escaped: String = endpoint
        .to_string()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("papa-kernel-{}.service", escaped.trim_matches('-'))
}

/// `--collect` forgets a unit that has failed, so that the name can be used again. A unit of type `forking`
/// has started when the program comes back, which is when the kernel listens. The end of the kernel must not
/// take the workers with it: circusd stops them in order and starts them again.
fn arguments(unit: &str, root: bool, program: &Path, words: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    if !root {
        all.push("--user".into());
    }
    for word in [
        "--quiet",
        "--collect",
        "--service-type=forking",
        "--property=KillMode=process",
        "--property=OOMScoreAdjust=-900",
        "--property=LimitNOFILE=1048576",
    ] {
        // A user's own units may not be protected like this.
        if root || !word.contains("OOMScoreAdjust") {
            all.push(word.into());
        }
    }
    all.push(format!("--unit={unit}").into());
    all.push("--".into());
    all.push(program.into());
    all.extend(words.iter().map(|word| OsStr::new(word).to_owned()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_unit_is_named_after_the_place() {
        assert_eq!(name(&PapaEndpoint::Tcp(20202)), "papa-kernel-tcp---127-0-0-1-20202.service");
        let path = PapaEndpoint::Unix(PathBuf::from("/run/papa.sock"));
        assert_eq!(name(&path), "papa-kernel-ipc----run-papa-sock.service");
    }

    #[test]
    fn only_root_may_protect_the_kernel_from_running_out_of_memory() {
        let words = [OsString::from("--daemonize")];
        let said = |root| {
            let all = arguments("u", root, Path::new("/bin/papa-kernel"), &words);
            all.join(OsStr::new(" ")).into_string().unwrap()
        };
        assert!(said(true).ends_with("--unit=u -- /bin/papa-kernel --daemonize"));
        assert!(said(true).contains("OOMScoreAdjust") && !said(true).contains("--user"));
        assert!(said(false).starts_with("--user ") && !said(false).contains("OOMScoreAdjust"));
    }
}
