//! The loop: which event goes where, and nothing else.
//!
//! One thread waits in one place, the poller. Each turn takes a bounded piece of work from each
//! source that is ready, so that nobody starves; then every client that has something new to
//! read is served once.

mod state;
mod upgrading;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use papa_handover::{Refusal, Rehearsal};
use protocol::papa::{GREETING, PROMPT};

pub(crate) use state::State;

use crate::access::Access;
use crate::budget::Budget;
use crate::client::{Client, Mode};
use crate::command::now;
use crate::flow::Flow;
use crate::poller::{ClientId, Poller, ProcessId, Source};
use crate::process_table::PipeRead;
use crate::session::{self, Progress};

/// Connections taken in one turn.
const ACCEPTS_PER_TURN: usize = 16;
/// Connections at once; the real circusd has one for each hosted process.
const MOST_CLIENTS: usize = 16 << 10;
/// Clients that were turned away and have not hung up yet; beyond that the oldest is cut off, so
/// that strangers cannot use up our descriptors.
const MOST_REFUSED: usize = 64;
/// What one read from a pipe can bring: all that a pipe holds unless it was enlarged.
const PIPE_BUFFER: usize = 64 << 10;

/// Everything the process has.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) state: State,
    poller: Poller,
    access: Access,
    /// In the order of arrival; some may have gone.
    refused: VecDeque<ClientId>,
    budget: Budget,
    flow: Flow,
    signals: SignalFd,
    /// Clients to serve at the end of the turn.
    due: BTreeSet<ClientId>,
    /// Clients to serve later.
    later: BTreeMap<ClientId, Instant>,
    /// A signal asked for the end.
    terminated: bool,
    /// Given up for a moment when descriptors run out, to turn a client away.
    spare: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// Another program shows that it can take over.
    rehearsal: Option<Rehearsal>,
}

impl Kernel {
    /// Takes over the process' signals, and goes on from a state whose descriptors are open. Everybody is
    /// served once, since what was due is not kept. Descriptors that came over an exec are not owned yet:
    /// dropping this closes nothing that a predecessor needs, and removes no path of a socket.
    pub(crate) fn new(state: State, access: Access) -> Result<Self, Refusal> {
        let cannot_wait = |error: io::Error| Refusal::to("wait for events")(error);
        let kernel = Self {
            poller: Poller::new().map_err(cannot_wait)?,
            access,
            refused: VecDeque::new(),
            budget: Budget::default(),
            flow: Flow::default(),
            signals: open_signals().map_err(cannot_wait)?,
            due: state.clients.keys().copied().collect(),
            later: BTreeMap::new(),
            terminated: false,
            spare: spare_descriptor(),
            buffer: vec![0; PIPE_BUFFER],
            rehearsal: None,
            state,
        };
        kernel.register().map_err(cannot_wait)?;
        Ok(kernel)
    }

    /// Reports everything that happens from now on.
    fn register(&self) -> io::Result<()> {
        self.poller.add(&self.state.listener, Source::Listener, EpollFlags::EPOLLIN)?;
        self.poller.add(&self.signals, Source::Signals, EpollFlags::EPOLLIN)?;
        self.state.tables.processes.register(&self.poller)?;
        self.state.clients.iter().try_for_each(|(id, client)| {
            self.poller.add(client, Source::Client(*id), EpollFlags::empty())
        })
    }

