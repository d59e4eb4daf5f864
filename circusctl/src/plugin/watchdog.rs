//! `circus.plugins.watchdog.WatchDog`: kills processes that no longer send heartbeats.
//!
//! A heartbeat is a UDP datagram with the pid in it. [`Beats`] decides, without I/O, who has been silent for too
//! long: silence is counted in rounds and not in seconds, so that a plugin that was held up itself kills
//! nobody whose heartbeats wait in its socket.

mod beats;

use self::beats::{Beats, Late};
use super::circus::Circus;
use super::event::Event;
use super::interface::{Plugin, PluginError};
use super::options::{self, OptionError, Options};
use super::periodic::Periodic;
use super::python_regex::PythonRegex;
use protocol::circus::event::topic_name;
use protocol::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The options that are read.
pub const OPTIONS: &[&str] = &[
    "ip",
    "loop_rate",
    "max_count",
    "msg_regex",
    "port",
    "watchers_graceful_timeout",
    "watchers_regex",
    "watchers_stop_signal",
];

/// The longest heartbeat, as in the original; the rest of a longer one is cut off.
const LONGEST: usize = 1024;

/// Heartbeats that are taken at once, so that a flood does not keep us from the rounds.
const AT_ONCE: usize = 10_000;

/// Datagrams of no use that are told in each round. More are only counted: whoever can send some could fill the disk.
const TOLD: u32 = 5;

/// What circusd runs beside the watchers of its user, apart from plugins. They send no heartbeats.
const HELPERS: [&str; 2] = ["circusd-stats", "circushttpd"];

/// The plugin.
pub struct WatchDog {
    settings: Settings,
    rounds: Periodic,
    beats: Beats,
    /// The names of all watchers, by the form that they have in events.
    names: BTreeMap<String, String>,
    socket: Option<UdpSocket>,
    /// Datagrams of no use since the last round.
    useless: u32,
}

struct Settings {
    section: String,
    address: (IpAddr, u16),
    /// Whose processes must send heartbeats; none is everybody's but those of circusd's own helpers.
    watchers: Option<PythonRegex>,
    /// What a heartbeat looks like; none is `PID;TIMESTAMP`.
    heartbeat: Option<PythonRegex>,
    signal: Option<Signal>,
    grace: Option<Duration>,
}

impl WatchDog {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let every = options.value("loop_rate", Duration::from_secs(60), options::period)?;
        let settings = Settings {
            section: options.section().to_owned(),
            address: (
                options.value("ip", IpAddr::V4(Ipv4Addr::LOCALHOST), ip)?,
                options.value("port", 1664, options::port)?,
            ),
            watchers: options.optional("watchers_regex", PythonRegex::new)?,
            heartbeat: options.optional("msg_regex", heartbeat)?,
            signal: options.optional("watchers_stop_signal", |text| {
                Signal::parse(text).map_err(|error| error.to_string())
            })?,
            grace: options.optional("watchers_graceful_timeout", options::seconds)?,
        };
        Ok(Self {
            settings,
            rounds: Periodic::new(every, Instant::now()),
            beats: Beats::new(options.value("max_count", 3, options::count)?),
            names: BTreeMap::new(),
            socket: None,
            useless: 0,
        })
    }

    /// Asks circusd for all watchers, and for the pids of those that are to be watched.
    fn discover(&mut self, circus: &mut Circus) -> bool {
        if !self.learn_names(circus) {
            return false;
        }
        let watched: Vec<String> = self
            .names
            .values()
            .filter(|name| self.settings.is_watched(name, circus.own_name()))
            .cloned()
            .collect();
        for name in watched {
            for pid in pids(circus, &name).unwrap_or_default() {
                self.beats.add(pid, &name);
            }
        }
        true
    }

    fn learn_names(&mut self, circus: &mut Circus) -> bool {
        match circus.call("list", json!({})) {
            Ok(reply) => {
                let names = reply.get("watchers").and_then(Value::as_array);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                self.names = names.map(|name| (topic_name(name), name.to_owned())).collect();
                true
            }
            Err(error) => {
                warn!("the watchers are not known: {error}");
                false
            }
        }
    }

    /// Takes the heartbeats that have come.
    fn listen(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; LONGEST];
        for _ in 0..AT_ONCE {
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An answer to nothing that we have sent.
                Err(error) => return warn!("no heartbeats can be received: {error}"),
            };
            let text = String::from_utf8_lossy(&buffer[..length]);
            match self.settings.pid(&text) {
                Some(pid) if self.beats.beat(pid) => continue,
                _ if self.useless >= TOLD => {}
                Some(pid) => warn!("a heartbeat of process {pid}, which is not watched"),
                None => warn!("a datagram that is no heartbeat: {text:?}"),
            }
            self.useless = self.useless.saturating_add(1);
        }
    }

    /// Tells of what was only counted.
    fn count_useless(&mut self) {
        let more = std::mem::take(&mut self.useless).saturating_sub(TOLD);
        if more > 0 {
            warn!("{more} more datagrams that are no heartbeat of a process that is watched");
        }
    }

    /// Has a process killed, unless it has gone unnoticed.
    fn kill(&mut self, circus: &mut Circus, late: &Late) {
        let Late { pid, watcher, again } = late;
        // It was to be killed already, and its end was not heard of.
        if *again && pids(circus, watcher).is_some_and(|pids| !pids.contains(pid)) {
            self.beats.remove(*pid);
            return;
        }
        info!("{watcher}: process {pid} has sent no heartbeat for too long and is killed");
        circus.cast("kill", self.settings.order(watcher, *pid));
    }
}

