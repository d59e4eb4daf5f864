//! A tunnel to circusd on another machine, through the system's `ssh`.
//!
//! Each remote endpoint gets a unix socket in a private directory here; ssh forwards what comes in
//! there. Keys, passwords, jump hosts and host keys are ssh's business, so `ssh HOST` working means that
//! `--ssh HOST` works.
//!
//! A small `sh` stands between, because ssh must not outlive us however we end, and this program
//! cannot set a death signal without unsafe code: its standard input is a pipe from us, and the end of
//! that pipe ends ssh and removes the directory. ssh itself says on its standard output when the
//! forwards are in place, so nothing is polled.

use crate::report::CommandError;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Runs `"$@"`, ends it when standard input ends, and clears up. A signal from the terminal, such as
/// Ctrl-C at a command of the shell, is not the end.
const KEEPER: &str = r#"
trap : HUP INT QUIT TERM
directory=$1
shift
"$@" &
ssh=$!
exec >&-
while :; do
    read -r _
    [ $? -gt 128 ] || break
done
kill "$ssh" 2>&-
wait "$ssh"
rm -rf -- "$directory"
"#;

/// What ssh prints when the forwards are in place.
const READY: &str = "circusctl: tunnel is ready";

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The text is no destination.
    #[error("`{0}` is not a destination for ssh")]
    Destination(String),
    /// The remote endpoint cannot be forwarded.
    #[error("`{0}` cannot be reached through ssh")]
    Endpoint(String),
    /// Something on this machine.
    #[error("could not start ssh")]
    Start(#[source] std::io::Error),
    /// ssh ended before the tunnel was there.
    #[error("ssh could not reach {destination}")]
    Ended {
        /// Where to.
        destination: String,
        /// What ssh said.
        said: String,
    },
}

/// `[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: Option<u16>,
}

impl Destination {
    /// Reads a destination. A host in square brackets may contain colons.
    ///
    /// # Errors
    /// [`SshError::Destination`].
    pub fn parse(text: &str) -> Result<Self, SshError> {
        let bad = || SshError::Destination(text.to_owned());
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map(|port| port.parse().map_err(|_| bad())).transpose()?;
        // A leading dash would be an option of ssh.
        if host.is_empty() || host.starts_with('-') || user.is_some_and(|user| user.is_empty()) {
            return Err(bad());
        }
        let host = match user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_owned(),
        };
        Ok(Self { host, port })
    }
}

/// A running ssh. Dropping it ends ssh.
pub struct Tunnel {
    keeper: Child,
    stdin: Option<ChildStdin>,
    near: Vec<String>,
}

impl Tunnel {
    /// Connects and waits until the remote endpoints can be reached. ssh may ask on the terminal for
    /// a password.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn open(
        destination: &str,
        keyfile: Option<&Path>,
        remote: &[&str],
        timeout: Duration,
    ) -> Result<Self, SshError> {
        let to = Destination::parse(destination)?;
        let directory = tempfile::Builder::new()
            .prefix("circusctl-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(SshError::Start)?;
        let mut near = Vec::new();
        let mut ssh = vec!["ssh".to_owned(), "-N".into(), "-T".into()];
        for option in [
            "ExitOnForwardFailure=yes",
            "ControlMaster=no",
            "ControlPath=none",
            "ServerAliveInterval=15",
            "LogLevel=ERROR",
            "PermitLocalCommand=yes",
        ] {
            ssh.extend(["-o".into(), option.into()]);
        }
        ssh.extend(["-o".into(), format!("ConnectTimeout={}", timeout.as_secs().max(1))]);
        ssh.extend(["-o".into(), format!("LocalCommand=echo '{READY}'")]);
        for (number, endpoint) in remote.iter().enumerate() {
            let target = forward_target(endpoint)
                .ok_or_else(|| SshError::Endpoint((*endpoint).to_owned()))?;
            let socket = directory.path().join(format!("{number}"));
            ssh.extend(["-L".into(), format!("{}:{target}", socket.display())]);
            near.push(format!("ipc://{}", socket.display()));
        }
        ssh.extend(to.port.into_iter().flat_map(|port| ["-p".into(), port.to_string()]));
        if let Some(keyfile) = keyfile {
            ssh.extend(["-i".into(), keyfile.display().to_string()]);
        }
        ssh.extend(["--".into(), to.host]);

        let errors = directory.path().join("errors");
        let stderr = std::fs::File::create(&errors).map_err(SshError::Start)?;
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "circusctl-ssh"])
            .arg(directory.path())
            .args(ssh)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(SshError::Start)?;
        // The keeper removes it from here on, also when we are killed.
        let _ = directory.keep();
        let stdin = keeper.stdin.take();
        let stdout = keeper.stdout.take();
        let tunnel = Self { keeper, stdin, near };
        let said_ready = stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines())
            .map_while(Result::ok)
            .any(|line| line == READY);
        if !said_ready {
            let said = std::fs::read(&errors).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            return Err(SshError::Ended { destination: destination.to_owned(), said });
        }
        Ok(tunnel)
    }

    /// The addresses here that lead to the remote endpoints, in their order.
    pub fn near(&self) -> &[String] {
        &self.near
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Fails only when it was waited for already.
        let _ = self.keeper.wait();
    }
}

/// The far end of `-L`: `HOST:PORT` or an absolute path.
fn forward_target(endpoint: &str) -> Option<String> {
    if let Some(place) = endpoint.strip_prefix("tcp://") {
        let (host, port) = place.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        let host = if host == "*" { "127.0.0.1" } else { host };
        return Some(format!("{host}:{port}"));
    }
    endpoint.strip_prefix("ipc://").filter(|path| path.starts_with('/')).map(str::to_owned)
}

impl From<SshError> for CommandError {
    fn from(error: SshError) -> Self {
        let report = Self::local(error.to_string());
        match error {
            SshError::Destination(_) => report.hint("a destination is [USER@]HOST[:PORT]"),
            SshError::Endpoint(_) => report
                .hint("the endpoint must be tcp://HOST:PORT or ipc:///PATH as seen over there"),
            SshError::Start(source) => {
                report.cause(source.to_string()).hint("circusctl uses the `ssh` of OpenSSH")
            }
            SshError::Ended { destination, said } => {
                let report = said.lines().fold(report, |report, line| report.cause(line.trim()));
                report.hint(format!("does `ssh {destination}` work by itself?"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_may_have_a_user_and_a_port() {
        let parse = |text| Destination::parse(text).ok().map(|to| (to.host, to.port));
        assert_eq!(parse("h"), Some(("h".into(), None)));
        assert_eq!(parse("u@h:22"), Some(("u@h".into(), Some(22))));
        assert_eq!(parse("u@[::1]:2200"), Some(("u@::1".into(), Some(2200))));
        assert_eq!(parse("[::1]"), Some(("::1".into(), None)));
        for text in ["", "u@", "@h", "-oProxyCommand=x", "h:x", "h:", "[::1]x", "h:99999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn both_kinds_of_endpoint_can_be_forwarded() {
        assert_eq!(forward_target("tcp://127.0.0.1:5555").as_deref(), Some("127.0.0.1:5555"));
        assert_eq!(forward_target("ipc:///run/c").as_deref(), Some("/run/c"));
        for endpoint in ["tcp://x", "tcp://x:y", "ipc://c", "udp://x:1"] {
            assert_eq!(forward_target(endpoint), None, "{endpoint}");
        }
    }
}