    /// Serves until the end is asked for, in this program or in those that take over from it.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.is_over() {
            for (source, flags) in self.poller.wait(self.timeout())? {
                self.handle(source, flags)?;
            }
            self.due.extend(
                self.later.extract_if(.., |_, at| *at <= Instant::now()).map(|late| late.0),
            );
            for id in std::mem::take(&mut self.due) {
                self.serve(id);
            }
            self.keep_to_budget();
            self.flow.resume(&mut self.state.tables.processes, &self.poller);
            self.state.tables.processes.reap_doomed();
            if let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.is_over()) {
                self.end_rehearsal(rehearsal);
            }
        }
        if let Some(rehearsal) = self.rehearsal.take() {
            rehearsal.cancel();
        }
        let hosted =
            self.state.tables.processes.iter().filter(|(.., hosted)| hosted.is_running()).count();
        if hosted > 0 {
            tracing::warn!(hosted, "ending while hosted processes run; their output is lost");
        }
        Ok(())
    }

    /// How long the loop may sleep.
    fn timeout(&self) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.later.values().chain(self.flow.next()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn is_over(&self) -> bool {
        let alone =
            || self.state.clients.values().all(|client| matches!(client.mode, Mode::Leaving));
        self.terminated || (self.state.exit_requested && self.state.tables.is_idle() && alone())
    }

    fn handle(&mut self, source: Source, flags: EpollFlags) -> io::Result<()> {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.read_signals()?,
            Source::Client(id) => {
                if let Some(client) = self.state.clients.get_mut(&id) {
                    if let Err(why) = client.fill(&mut self.buffer) {
                        session::refuse(client, &mut self.state.tables, &why);
                    }
                    if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
                        client.broken |=
                            client.ended || !client.wanted().contains(EpollFlags::EPOLLIN);
                    }
                    self.due.insert(id);
                }
            }
            Source::Rehearsal => self.rehearsal.iter_mut().for_each(Rehearsal::advance),
            Source::Output(id) => {
                let processes = &mut self.state.tables.processes;
                match processes.read_output(id, &mut self.buffer, now()) {
                    PipeRead::Data => self.tell_followers(id.0),
                    PipeRead::Full => self.flow.pause(id, processes, &self.poller),
                    PipeRead::Nothing => {}
                }
            }
            Source::Exit(id) => {
                let processes = &mut self.state.tables.processes;
                if processes.note_exit(id, &mut self.buffer, now(), &self.poller) {
                    self.tell_followers(id);
                }
            }
        }
        Ok(())
    }

    fn tell_followers(&mut self, id: ProcessId) {
        let Some(hosted) = self.state.tables.processes.get_mut(id) else { return };
        for follower in &hosted.followers {
            if let Some(client) = self.state.clients.get_mut(&follower.client)
                && let Mode::Watching(watch) = &mut client.mode
            {
                watch.note_change(id);
                self.due.insert(follower.client);
            }
        }
    }

    fn read_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGHUP) => tracing::info!("SIGHUP ignored"),
                signal => {
                    tracing::info!(?signal, "asked to end");
                    self.terminated = true;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.state.listener.accept() {
                Ok(Some(stream)) => self.welcome(stream),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a client");
                    // With no descriptor left the client would stay in the queue and wake us for
                    // ever: take it in the place of the spare one and turn it away.
                    if self.spare.take().is_some() {
                        drop(self.state.listener.accept());
                        self.spare = spare_descriptor();
                    }
                    break;
                }
            }
        }
    }

    fn welcome(&mut self, stream: OwnedFd) {
        let admitted = self.admit(&stream);
        let id = ClientId(self.state.next_client);
        self.state.next_client += 1;
        let mut client = Client::new(id, stream.into());
        if let Err(error) = self.poller.add(&client, Source::Client(id), EpollFlags::empty()) {
            tracing::warn!(%error, "could not watch a client");
            return;
        }
        match admitted {
            Ok(()) => {
                client.output.extend(GREETING.bytes().chain(PROMPT.bytes()));
                self.state.exit_requested = false;
            }
            Err(text) => {
                client.leave(text.as_bytes());
                self.refused.push_back(id);
            }
        }
        self.state.clients.insert(id, client);
        self.due.insert(id);
        if self.refused.len() > MOST_REFUSED
            && let Some(oldest) = self.refused.pop_front()
        {
            self.close(oldest);
        }
    }

    /// Whether somebody who has connected may stay; otherwise what is said before the end.
    fn admit(&self, stream: &OwnedFd) -> Result<(), String> {
        self.access.judge(self.state.listener.identify(stream))?;
        if self.state.clients.len() >= MOST_CLIENTS {
            return Err(format!("Error: More than {MOST_CLIENTS} clients\n"));
        }
        if self.budget.is_exhausted() {
            return Err("Error: No memory is left for another client\n".to_owned());
        }
        Ok(())
    }

    /// Moves the conversation with a client on, writes, and closes what has come to its end.
    fn serve(&mut self, id: ClientId) {
        let Some(mut client) = self.state.clients.remove(&id) else { return };
        let mut upgrade = None;
        self.state.tables.status.0.clients = self.state.clients.len() + 1;
        self.state.tables.status.0.client_memory = self.budget.held();
        let block_size = self.budget.block_size();
        match session::advance(&mut client, &mut self.state.tables, &self.poller, block_size) {
            Progress::Waits => {}
            Progress::Later(delay) => drop(self.later.insert(id, Instant::now() + delay)),
            Progress::Exit => self.state.exit_requested = true,
            Progress::Upgrade(path) => upgrade = Some(path),
        }
        let congested = client.is_congested();
        client.flush();
        if congested && !client.is_congested() {
            // What held the conversation up has just been written.
            self.due.insert(id);
        }
        let memory = client.memory();
        self.budget.update(&mut client.share, memory);
        if client.is_done() {
            return self.let_go(client);
        }
        let wanted = client.wanted();
        if wanted != client.interest {
            client.interest = wanted;
            if let Err(error) = self.poller.change(&client, Source::Client(id), wanted) {
                tracing::error!(client = id.0, %error, "could not go on watching a client");
                return self.let_go(client);
            }
        }
        self.state.clients.insert(id, client);
        if let Some(path) = upgrade {
            self.begin_upgrade(id, path);
        }
    }

    fn close(&mut self, id: ClientId) {
        if let Some(client) = self.state.clients.remove(&id) {
            self.let_go(client);
        }
    }

    fn let_go(&mut self, mut client: Client) {
        self.budget.update(&mut client.share, 0);
        session::stop_watching(&mut client, &mut self.state.tables);
    }

    /// Closes the clients that hold most until all others fit.
    fn keep_to_budget(&mut self) {
        while self.budget.is_exhausted() {
            let largest = self.state.clients.values_mut().max_by_key(|client| client.share);
            let Some(client) = largest.filter(|client| client.share > 0) else { return };
            tracing::warn!(client = client.id.0, bytes = client.share, "closed: holds too much");
            let id = client.id;
            if client.is_flushed() {
                session::stop_watching(client, &mut self.state.tables);
                client.leave(b"Error: This connection holds too much of the kernel's memory\n");
                self.budget.update(&mut client.share, 0);
                self.due.insert(id);
            } else {
                // It does not read, so it would not read why either.
                self.close(id);
            }
        }
    }
}

/// Takes the process' signals over.
fn open_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

fn spare_descriptor() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}
