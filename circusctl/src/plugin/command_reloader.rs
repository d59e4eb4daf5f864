//! `circus.plugins.command_reloader.CommandReloader`: restarts a watcher when the files that its command consists
//! of have changed.
//!
//! [`program`] says which files those are, [`trail`] what tells a file from its successor, [`notices`] that
//! something has changed, and [`settling`] when it has been quiet for long enough, `loop_rate`. Nothing is
//! looked at while nothing changes. What circusd is told to run is asked for once, and again when an event says
//! that it may be another. A watcher that is stopped is left so.

mod notices;
mod program;
mod settling;
mod trail;

use self::notices::{Notice, Notices};
use self::program::Command;
use self::settling::Settling;
use self::trail::{Stamp, Trail};
use super::circus::Circus;
use super::event::Event;
use super::interface::{Plugin, PluginError};
use super::options::{self, OptionError, Options};
use super::restart;
use nix::errno::Errno;
use protocol::circus::event::topic_name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// The options that are read.
pub const OPTIONS: &[&str] = &["loop_rate"];

/// After so long circusd is asked again when it did not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// A way that goes on changing while it is followed is followed so often; its notices bring us back.
const ATTEMPTS: usize = 5;

/// The plugin.
pub struct CommandReloader {
    notices: Option<Notices>,
    /// The watchers by their names in events.
    watchers: BTreeMap<String, Watched>,
    settling: Settling<Vec<Option<Stamp>>>,
    /// When to ask circusd for all watchers again.
    ask_again: Option<Instant>,
    /// A directory could not be watched, and that was said.
    failed: bool,
}

/// A watcher.
struct Watched {
    name: String,
    command: Command,
    /// Those that there were when its command was learnt.
    files: Vec<PathBuf>,
    trails: Vec<Trail>,
    /// The files that its processes run.
    running: Vec<Option<Stamp>>,
}

