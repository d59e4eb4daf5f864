//! circusd-stats at work: follows circusd, measures and publishes, all in one loop.
//!
//! ```text
//!            first subscriber                    list, dstats, listsockets answered
//!   idle -------------------------> following -----------------------------------> first round
//!     ^                                |  every interval: one pass over /proc, publish
//!     +--------------------------------+  every 5 s: sockets; every 30 s: everything is asked again
//!            last subscriber
//! ```
//!
//! While idle nothing is measured, asked or listened to. A circusd that goes away and comes back is found
//! again; one that started us ends us with itself.

use super::directory::{Answer, Directory, PATIENCE, Question};
use super::info::Info;
use super::message::{self, Member};
use super::process_table::ProcessTable;
use super::publisher::Publisher;
use super::roster::{Heard, OWN_WATCHERS, Roster};
use super::socket_table::SocketTable;
use crate::client::{CallError, Reach};
use crate::endpoint::Endpoint;
use crate::parent;
use crate::private_endpoint::BindError;
use serde_json::Value;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// After so long everything is asked again, in case an event was lost.
const REFRESH: Duration = Duration::from_secs(30);

/// Sockets make no events.
const REFRESH_SOCKETS: Duration = Duration::from_secs(5);

/// Generations of children that are published with a process.
const DEPTH: usize = 16;

/// What the service is run with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// circusd's endpoint.
    pub endpoint: Endpoint,
    /// Where circusd publishes.
    pub pubsub: Endpoint,
    /// Where to publish.
    pub statspoint: String,
    /// The time between two rounds.
    pub interval: Duration,
}

/// The service could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The feed cannot be bound.
    #[error("cannot publish on {endpoint}")]
    Bind {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: BindError,
    },
    /// circusd cannot be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// ZeroMQ failed.
    #[error("ZeroMQ failed: {0}")]
    Zmq(#[from] zmq::Error),
}

/// Runs until the circusd that started us has ended.
///
/// # Errors
/// [`ServiceError`], among them that no circusd answers at the start.
pub fn run(settings: &Settings) -> Result<(), ServiceError> {
    let mut service = Service::start(settings)?;
    info!("circusd-stats publishes on {}", settings.statspoint);
    while service.turn()? {}
    info!("circusd has ended");
    Ok(())
}

/// The times at which something is due; only while somebody listens.
struct Schedule {
    round: Instant,
    sockets: Instant,
    everything: Instant,
}

struct Service {
    interval: Duration,
    directory: Directory,
    events: zmq::Socket,
    publisher: Publisher,
    roster: Roster,
    /// circusd, its kernel and its helpers, with their roles.
    own: Vec<(i32, &'static str)>,
    processes: ProcessTable,
    sockets: SocketTable,
    schedule: Option<Schedule>,
    /// Nothing has been published since the first subscriber came.
    fresh: bool,
    /// circusd did not answer, and that was said.
    lost: bool,
    /// Readable when the circusd that started us has ended.
    parent: Option<OwnedFd>,
}

impl Service {
    fn start(settings: &Settings) -> Result<Self, ServiceError> {
        let context = zmq::Context::new();
        let publisher = Publisher::bind(&context, &settings.statspoint).map_err(|source| {
            ServiceError::Bind { endpoint: settings.statspoint.clone(), source }
        })?;
        let directory = Directory::connect(&context, &settings.endpoint)?;
        let events = context.socket(zmq::SUB)?;
        events.set_linger(0)?;
        settings.pubsub.connect(&events).map_err(CallError::from)?;
        let mut service = Self {
            interval: settings.interval,
            directory,
            events,
            publisher,
            roster: Roster::default(),
            own: Vec::new(),
            processes: ProcessTable::default(),
            sockets: SocketTable::default(),
            schedule: None,
            fresh: false,
            lost: false,
            parent: None,
        };
        service.find_circusd(&settings.endpoint)?;
        Ok(service)
    }

