//! What happens outside of the protocol during a session: signals, connections, files, and looking from outside.

use crate::pattern::Mismatch;
use crate::player::Player;
use crate::recording::Deviation;
use circus_e2e::{Daemon, process};
use protocol::signal::Signal;
use serde_json::{Value, json};
use std::net::TcpStream;

impl Player<'_> {
    pub(super) fn wait_for_end(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.ended = Some(daemon.wait());
        }
    }

    pub(super) fn observe(
        &mut self,
        check: &Value,
        deviation: Option<&Deviation>,
    ) -> Result<(), Mismatch> {
        if deviation.is_some_and(Deviation::is_not_sent) {
            return Ok(());
        }
        if let Some(code) = check.get("exit_code") {
            self.wait_for_end();
            let got = self.ended.and_then(|status| status.code());
            return if json!(got) == *code {
                Ok(())
            } else {
                Err(format!("exit code {got:?}, expected {code}"))
            };
        }
        if let Some(owner) = check.get("owner").and_then(Value::as_str) {
            let path = self.env.path("ctl.sock");
            let user = nix::unistd::User::from_name(owner).ok().flatten().expect("the user exists");
            let uid =
                std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).expect("the socket"));
            return if uid == user.uid.as_raw() {
                Ok(())
            } else {
                Err(format!("the socket belongs to {uid}"))
            };
        }
        if let Some(alive) = check.get("process_still_alive").or(check.get("processes_still_alive"))
        {
            let marked = self.env.processes();
            let own = self.daemon.as_ref().map(Daemon::pid);
            let workers = marked.iter().filter(|pid| u32::try_from(**pid).ok() != own).count();
            let expected = alive.as_array().map_or(1, Vec::len);
            return if workers >= expected {
                Ok(())
            } else {
                Err(format!("{workers} workers are left"))
            };
        }
        Err(format!("no way to observe {check}"))
    }

    /// What was done from outside and is described in words only.
    pub(super) fn act_in_words(&self, action: &str) {
        if action == "kill -9 of one process" {
            signal(self.daemon().pids("kept")[0], Some(9));
        }
    }

    pub(super) fn act(&mut self, act: &Value) -> Result<(), Mismatch> {
        if let Some(name) = act.get("copy-config").and_then(Value::as_str) {
            self.copy_config(name);
        }
        if let Some(address) = act.get("connect").and_then(Value::as_array) {
            let host = address[0].as_str().expect("a host");
            let port = u16::try_from(address[1].as_u64().expect("a port")).expect("a port");
            self.connections
                .push(TcpStream::connect((host, port)).map_err(|error| error.to_string())?);
        }
        if act.get("close-connection").is_some() {
            self.connections.pop();
        }
        if let Some(pid) = act.get("kill") {
            let pid = self.bindings.resolve(pid)?.as_i64().expect("a pid");
            signal(i32::try_from(pid).expect("pids fit"), act["signal"].as_i64());
        }
        if let Some(name) = act.get("signal-daemon").and_then(Value::as_str) {
            let number = Signal::parse(name).expect("a signal").number();
            signal(i32::try_from(self.daemon().pid()).expect("pids fit"), Some(number.into()));
        }
        Ok(())
    }

    /// The recordings had pauses in which the system got to know the words of a new program, and a shell got
    /// beyond its first `trap`: with that it has a child.
    pub(super) fn wait_for_programs(&self) {
        let Some(daemon) = &self.daemon else { return };
        let is_beginning = |pid: &i32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_shell = command.starts_with(b"/bin/sh\0");
            (command.is_empty() || is_shell && process::children(*pid).is_empty())
                && process::is_alive(*pid)
        };
        daemon.wait_until("every program has begun", || {
            (!self.env.processes().iter().any(is_beginning)).then_some(())
        });
    }

    pub(super) fn copy_config(&self, name: &str) {
        std::fs::copy(self.env.path(name), self.env.path("circus.ini")).expect("a recorded config");
    }

    pub(super) fn kill_all(&mut self, watcher: &str, number: &Value) {
        self.killed = self.daemon().pids(watcher);
        for pid in &self.killed {
            signal(*pid, number.as_i64());
        }
    }

    pub(super) fn wait_for_others(&self, watcher: &str) {
        let daemon = self.daemon();
        daemon.wait_until("others take their place", || {
            let pids = daemon.pids(watcher);
            (!pids.is_empty() && !pids.iter().any(|pid| self.killed.contains(pid))).then_some(())
        });
    }
}

fn signal(pid: i32, number: Option<i64>) {
    let number = i32::try_from(number.expect("a signal")).expect("a signal");
    let signal = nix::sys::signal::Signal::try_from(number).expect("a signal");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("the process is there");
}
