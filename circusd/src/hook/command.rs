//! Hooks that are programs: run directly, told by their environment, answering with their exit status.
//!
//! What they print goes to the log; an `extended_stats` hook gets the figures on standard input and may
//! print a JSON object to take their place.

use super::outcome::Answer;
use crate::config::split;
use crate::process::companion::{Companion, CompanionError, describe};
use crate::process::printed::Printed;
use nix::fcntl::OFlag;
use papa_spawn::child::{ChildSpec, Exit, Input, Output};
use serde_json::Value;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// The longest reply of an `extended_stats` hook.
const LONGEST_REPLY: u64 = 1024 * 1024;

/// Runs a command to its end. `stats` is what an `extended_stats` hook gets. Dropping the future kills it.
pub async fn run(
    command: &str,
    variables: Vec<(String, String)>,
    stats: Option<&Value>,
    label: &str,
) -> Answer {
    match begin(command, variables, stats).await {
        Ok(running) => running.finish(label).await,
        Err(error) => Answer::failed(error),
    }
}

struct Running {
    process: Companion,
    /// Our end of its standard input, and what is to be written.
    input: Option<(pipe::Sender, Vec<u8>)>,
}

async fn begin(
    command: &str,
    variables: Vec<(String, String)>,
    stats: Option<&Value>,
) -> Result<Running, String> {
    let words = split(command).map_err(|error| error.to_string())?;
    let (theirs, input) = match stats {
        Some(stats) => {
            let (theirs, ours) = input_pipe().map_err(|error| error.to_string())?;
            (Some(theirs), Some((ours, stats.to_string().into_bytes())))
        }
        None => (None, None),
    };
    let spec = ChildSpec {
        argv: words.into_iter().map(String::into_bytes).collect(),
        env: variables.into_iter().map(|(k, v)| (k.into_bytes(), v.into_bytes())).collect(),
        stdin: theirs.as_ref().map_or(Input::Null, |pipe| Input::Fd(pipe.as_raw_fd())),
        stdout: Output::Pipe,
        stderr: if input.is_some() { Output::Pipe } else { Output::Stdout },
        ..ChildSpec::default()
    };
    let started = Companion::start(spec, theirs.into_iter().collect()).await;
    let process = started.map_err(|error: CompanionError| error.to_string())?;
    Ok(Running { process, input })
}

/// The child's end and ours.
fn input_pipe() -> io::Result<(OwnedFd, pipe::Sender)> {
    let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((theirs, pipe::Sender::from_owned_fd(ours)?))
}

impl Running {
    async fn finish(mut self, label: &str) -> Answer {
        let (stdout, stderr) = (self.process.stdout.take(), self.process.stderr.take());
        let Some((mut input, data)) = self.input.take() else {
            let mut printed = Printed::log(label.to_owned(), stdout);
            let exit = self.process.ended().await;
            printed.logged().await;
            return verdict(exit);
        };
        let mut printed = Printed::log(label.to_owned(), stderr);
        let feed = async {
            // A hook that does not want to know closes its end.
            let _ = input.write_all(&data).await;
            drop(input);
        };
        let listen = async {
            let mut reply = Vec::new();
            if let Some(Ok(pipe)) = stdout.map(pipe::Receiver::from_owned_fd) {
                // A reply that cannot be read is one that says nothing.
                let _ = pipe.take(LONGEST_REPLY).read_to_end(&mut reply).await;
            }
            reply
        };
        let (reply, ()) = tokio::join!(listen, feed);
        let exit = self.process.ended().await;
        printed.logged().await;
        let mut answer = verdict(exit);
        answer.stats = serde_json::from_slice(&reply).ok().filter(Value::is_object);
        answer
    }
}

/// Status 0 is yes, every other is no; a command that was killed has not answered.
fn verdict(exit: Option<Exit>) -> Answer {
    match exit {
        Some(Exit::Code(code)) => Answer::returned(code == 0),
        Some(Exit::Signal(_)) | None => Answer::failed(describe(exit)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::*;
    use serde_json::json;

    fn environment() -> Vec<(String, String)> {
        vec![("PATH".into(), std::env::var("PATH").unwrap()), ("A".into(), "1".into())]
    }

    async fn outcome(command: &str) -> Outcome {
        run(command, environment(), None, "test").await.outcome
    }

    #[tokio::test]
    async fn the_exit_status_is_the_answer() {
        assert_eq!(outcome("sh -c 'test $A = 1'").await, Outcome::Returned(true));
        assert_eq!(outcome("sh -c 'exit 3'").await, Outcome::Returned(false));
        let killed = outcome("sh -c 'kill -9 $$'").await;
        assert_eq!(killed, Outcome::Failed { error: "it was killed by SIGKILL".into() });
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_run_has_failed() {
        for command in ["no-such-program-anywhere", "sh -c 'unbalanced"] {
            assert!(matches!(outcome(command).await, Outcome::Failed { .. }), "{command}");
        }
    }

    #[tokio::test]
    async fn extended_stats_come_in_as_json_and_go_out_as_json() {
        let stats = json!({"pid": 7, "long": "x".repeat(200_000)});
        let script = r#"sh -c 'wc -c >&2; printf "{\"pid\": 7, \"more\": 1}"'"#;
        let answer = run(script, environment(), Some(&stats), "test").await;
        assert_eq!(answer.stats, Some(json!({"pid": 7, "more": 1})));
        let answer = run("cat", environment(), Some(&stats), "test").await;
        assert_eq!(answer.stats, Some(stats));
    }
}
