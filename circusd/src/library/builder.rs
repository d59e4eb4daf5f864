//! From what a program wants to a configuration, by the rules of ini files.

use super::arbiter::Arbiter;
use super::error::{ArbiterError, OptionErrors};
use super::executor::block_on;
use super::section::{Options, Plugin, Socket, Watcher};
use super::thread;
use crate::config::model::{Config, WatcherConfig};
use crate::config::{self, ConfigErrors, Loaded, Sections};
use crate::environment;
use crate::notify::OWN_VARIABLES;
use std::time::Duration;
use tracing::warn;

/// Keys of `[circus]` that are about the process around the arbiter, which is not ours.
const OF_THE_PROCESS: &[&str] = &["umask", "pidfile", "loglevel", "logoutput", "loggerconfig"];

/// Keys of `[circus]` that name files to read.
const OF_FILES: &[&str] = &["include", "include_dir"];

/// Puts an [`Arbiter`] together; made by [`Arbiter::builder`].
///
/// Everything that is not set has circusd's default: commands at `tcp://127.0.0.1:5555`, events at
/// `tcp://127.0.0.1:5556`, discovery by multicast. Two arbiters on one machine need different endpoints.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing runs before the arbiter is started"]
pub struct ArbiterBuilder {
    circus: Options,
    env: Options,
    watchers: Vec<Watcher>,
    sockets: Vec<Socket>,
    plugins: Vec<Plugin>,
}

impl ArbiterBuilder {
    /// Adds a watcher.
    pub fn watcher(mut self, watcher: Watcher) -> Self {
        self.watchers.push(watcher);
        self
    }

    /// Adds a socket.
    pub fn socket(mut self, socket: Socket) -> Self {
        self.sockets.push(socket);
        self
    }

    /// Adds a plugin.
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Sets where commands are taken, `tcp://HOST:PORT` or `ipc://PATH`. Circus calls it `controller`.
    pub fn endpoint(self, endpoint: impl ToString) -> Self {
        self.option("endpoint", endpoint)
    }

    /// Sets where events are published.
    pub fn pubsub_endpoint(self, endpoint: impl ToString) -> Self {
        self.option("pubsub_endpoint", endpoint)
    }

    /// Publishes statistics there, through `circusd-stats`, which must be installed.
    pub fn stats_endpoint(self, endpoint: impl ToString) -> Self {
        self.option("statsd", true).option("stats_endpoint", endpoint)
    }

    /// Sets the UDP address where clients discover this arbiter; empty for none.
    pub fn multicast_endpoint(self, endpoint: impl ToString) -> Self {
        self.option("multicast_endpoint", endpoint)
    }

    /// Sets the longest time between two attempts to start a process that dies at once.
    pub fn check_delay(self, delay: Duration) -> Self {
        self.option("check_delay", delay.as_secs_f64())
    }