impl CommandReloader {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let time = options.value("loop_rate", Duration::from_secs(1), options::period)?;
        Ok(Self {
            notices: None,
            watchers: BTreeMap::new(),
            settling: Settling::new(time),
            ask_again: None,
            failed: false,
        })
    }

    /// Asks circusd for all watchers. Those that are known stay as they are.
    fn learn_all(&mut self, circus: &mut Circus) {
        self.ask_again = None;
        let names = match circus.call("list", json!({})) {
            Ok(reply) => reply,
            Err(error) => {
                warn!("the watchers are not known: {error}");
                self.ask_again = Some(Instant::now() + AGAIN);
                return;
            }
        };
        let names = names.get("watchers").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<&str> = names.filter_map(Value::as_str).filter(|n| !is_helper(n)).collect();
        let keys: BTreeSet<String> = names.iter().map(|name| topic_name(name)).collect();
        self.watchers.retain(|key, _| keys.contains(key));
        for name in names {
            if !self.watchers.contains_key(&topic_name(name)) {
                self.learn(circus, name);
            }
        }
        self.forget_places();
    }

    /// Asks circusd what a watcher runs. If that is something else than before, it is what its processes run
    /// already: circusd replaces them itself.
    fn learn(&mut self, circus: &mut Circus, name: &str) {
        let keys = ["cmd", "args", "working_dir", "env"];
        let command = match circus.call("get", json!({"name": name, "keys": keys})) {
            Ok(reply) => command(reply.get("options").unwrap_or(&Value::Null)),
            Err(error) => return warn!("{name}: the command is not known: {error}"),
        };
        let (key, files) = (topic_name(name), command.files(Path::is_file));
        // Fewer files are those of a release that is being put in place; what is missing is waited for.
        let is_known =
            |known: &Watched| known.command == command && known.files.len() >= files.len();
        if self.watchers.get(&key).is_some_and(is_known) {
            return;
        }
        let (name, trails, running) = (name.to_owned(), vec![], vec![]);
        let watched = Watched { name, command, files, trails, running };
        self.watchers.insert(key.clone(), watched);
        self.settling.forget(&key);
        self.follow(&key);
        if let Some(watched) = self.watchers.get_mut(&key) {
            watched.running = watched.stamps();
        }
    }

    /// Follows the ways to the files of a watcher and watches all that they lead through.
    fn follow(&mut self, key: &str) {
        let (Some(watched), Some(notices)) = (self.watchers.get_mut(key), &mut self.notices) else {
            return;
        };
        for _ in 0..ATTEMPTS {
            let trails: Vec<Trail> = watched.files.iter().map(|file| Trail::follow(file)).collect();
            let is_same = trails == watched.trails;
            watched.trails = trails;
            // Also those that are watched already: another directory may stand in the place of one.
            for directory in watched.directories() {
                match notices.watch(directory) {
                    // What has gone in the meantime is found missing in the next round.
                    Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                    Err(error) if std::mem::replace(&mut self.failed, true) => {
                        debug!("{} cannot be watched: {error}", directory.display());
                    }
                    Err(error) => warn!(
                        "{} cannot be watched: {error}; is fs.inotify.max_user_watches too small?",
                        directory.display()
                    ),
                }
            }
            // Followed once more after everything is watched, so that no change falls between.
            if is_same {
                break;
            }
        }
    }

    /// Watches only what the ways lead through.
    fn forget_places(&mut self) {
        let wanted = self.watchers.values().flat_map(Watched::directories).collect();
        if let Some(notices) = &mut self.notices {
            notices.keep(&wanted);
        }
    }

    /// The files of a watcher have settled: it is restarted if its processes run others.
    fn act(&mut self, circus: &mut Circus, key: &str, now: Instant) {
        let Some(watched) = self.watchers.get_mut(key) else { return };
        let stamps = watched.stamps();
        let changed = watched.files.iter().zip(&stamps);
        // One that is missing is waited for.
        let changed =
            changed.filter(|(_, stamp)| stamp.is_some() && !watched.running.contains(stamp));
        let changed: Vec<String> = changed.map(|(file, _)| file.display().to_string()).collect();
        if changed.is_empty() || stamps.contains(&None) {
            return;
        }
        let (name, reason) = (watched.name.clone(), format!("{} was changed", changed.join(", ")));
        let is_done = match restart::is_stopped(circus, &name) {
            Ok(true) => {
                info!("{name} is stopped and is left so: {reason}");
                true
            }
            Ok(false) => {
                info!("{name} is restarted: {reason}");
                match circus.call("restart", json!({"name": name})) {
                    Ok(_) => true,
                    Err(error) => {
                        warn!("{name} is not restarted yet: {error}");
                        false
                    }
                }
            }
            Err(error) => {
                warn!("{name} is not restarted yet: {error}");
                false
            }
        };
        if is_done {
            watched.running = stamps;
        } else {
            self.settling.notice(key, stamps, now);
        }
    }
}

impl Plugin for CommandReloader {
    fn start(&mut self, circus: &mut Circus) -> Result<(), PluginError> {
        let notices = Notices::new().map_err(|error| {
            PluginError::new(format!(
                "files cannot be watched: {error}; is fs.inotify.max_user_instances too small?"
            ))
        })?;
        self.notices = Some(notices);
        self.learn_all(circus);
        Ok(())
    }

