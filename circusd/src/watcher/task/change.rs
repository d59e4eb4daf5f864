//! Changing a watcher while it lives: options, kills, and its end.

use super::super::handle::{Ended, KillOrder, Retirement};
use super::super::intent::Runs;
use super::super::setting::{self, SettingError};
use super::super::vocabulary::{Changes, Input, Renewal, Status, Token};
use super::super::wid::Wid;
use super::hooking::Event;
use super::{Dying, FOREVER, Task, rules, sleep_until};
use crate::arbiter::gate::Permit;
use crate::config::model::WatcherConfig;
use crate::hook::runner::HookRunner;
use crate::papa::journal::Noted;
use crate::stream::sink::{self, Sink};
use crate::stream::writer::Writer;
use protocol::circus::event::EventKind;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::{self, JoinHandle};

impl Task {
    /// Changes options: all of them or none.
    pub(super) fn set(
        &mut self,
        options: &Map<String, Value>,
        permit: Permit,
    ) -> Result<Ended, SettingError> {
        self.set_with(options, permit, None)
    }

    /// The same, with what runs the Python of the watcher from now on, if that changes.
    pub(super) fn set_with(
        &mut self,
        options: &Map<String, Value>,
        permit: Permit,
        runner: Option<HookRunner>,
    ) -> Result<Ended, SettingError> {
        let mut config = (*self.config).clone();
        let effects = setting::apply(&mut config, options)?;
        let python = runner.as_ref();
        let stdout = changed_sink(&config, "stdout", effects.stdout, python)?;
        let stderr = changed_sink(&config, "stderr", effects.stderr, python)?;
        let (fresh_stdout, replaced_stdout) = self.use_sink(stdout, "stdout");
        let (fresh_stderr, replaced_stderr) = self.use_sink(stderr, "stderr");
        if let Some(runner) = runner {
            self.use_runner(runner, [replaced_stdout, replaced_stderr]);
        }
        let desired = u32::try_from(config.numprocesses).unwrap_or(u32::MAX);
        self.redefine(&config);
        self.config = Arc::new(config);
        self.feed(Input::Rules(rules(&self.config, self.check_delay)));
        for _ in options {
            self.publish(EventKind::Updated);
        }
        permit.go_on_as("watcher_do_action");
        let (reply, ended) = oneshot::channel();
        let token = self.expect(Some(permit), reply);
        let reload = effects.reload || fresh_stdout || fresh_stderr;
        let active = self.state.status() == Status::Active;
        match (reload && active, effects.resize) {
            (true, true) => {
                // Nobody waits for the resize by itself.
                self.feed(Input::Resize(Token(0), desired));
                self.feed(Input::Reload(token, Renewal::Overlap));
            }
            (true, false) => self.feed(Input::Reload(token, Renewal::Overlap)),
            (false, true) => self.feed(Input::Resize(token, desired)),
            (false, false) => self.answer(token, Changes::default()),
        }
        Ok(ended)
    }

    /// Makes a changed stream effective. True when there was none before, so that running processes are
    /// not connected to it; otherwise it ends when the old one has got everything before the change.
    fn use_sink(
        &mut self,
        sink: Option<Box<dyn Sink>>,
        name: &str,
    ) -> (bool, Option<JoinHandle<()>>) {
        let Some(sink) = sink else { return (false, None) };
        let slot = match name {
            "stdout" => &mut self.outputs.stdout,
            _ => &mut self.outputs.stderr,
        };
        if let Some(writer) = slot.clone() {
            let replaced = task::spawn(async move {
                writer.replace(sink).await;
                // Confirmed by the new one, which comes after the old one.
                writer.write_through(Vec::new()).await;
            });
            return (false, Some(replaced));
        }
        *slot = Some(Writer::start(format!("{} ({name})", self.identity.name), sink));
        (true, None)
    }