    /// Waits until circusd has answered once, so that a wrong endpoint is told at the start.
    fn find_circusd(&mut self, endpoint: &Endpoint) -> Result<(), ServiceError> {
        let begin = Instant::now();
        self.directory.ask(Question::Daemon, begin)?;
        while begin.elapsed() < PATIENCE {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let mut items = [self.directory.socket().as_poll_item(zmq::POLLIN)];
            poll(&mut items, Some(left))?;
            if let Some(answer) = self.directory.receive()? {
                let Answer::Daemon(pid, _) = answer else { continue };
                self.follow_parent(pid);
                return self.take(answer, Instant::now());
            }
        }
        Err(CallError::NoAnswer {
            endpoint: endpoint.clone(),
            timeout: PATIENCE,
            reach: Reach::Nobody,
        }
        .into())
    }

    /// The circusd that started us takes us with it; one that we were pointed at does not.
    fn follow_parent(&mut self, circusd: i32) {
        self.parent = parent::end_of(circusd);
    }

    /// Waits for the next thing to do and does it; false when circusd has ended.
    fn turn(&mut self) -> Result<bool, ServiceError> {
        let due = self.schedule.as_ref().map(|s| s.round.min(s.sockets).min(s.everything));
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let mut items = vec![
            self.publisher.socket().as_poll_item(zmq::POLLIN),
            self.directory.socket().as_poll_item(zmq::POLLIN),
            self.events.as_poll_item(zmq::POLLIN),
        ];
        if let Some(parent) = &self.parent {
            items.push(zmq::PollItem::from_fd(parent.as_raw_fd(), zmq::POLLIN));
        }
        poll(&mut items, left)?;
        if items.get(3).is_some_and(zmq::PollItem::is_readable) {
            return Ok(false);
        }
        drop(items);
        let now = Instant::now();
        self.publisher.take_subscriptions()?;
        self.begin_or_rest(now)?;
        while let Some(answer) = self.directory.receive()? {
            self.take(answer, now)?;
        }
        self.hear_events(now)?;
        self.do_what_is_due(now)?;
        Ok(true)
    }