    /// Sets a variable of every watcher's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets any option of the `[circus]` section. Those about the whole process are refused: umask, pidfile and
    /// log are this program's own.
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.circus.insert(key.into(), value.to_string());
        self
    }

    /// Starts the arbiter and its watchers; returns when they have been started. It lives on a thread of its own, so this works in every async
    /// runtime, and with [`block_on`](super::block_on) without one.
    ///
    /// Signals stay this program's business: no handler is installed. It should call [`Arbiter::stop`] when it
    /// is told to end, because processes that are not asked to end go on running without it. A start that is
    /// given up halfway stops what it has started.
    ///
    /// # Errors
    /// [`ArbiterError`]: an option cannot be used, a watcher not be made, an endpoint or a socket not be opened.
    /// Nothing is left running then.
    pub async fn start(self) -> Result<Arbiter, ArbiterError> {
        let (environment, left_out) = environment::of_this_process(OWN_VARIABLES);
        for name in left_out {
            warn!("the variable {name} is not UTF-8 and is not passed on");
        }
        let base = Base { sections: self.base()?, environment };
        let config = base.load(&self.watchers, &self.plugins)?;
        thread::start(config, base).await
    }

    /// Starts the arbiter and waits until it has ended: because a client has sent `quit`, as nobody else can tell
    /// it to. For programs that do nothing else.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`ArbiterError::Lost`].
    pub fn run(self) -> Result<(), ArbiterError> {
        block_on(async { self.start().await?.ended().await })
    }

    /// The sections that hold for watchers of later, too.
    fn base(&self) -> Result<Sections, OptionErrors> {
        for (keys, why) in [
            (OF_THE_PROCESS, "is about the whole process, so this program has to see to it itself"),
            (OF_FILES, "has no effect: there is no file to include anything into"),
        ] {
            if let Some(key) = keys.iter().find(|key| self.circus.contains_key(**key)) {
                return Err(OptionErrors::one(format!("[circus] {key} {why}")));
            }
        }
        let mut sections = Sections::new();
        insert(&mut sections, "circus".to_owned(), &self.circus)?;
        insert(&mut sections, "env".to_owned(), &self.env)?;
        for socket in &self.sockets {
            insert(&mut sections, format!("socket:{}", socket.name), &socket.options)?;
        }
        Ok(sections)
    }
}

/// What all watchers are read with.
pub(super) struct Base {
    sections: Sections,
    /// That of this program.
    pub(super) environment: Vec<(String, String)>,
}

impl Base {
    /// The configuration with these watchers and plugins.
    fn load(&self, watchers: &[Watcher], plugins: &[Plugin]) -> Result<Config, OptionErrors> {
        let mut sections = self.sections.clone();
        for watcher in watchers {
            insert(&mut sections, format!("watcher:{}", watcher.name), &watcher.options)?;
            if !watcher.env.is_empty() {
                insert(&mut sections, env_section(&watcher.name)?, &watcher.env)?;
            }
        }
        for plugin in plugins {
            insert(&mut sections, format!("plugin:{}", plugin.name), &plugin.options)?;
        }
        let Loaded { config, warnings, refused } =
            config::of_sections(sections, &self.environment)?;
        if !refused.is_empty() {
            return Err(ConfigErrors { problems: refused }.into());
        }
        for warning in &warnings {
            warn!("{warning}");
        }
        for sentence in config::unserved(&config) {
            warn!("{sentence}");
        }
        Ok(config)
    }

    /// The configuration of a watcher that is added.
    pub(super) fn watcher(&self, watcher: &Watcher) -> Result<WatcherConfig, OptionErrors> {
        let config = self.load(std::slice::from_ref(watcher), &[])?;
        let mut watchers = config.watchers.into_iter();
        // One that cannot be used is an error above, and there is no other.
        watchers.next().ok_or_else(|| OptionErrors::one("the watcher has no options"))
    }
}

fn insert(sections: &mut Sections, name: String, keys: &Options) -> Result<(), OptionErrors> {
    if sections.contains_key(&name) {
        return Err(OptionErrors::one(format!("[{name}] is there twice; give each its own name")));
    }
    // An empty section would be warned about.
    if !keys.is_empty() {
        sections.insert(name, keys.clone());
    }
    Ok(())
}