    /// Lets another Python run hooks and stream classes. The streams of the old one are closed when they
    /// have got their last output; those of the new one are opened if the watcher has been started.
    fn use_runner(&mut self, runner: HookRunner, replaced: [Option<JoinHandle<()>>; 2]) {
        let old = self.hooking.use_runner(runner.clone());
        let started = self.state.status() != Status::Stopped;
        self.hooking.beside(async move {
            if started {
                runner.open_streams().await;
            }
            for done in replaced.into_iter().flatten() {
                // Fails only when circusd ends.
                let _ = done.await;
            }
            old.close_streams().await;
        });
    }

    pub(super) fn kill(&mut self, order: KillOrder, reply: oneshot::Sender<()>) {
        let processes = self.state.processes().into_iter();
        let chosen = processes.filter(|(_, pid)| order.pid.is_none_or(|only| only == *pid));
        let wids: BTreeSet<Wid> = chosen.map(|(wid, _)| wid).collect();
        let rules = self.state.rules();
        let signal = order.signal.unwrap_or(rules.stop_signal);
        let grace = order.grace.unwrap_or(rules.graceful_timeout).min(FOREVER);
        if !wids.is_empty() {
            self.dying.push(Dying { wids: wids.clone(), reply });
        }
        for wid in wids {
            self.feed(Input::Kill { wid, signal, grace });
        }
    }

    /// Ends this watcher: stops its processes, or leaves them alone but for collecting them.
    pub(super) async fn retire(
        &mut self,
        how: Retirement,
        permit: Option<Permit>,
        begun: oneshot::Sender<oneshot::Receiver<()>>,
    ) {
        self.disarm();
        if how != Retirement::Replaced {
            self.publish(EventKind::Remove);
        }
        let (reply, ended) = oneshot::channel();
        self.keeping.runs = Runs::No;
        let noted = match how {
            Retirement::Removed => self.keeping.note_removal(&self.config, false),
            Retirement::Forgotten => self.keeping.note_removal(&self.config, true),
            // The note belongs to whoever takes its place.
            Retirement::Replaced => Noted::already(),
        };
        task::spawn(async move {
            noted.wait().await;
            // The asker may have gone.
            let _ = begun.send(ended);
        });
        if how == Retirement::Forgotten {
            drop(permit);
            let _ = reply.send(());
            self.collect().await;
            return;
        }
        self.hooking.hurry(self.state.rules().graceful_timeout);
        let (stopped, mut done) = oneshot::channel();
        let token = self.expect(permit, stopped);
        self.feed(Input::Stop(token));
        while matches!(done.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            let deadline = self.state.deadline();
            let input = tokio::select! {
                Some(Ok((wid, result))) = self.launches.join_next() => {
                    Some(self.launched(wid, result))
                }
                Some(Ok((wid, end))) = self.ends.join_next() => self.ended(wid, end),
                event = self.hooking.event() => match event {
                    Event::Answered(answer) => self.answered(*answer),
                    // Too late for a change.
                    Event::Changed(_) => None,
                },
                () = sleep_until(deadline), if deadline.is_some() => Some(Input::Tick),
                else => break,
            };
            if let Some(input) = input {
                self.feed(input);
            }
        }
        self.keeping.removed(&self.config);
        let _ = reply.send(());
    }

    /// Collects the ends of processes that go on without a watcher.
    async fn collect(&mut self) {
        while self.ends.join_next().await.is_some() {}
        self.keeping.removed(&self.config);
    }
}

/// The destination of a stream that changes: because its options do, or because the Python does that it is a
/// class of. A file is opened with the first output, beside the loop.
fn changed_sink(
    config: &WatcherConfig,
    name: &str,
    changed: bool,
    python: Option<&HookRunner>,
) -> Result<Option<Box<dyn Sink>>, SettingError> {
    if let Some(sink) = python.and_then(|python| python.stream(config, name)) {
        return Ok(Some(sink));
    }
    if !changed {
        return Ok(None);
    }
    let (key, options) = match name {
        "stdout" => ("stdout_stream", &config.stdout_stream),
        _ => ("stderr_stream", &config.stderr_stream),
    };
    let bad = |error: sink::StreamError| SettingError::Stream { key, reason: error.to_string() };
    sink::from_options(options).map(Some).map_err(bad)
}
