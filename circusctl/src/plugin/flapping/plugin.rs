//! All watchers that have died, and the commands that the rules ask for.

use super::rules::{Settings, Verdict, Watched};
use crate::plugin::circus::{CallError, Circus};
use crate::plugin::event::Event;
use crate::plugin::interface::Plugin;
use crate::plugin::options::{OptionError, Options};
use crate::python_text;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// What is written before our options in the section of a watcher.
const PREFIX: &str = "flapping.";

/// A start that was refused, as while everything is reloaded, is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The plugin.
pub struct Flapping {
    settings: Settings,
    check_delay: Duration,
    /// By the names in events.
    watched: BTreeMap<String, Watched>,
    /// Those whose sections were asked for.
    read: BTreeSet<String>,
}

impl Flapping {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let settings = Settings::read(options, "", Settings::default())?;
        let (watched, read) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { settings, check_delay: options.check_delay(), watched, read })
    }

    /// What is known of the watcher.
    fn watched(&mut self, name: &str) -> &mut Watched {
        self.watched.entry(name.to_owned()).or_insert_with(|| Watched::new(self.settings))
    }

    fn settings_of(&self, circus: &mut Circus, name: &str) -> Settings {
        let reply = match circus.call("options", json!({"name": name})) {
            Ok(reply) => reply,
            Err(error) => {
                warn!("{name}: its options are not known, those of the plugin hold: {error}");
                return self.settings;
            }
        };
        let all = reply.get("options").and_then(Value::as_object);
        let own = all.into_iter().flatten().filter(|(key, _)| key.starts_with(PREFIX));
        let own = own.map(|(key, value)| (key.clone(), python_text::text(value)));
        let options = Options::new(format!("watcher:{name}"), own);
        Settings::read(&options, PREFIX, self.settings).unwrap_or_else(|error| {
            warn!("{error}; the options of the plugin hold");
            self.settings
        })
    }

    fn reap(&mut self, circus: &mut Circus, event: &Event) {
        let (name, slack) = (event.watcher.as_str(), self.check_delay);
        let asked = event.pid().is_some_and(|pid| self.watched(name).was_asked(pid));
        // What its section says is asked for when it matters for the first time.
        if !asked && self.read.insert(name.to_owned()) {
            let settings = self.settings_of(circus, name);
            self.watched(name).set(settings);
        }
        let watched = self.watched(name);
        let Some(verdict) = watched.reap(event.pid(), Instant::now(), slack) else { return };
        match verdict {
            Verdict::Retry(number) => {
                let seconds = watched.retry_in().as_secs_f64();
                info!("{name}: flapping detected: retry in {seconds}s (attempt number {number})");
            }
            Verdict::GiveUp => info!("{name}: flapping detected: reached max retry limit"),
        }
        // A pause is not what operators want, so it is over with this circusd, and a stop of theirs ends it.
        let pause = verdict != Verdict::GiveUp;
        if let Err(error) = circus.call("stop", json!({"name": name, "pause": pause})) {
            warn!("{name}: could not be stopped: {error}");
            watched.not_stopped();
        }
    }
}

impl Plugin for Flapping {
    fn event(&mut self, circus: &mut Circus, event: &Event) {
        let name = event.watcher.as_str();
        match event.action.as_str() {
            "reap" => self.reap(circus, event),
            "kill" => {
                if let Some(pid) = event.pid() {
                    self.watched(name).kill(pid);
                }
            }
            "updated" if self.read.contains(name) => {
                let settings = self.settings_of(circus, name);
                self.watched(name).set(settings);
            }
            "remove" => {
                self.watched.remove(name);
                self.read.remove(name);
            }
            "start" => {
                if let Some(watched) = self.watched.get_mut(name) {
                    watched.started();
                }
            }
            "stop" => {
                if let Some(watched) = self.watched.get_mut(name) {
                    watched.stopped();
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.watched.values().filter_map(Watched::until).min()
    }

    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        let due = |(_, watched): &(&String, &mut Watched)| {
            watched.until().is_some_and(|until| until <= now)
        };
        for (name, watched) in self.watched.iter_mut().filter(due) {
            // Nothing happens if somebody has stopped or started it meanwhile.
            match circus.call("start", json!({"name": name, "paused": true})) {
                Ok(_) => watched.started(),
                Err(CallError::Refused(failure)) if failure.reason.ends_with("not found") => {
                    watched.started();
                }
                Err(error) => {
                    warn!("{name}: could not be started, trying again: {error}");
                    watched.put_off(Instant::now() + AGAIN);
                }
            }
        }
    }
}