impl Plugin for WatchDog {
    fn start(&mut self, _: &mut Circus) -> Result<(), PluginError> {
        let Settings { section, address: (ip, port), .. } = &self.settings;
        let bound = UdpSocket::bind((*ip, *port)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match bound {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                return Err(PluginError::new(format!(
                    "[{section}] port = {port}: cannot listen for heartbeats on {ip}, {error}; \
                     choose another port or end who uses it"
                )));
            }
        }
        Ok(())
    }

    fn event(&mut self, circus: &mut Circus, event: &Event) {
        let Some(pid) = event.pid() else { return };
        match event.action.as_str() {
            "spawn" => {
                if !self.names.contains_key(&event.watcher) {
                    self.learn_names(circus);
                }
                let name = self.names.get(&event.watcher).unwrap_or(&event.watcher);
                if self.settings.is_watched(name, circus.own_name()) {
                    self.beats.add(pid, name);
                }
            }
            "reap" => self.beats.remove(pid),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.rounds.next())
    }

    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        if !self.rounds.take(now) {
            return;
        }
        // Whoever has sent one is not silent, however late we read it.
        self.listen();
        self.count_useless();
        if !self.beats.is_begun() {
            if self.discover(circus) {
                self.beats.begin();
            }
            return;
        }
        for late in self.beats.round() {
            self.kill(circus, &late);
        }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.socket.iter().map(AsFd::as_fd).collect()
    }

    fn readable(&mut self, _: &mut Circus) {
        self.listen();
    }
}

impl Settings {
    fn is_watched(&self, name: &str, own: &str) -> bool {
        let is_own = topic_name(name) == topic_name(own);
        !is_own
            && match &self.watchers {
                Some(regex) => regex.is_match(name),
                None => !name.starts_with("plugin:") && !HELPERS.contains(&name),
            }
    }

    /// The pid in a heartbeat, if it is one.
    fn pid(&self, text: &str) -> Option<i32> {
        let Some(regex) = &self.heartbeat else {
            let (pid, _) = text.rsplit_once(';')?;
            return pid.trim().parse().ok();
        };
        let pid = |text| regex.group(text, "pid")?.trim().parse().ok();
        // In Python `$` fits before a last line feed, too.
        pid(text).or_else(|| pid(text.strip_suffix('\n')?))
    }

    fn order(&self, watcher: &str, pid: i32) -> Value {
        let mut order = json!({"name": watcher, "pid": pid});
        if let Some(signal) = self.signal {
            order["signum"] = json!(signal.number());
        }
        if let Some(grace) = self.grace {
            order["graceful_timeout"] = json!(grace.as_secs_f64());
        }
        order
    }
}