/// The section for the variables of one watcher. Its name is a list of patterns.
fn env_section(watcher: &str) -> Result<String, OptionErrors> {
    if watcher.contains(',') || watcher.trim() != watcher {
        return Err(OptionErrors::one(format!(
            "[watcher:{watcher}] cannot have variables of its own: its name has a comma, or begins or ends with \
             a blank"
        )));
    }
    let mut section = "env:".to_owned();
    for c in watcher.chars() {
        if matches!(c, '*' | '?' | '[') {
            section.extend(['[', c, ']']);
        } else {
            section.push(c);
        }
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(builder: &ArbiterBuilder) -> Result<Config, OptionErrors> {
        let environment = vec![("HOME".to_owned(), "/home/me".to_owned())];
        let base = Base { sections: builder.base()?, environment };
        base.load(&builder.watchers, &builder.plugins)
    }

    #[test]
    fn what_is_built_is_what_an_ini_file_would_say() {
        let builder = ArbiterBuilder::default()
            .endpoint("ipc:///run/a")
            .check_delay(Duration::from_millis(500))
            .env("EVERY", "1")
            .socket(Socket::tcp("web", "127.0.0.1", 0).option("backlog", 7))
            .plugin(Plugin::new("flap", "circus.plugins.flapping.Flapping").option("attempts", 3))
            .watcher(
                Watcher::new("We[b", "chaussette --fd $(circus.sockets.web)")
                    .numprocesses(3)
                    .env("OWN", "$HOME")
                    .use_sockets(true)
                    .stop_signal("INT")
                    .graceful_timeout(Duration::from_millis(1500))
                    .stdout_file("/var/log/web.log")
                    .option("rlimit_nofile", 64)
                    .option("of_a_plugin", "x"),
            )
            .watcher(Watcher::new("other", "sleep 1"));
        let config = load(&builder).unwrap();
        let text = "[circus]\nendpoint = ipc:///run/a\ncheck_delay = 0.5\n[env]\nEVERY = 1\n\
            [socket:web]\nhost = 127.0.0.1\nport = 0\nbacklog = 7\n\
            [plugin:flap]\nuse = circus.plugins.flapping.Flapping\nattempts = 3\n\
            [watcher:web]\nname = We[b\ncmd = chaussette --fd $(circus.sockets.web)\nnumprocesses = 3\n\
            use_sockets = 1\nstop_signal = INT\ngraceful_timeout = 1.5\n\
            stdout_stream.filename = /var/log/web.log\nrlimit_nofile = 64\nof_a_plugin = x\n\
            [env:We[[]b]\nOWN = $HOME\n[watcher:other]\ncmd = sleep 1\n";
        // The first `]` ends a header, so a file cannot have that section.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("circus.ini");
        std::fs::write(&path, text.replace("We[[]b]", "We?b]")).unwrap();
        let mut read = config::load(&path, &[("HOME".to_owned(), "/home/me".to_owned())]).unwrap();
        for watcher in &mut read.config.watchers {
            watcher.written.remove("name");
        }
        read.config.path = None;
        assert_eq!(config, read.config);
    }

    #[test]
    fn what_is_wrong_is_named_by_section_and_key() {
        let sentence = |builder: ArbiterBuilder| load(&builder).unwrap_err().to_string();
        let watcher = |watcher| ArbiterBuilder::default().watcher(watcher);
        assert_eq!(
            sentence(watcher(Watcher::new("a", "x").option("max_age", "old"))),
            "[watcher:a] max_age = old: not a whole number"
        );
        assert_eq!(
            sentence(watcher(Watcher::new("a", " "))),
            "[watcher:a] cmd = \"\": a watcher needs a command"
        );
        let twice = watcher(Watcher::new("a", "x")).watcher(Watcher::new("a", "y"));
        assert_eq!(sentence(twice), "[watcher:a] is there twice; give each its own name");
        let both = watcher(Watcher::new("a", "x")).watcher(Watcher::new("A", "y"));
        assert!(sentence(both).contains("names that differ only in case clash"));
        let umask = ArbiterBuilder::default().option("umask", "022");
        assert!(sentence(umask).starts_with("[circus] umask is about the whole process"));
        let env = watcher(Watcher::new("a,b", "x").env("A", "1"));
        assert!(sentence(env).starts_with("[watcher:a,b] cannot have variables"));
        let port = ArbiterBuilder::default().socket(Socket::tcp("s", "::", 1).option("port", "x"));
        assert_eq!(sentence(port), "[socket:s] port = x: not a whole number");
    }
}