    /// Begins to follow circusd with the first subscriber and ceases with the last.
    fn begin_or_rest(&mut self, now: Instant) -> Result<(), ServiceError> {
        match (self.publisher.has_subscribers(), self.schedule.is_some()) {
            (true, false) => {
                debug!("the first subscriber has come");
                self.events.set_subscribe(b"watcher.")?;
                self.fresh = true;
                self.schedule = Some(Schedule {
                    round: now + self.interval,
                    sockets: now + REFRESH_SOCKETS,
                    // Once more after the subscription to events has surely arrived.
                    everything: now + self.interval,
                });
                self.ask_everything(now)?;
            }
            (false, true) => {
                debug!("the last subscriber has gone");
                self.events.set_unsubscribe(b"watcher.")?;
                self.schedule = None;
                self.roster = Roster::default();
                self.processes = ProcessTable::default();
                self.sockets = SocketTable::default();
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    fn ask_everything(&mut self, now: Instant) -> Result<(), ServiceError> {
        for question in [Question::Names, Question::Daemon, Question::Sockets] {
            self.directory.ask(question, now)?;
        }
        Ok(())
    }

    fn take(&mut self, answer: Answer, now: Instant) -> Result<(), ServiceError> {
        if std::mem::take(&mut self.lost) {
            info!("circusd answers again");
        }
        match answer {
            Answer::Names(names) => {
                let console = names.iter().any(|name| name == "circushttpd");
                self.roster.names(names.into_iter());
                let mut asked: Vec<String> =
                    self.roster.iter().map(|(name, _)| name.to_owned()).collect();
                asked.extend(console.then(|| "circushttpd".to_owned()));
                for name in asked {
                    self.directory.ask(Question::Pids(name), now)?;
                }
            }
            Answer::Pids(name, pids) if OWN_WATCHERS.contains(&name.as_str()) => {
                self.set_own("circushttpd", pids.first().copied().filter(|_| pids.len() == 1));
            }
            Answer::Pids(name, pids) => self.roster.pids(&name, &pids),
            Answer::Daemon(circusd, kernel) => {
                self.set_own("circusd-stats", i32::try_from(std::process::id()).ok());
                self.set_own("circusd", Some(circusd));
                self.set_own("papa-kernel", kernel);
            }
            Answer::Sockets(listeners) => self.sockets.follow(listeners),
        }
        Ok(())
    }

    fn set_own(&mut self, role: &'static str, pid: Option<i32>) {
        self.own.retain(|(_, known)| *known != role);
        self.own.extend(pid.map(|pid| (pid, role)));
    }

    fn hear_events(&mut self, now: Instant) -> Result<(), ServiceError> {
        loop {
            let frames = match self.events.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => frames,
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let [topic, payload] = frames.as_slice() else { continue };
            let payload = serde_json::from_slice::<Value>(payload).unwrap_or_default();
            let pid = payload.get("process_pid").and_then(Value::as_i64);
            let pid = pid.and_then(|pid| i32::try_from(pid).ok());
            let heard = self.roster.hear(&String::from_utf8_lossy(topic), pid);
            if heard == Heard::Stranger && self.schedule.is_some() {
                self.directory.ask(Question::Names, now)?;
            }
        }
    }

    fn do_what_is_due(&mut self, now: Instant) -> Result<(), ServiceError> {
        let complete = self.fresh && self.directory.is_idle();
        let Some(schedule) = &mut self.schedule else { return Ok(()) };
        let round = complete || schedule.round <= now;
        if round {
            // Rounds that were missed, as after a sleep of the machine, are not made up for.
            schedule.round = now.max(schedule.round) + self.interval;
            if !complete && schedule.round > now + self.interval {
                schedule.round = now + self.interval;
            }
        }
        let sockets = schedule.sockets <= now;
        if sockets {
            schedule.sockets = now + REFRESH_SOCKETS;
        }
        let everything = schedule.everything <= now;
        if everything {
            schedule.everything = now + REFRESH;
        }
        if self.directory.give_up(now) {
            schedule.everything = now + PATIENCE;
            if !std::mem::replace(&mut self.lost, true) {
                warn!("circusd does not answer; going on with what is known");
            }
        }
        if everything {
            self.ask_everything(now)?;
        } else if sockets {
            self.directory.ask(Question::Sockets, now)?;
        }
        if round {
            self.fresh = false;
            self.publish()?;
        }
        Ok(())
    }

    /// One round: measures everything and publishes it.
    fn publish(&mut self) -> Result<(), ServiceError> {
        let processes = &mut self.processes;
        processes.scan();
        self.roster.identify(|pid| processes.start(pid));
        for (name, workers) in self.roster.iter().filter(|(_, workers)| !workers.is_empty()) {
            let infos = workers.iter().filter_map(|worker| processes.info(worker.pid, DEPTH));
            let members = infos.map(|info| Member { info, role: None }).collect::<Vec<_>>();
            self.publisher.send(message::of_watcher(name, &members))?;
        }
        let own = self.own.iter().filter_map(|(pid, role)| {
            // The children of circusd are the workers, who are told under their own names.
            let info: Info = processes.info(*pid, 0)?;
            Some(Member { info, role: Some(*role) })
        });
        let own = own.collect::<Vec<_>>();
        self.publisher.send(message::of_watcher(message::OWN, &own))?;
        self.publisher.send(message::of_sockets(&self.sockets.look()))?;
        Ok(())
    }
}

/// Polls; being interrupted by a signal counts as nothing ready.
fn poll(items: &mut [zmq::PollItem<'_>], timeout: Option<Duration>) -> Result<(), zmq::Error> {
    let milliseconds = timeout
        .map_or(-1, |left| i64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX));
    match zmq::poll(items, milliseconds) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}