/// The pids of a watcher; none when circusd does not say.
fn pids(circus: &mut Circus, name: &str) -> Option<Vec<i32>> {
    match circus.call("list", json!({"name": name})) {
        Ok(reply) => {
            let pids = reply.get("pids").and_then(Value::as_array)?;
            let pids = pids.iter().filter_map(Value::as_i64);
            Some(pids.filter_map(|pid| i32::try_from(pid).ok()).collect())
        }
        Err(error) => {
            warn!("{name}: the processes are not known: {error}");
            None
        }
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        _ => text.parse().map_err(|_| "not an IP address; write one such as 127.0.0.1".to_owned()),
    }
}

fn heartbeat(text: &str) -> Result<PythonRegex, String> {
    let regex = PythonRegex::new(text)?;
    match regex.has_group("pid") {
        true => Ok(regex),
        false => Err("has no group `pid`; write one such as (?P<pid>[0-9]+)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[(&str, &str)]) -> Options {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::new("plugin:dog", values)
    }

    fn settings(values: &[(&str, &str)]) -> Settings {
        WatchDog::new(&options(values)).map(|dog| dog.settings).expect("options")
    }

    #[test]
    fn heartbeats_are_read_as_the_documentation_has_them() {
        let usual = settings(&[]);
        for (text, expected) in [
            ("1664;1332323232", Some(1664)),
            ("1664;", Some(1664)),
            (" 1664 ;now\n", Some(1664)),
            ("1664", None),
            ("x;1", None),
            ("", None),
        ] {
            assert_eq!(usual.pid(text), expected, "{text:?}");
        }
        let own = settings(&[("msg_regex", "beat (?P<pid>[0-9]+)")]);
        assert_eq!(own.pid("beat 12 and more"), Some(12));
        assert_eq!(own.pid("a beat 12"), None, "anchored at the start");
        let whole = settings(&[("msg_regex", "^(?P<pid>.*)$")]);
        assert_eq!(whole.pid("12\n"), Some(12), "as from `echo`");
    }

    #[test]
    fn own_helpers_are_watched_only_when_asked_for_and_never_the_plugin_itself() {
        let usual = settings(&[]);
        let watched = |settings: &Settings, name| settings.is_watched(name, "plugin:dog");
        assert!(watched(&usual, "web"));
        for name in ["plugin:other", "plugin:dog", "circusd-stats", "circushttpd"] {
            assert!(!watched(&usual, name), "{name}");
        }
        let all = settings(&[("watchers_regex", ".*")]);
        assert!(watched(&all, "plugin:other") && !watched(&all, "plugin:Dog"));
        let but = settings(&[("watchers_regex", "^(?!cron|mail)")]);
        assert!(watched(&but, "web") && !watched(&but, "mailer"));
    }

    #[test]
    fn what_is_killed_is_killed_as_the_options_say() {
        let order = |values: &[(&str, &str)]| settings(values).order("web", 7);
        assert_eq!(order(&[]), json!({"name": "web", "pid": 7}));
        let values = [("watchers_stop_signal", "int"), ("watchers_graceful_timeout", "1.5")];
        let expected = json!({"name": "web", "pid": 7, "signum": 2, "graceful_timeout": 1.5});
        assert_eq!(order(&values), expected);
    }

    #[test]
    fn wrong_options_are_one_sentence() {
        for (key, value, reason) in [
            ("msg_regex", "^(.*)$", "has no group `pid`; write one such as (?P<pid>[0-9]+)"),
            ("ip", "here", "not an IP address; write one such as 127.0.0.1"),
            ("port", "x", "not a port; write a number from 1 to 65535"),
            ("max_count", "-1", "not a count; write a whole number from 0 on"),
            ("loop_rate", "0", "not a time; write seconds above 0, such as 60 or 0.5"),
        ] {
            let error = WatchDog::new(&options(&[(key, value)])).err().expect("refused");
            assert_eq!(error.to_string(), format!("[plugin:dog] {key} = {value}: {reason}"));
        }
        for (key, value) in [("watchers_regex", "(web"), ("watchers_stop_signal", "BANG")] {
            let error = WatchDog::new(&options(&[(key, value)])).err().expect("refused");
            let head = format!("[plugin:dog] {key} = {value}: ");
            assert!(error.to_string().starts_with(&head), "{error}");
        }
    }
}