    fn event(&mut self, circus: &mut Circus, event: &Event) {
        let key = &event.watcher;
        let known = self.watchers.get(key).map(|watched| watched.name.clone());
        match (event.action.as_str(), known) {
            ("add" | "start" | "updated", None) if !is_helper(key) => self.learn_all(circus),
            // That processes are new does not settle a change: it may have come after them.
            ("updated" | "start", Some(name)) => {
                self.learn(circus, &name);
                self.forget_places();
            }
            ("remove", Some(_)) => {
                self.watchers.remove(key);
                self.settling.forget(key);
                self.forget_places();
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.ask_again, self.settling.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        if self.ask_again.is_some_and(|at| at <= now) {
            self.learn_all(circus);
        }
        for key in self.settling.due(now) {
            self.follow(&key);
            let stamps = self.watchers.get(&key).map(Watched::stamps).unwrap_or_default();
            if self.settling.look(&key, stamps, now) {
                self.act(circus, &key, now);
            }
        }
        self.forget_places();
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.notices.iter().map(Notices::file).collect()
    }

    fn readable(&mut self, _: &mut Circus) {
        let notices = self.notices.as_mut().map(Notices::read).unwrap_or_default();
        let now = Instant::now();
        let touched = |watched: &Watched| notices.iter().any(|notice| watched.is_touched(notice));
        let watchers = self.watchers.iter().filter(|(_, watched)| touched(watched));
        for key in watchers.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.follow(&key);
            let stamps = self.watchers.get(&key).map(Watched::stamps).unwrap_or_default();
            self.settling.notice(&key, stamps, now);
        }
    }
}

impl Watched {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.trails.iter().map(|trail| trail.stamp.clone()).collect()
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        let places = self.trails.iter().flat_map(|trail| &trail.places);
        places.map(|(directory, _)| directory.as_path())
    }

    fn is_touched(&self, notice: &Notice) -> bool {
        let mut places = self.trails.iter().flat_map(|trail| &trail.places);
        match notice {
            Notice::Entry(directory, name) => {
                places.any(|(own, entry)| own == directory && entry == name)
            }
            Notice::Directory(directory) => places.any(|(own, _)| own == directory),
            Notice::Everything => true,
        }
    }
}

/// What circusd runs beside the watchers of its user: its own program, which is not restarted under it.
fn is_helper(name: &str) -> bool {
    name.starts_with("plugin:") || ["circusd-stats", "circushttpd"].contains(&name)
}

/// The command in a reply to `get`.
fn command(options: &Value) -> Command {
    let split = |text: &str| shlex::split(text).unwrap_or_default();
    let words = |key: &str| match options.get(key) {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(words)) => {
            words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let path = text(options.get("env").and_then(|env| env.get("PATH")));
    let path = path.or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
    let working_dir = text(options.get("working_dir")).unwrap_or_default();
    // A relative one is relative to circusd's, which is ours.
    let working_dir = std::env::current_dir().unwrap_or_default().join(working_dir);
    Command { words: [words("cmd"), words("args")].concat(), working_dir, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_read_from_a_reply_to_get() {
        let options = json!({"cmd": "python3 -u", "args": ["my app.py"], "working_dir": "/srv",
            "env": {"PATH": "/opt/bin", "A": "b"}});
        let expected = Command {
            words: ["python3", "-u", "my app.py"].map(str::to_owned).to_vec(),
            working_dir: "/srv".into(),
            path: "/opt/bin".to_owned(),
        };
        assert_eq!(command(&options), expected);
        let bare = command(&json!({"cmd": "sleep '1", "args": null}));
        assert_eq!(bare.words, [""; 0], "circusd says what is wrong with it");
        assert!(bare.working_dir.is_absolute());
        assert_eq!(command(&json!({"cmd": "a", "args": "b c"})).words, ["a", "b", "c"]);
    }

    #[test]
    fn helpers_of_circusd_are_left_alone() {
        for name in ["plugin:x", "circusd-stats", "circushttpd"] {
            assert!(is_helper(name), "{name}");
        }
        assert!(!is_helper("web"));
    }

    #[test]
    fn a_wrong_time_is_one_sentence() {
        let options = Options::new("plugin:r", [("loop_rate".to_owned(), "never".to_owned())]);
        let error = CommandReloader::new(&options).err().expect("refused").to_string();
        assert_eq!(
            error,
            "[plugin:r] loop_rate = never: not a time; write seconds above 0, such as 60 or 0.5"
        );
    }
}
