//! What an arbiter is to have: watchers, sockets and plugins, each with the keys that its section in an ini file
//! would have. Nothing is checked here.

use indexmap::IndexMap;
use std::path::Path;
use std::time::Duration;

/// Keys and values as in an ini file.
pub(super) type Options = IndexMap<String, String>;

/// A program and how many processes of it are kept running.
///
/// It has the options of a `[watcher:NAME]` section and their defaults: one process, respawned when it ends,
/// stopped by SIGTERM and after 30 seconds by SIGKILL, with an empty environment. The common ones have methods,
/// all others are set with [`option`](Self::option). What is wrong is said when the arbiter gets it.
///
/// ```
/// use circusd::Watcher;
/// use std::time::Duration;
///
/// let web = Watcher::new("web", "python3 -m http.server 8080")
///     .numprocesses(2)
///     .copy_env(true)
///     .graceful_timeout(Duration::from_secs(5))
///     .option("rlimit_nofile", 4096);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a watcher does nothing until an arbiter has it"]
pub struct Watcher {
    pub(super) name: String,
    pub(super) options: Options,
    pub(super) env: Options,
}

impl Watcher {
    /// A watcher of this name that runs this command. The command is split into words as by a shell, and may
    /// hold `$(circus.wid)`, `$(circus.sockets.NAME)` and `$(circus.env.NAME)`.
    pub fn new(name: impl Into<String>, cmd: impl Into<String>) -> Self {
        let options = Options::from_iter([("cmd".to_owned(), cmd.into())]);
        Self { name: name.into(), options, env: Options::new() }
    }

    /// Sets any option, by the name that it has in an ini file: `max_age`, `rlimit_nofile`,
    /// `stdout_stream.filename`, `hooks.before_start`. A name that means nothing to circusd is kept for plugins.
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.options.insert(key.into(), value.to_string());
        self
    }

    /// Sets further words of the command.
    pub fn args(self, args: impl ToString) -> Self {
        self.option("args", args)
    }

    /// Sets how many processes are kept running.
    pub fn numprocesses(self, number: u32) -> Self {
        self.option("numprocesses", number)
    }

    /// Sets a variable of the processes' environment. `$NAME` in it is replaced from this program's.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Lets the processes have this program's environment, below their own variables.
    pub fn copy_env(self, copy: bool) -> Self {
        self.option("copy_env", copy)
    }

    /// Sets the working directory of the processes; without one it is this program's.
    pub fn working_dir(self, folder: impl AsRef<Path>) -> Self {
        self.option("working_dir", folder.as_ref().display())
    }

    /// Runs the command through `/bin/sh`, each of its words quoted, as Circus does. What the shell shall
    /// understand goes into one word: `sh -c 'first; second'`, for which this is not needed.
    pub fn shell(self, shell: bool) -> Self {
        self.option("shell", shell)
    }

    /// Runs the processes as this user, by name or number. Needs privileges.
    pub fn uid(self, user: impl ToString) -> Self {
        self.option("uid", user)
    }

    /// Runs the processes with this group, by name or number. Needs privileges.
    pub fn gid(self, group: impl ToString) -> Self {
        self.option("gid", group)
    }

    /// Sets the signal that asks a process to end, by name or number.
    pub fn stop_signal(self, signal: impl ToString) -> Self {
        self.option("stop_signal", signal)
    }

    /// Sets how long a process that was asked to end may take before it is killed.
    pub fn graceful_timeout(self, time: Duration) -> Self {
        self.option("graceful_timeout", time.as_secs_f64())
    }

    /// Sends the stop signal to the children of a process as well.
    pub fn stop_children(self, stop: bool) -> Self {
        self.option("stop_children", stop)
    }

    /// Sets how often in a row a start may fail before the watcher is stopped; -1 means for ever.
    pub fn max_retry(self, times: i32) -> Self {
        self.option("max_retry", times)
    }

    /// Sets the priority: watchers with bigger ones start earlier and stop later.
    pub fn priority(self, priority: i32) -> Self {
        self.option("priority", priority)
    }

    /// Starts the watcher with the arbiter, or when it is added; without it when it is told to.
    pub fn autostart(self, start: bool) -> Self {
        self.option("autostart", start)
    }

    /// Replaces processes that end.
    pub fn respawn(self, respawn: bool) -> Self {
        self.option("respawn", respawn)
    }

    /// Allows one process at most.
    pub fn singleton(self, singleton: bool) -> Self {
        self.option("singleton", singleton)
    }

    /// Leaves the file descriptors of the arbiter's sockets open in the processes. Their numbers are
    /// `$(circus.sockets.NAME)` in the command.
    pub fn use_sockets(self, use_sockets: bool) -> Self {
        self.option("use_sockets", use_sockets)
    }

    /// Runs the processes in the papa kernel, so that they outlive this program; the next arbiter with the same
    /// endpoint takes them over.
    pub fn use_papa(self, use_papa: bool) -> Self {
        self.option("use_papa", use_papa)
    }

    /// Appends what the processes print on stdout to this file. Other classes and rotation are options:
    /// `stdout_stream.class`, `stdout_stream.max_bytes` and so on.
    pub fn stdout_file(self, path: impl AsRef<Path>) -> Self {
        self.option("stdout_stream.filename", path.as_ref().display())
    }

    /// Appends what the processes print on stderr to this file.
    pub fn stderr_file(self, path: impl AsRef<Path>) -> Self {
        self.option("stderr_stream.filename", path.as_ref().display())
    }

    /// Runs a program, or calls a Python function, at a point of the watcher's life such as `before_start`; see
    /// `docs/hooks.md`. It has to succeed, or the step is not taken.
    pub fn hook(self, point: impl AsRef<str>, target: impl ToString) -> Self {
        self.option(format!("hooks.{}", point.as_ref()), target)
    }
}

/// A listening socket that the arbiter opens and its watchers' processes share.
///
/// It has the options of a `[socket:NAME]` section. A watcher uses it with `use_sockets` and
/// `$(circus.sockets.NAME)`.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a socket is not opened until an arbiter has it"]
pub struct Socket {
    pub(super) name: String,
    pub(super) options: Options,
}

impl Socket {
    /// A TCP socket at this address; port 0 means any free one.
    pub fn tcp(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), options: Options::new() }
            .option("host", host.into())
            .option("port", port)
    }

    /// A stream socket at this path. The file is removed when the arbiter ends. While it is bound, the umask of
    /// the whole process is for a moment that of the socket.
    pub fn unix(name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        Self { name: name.into(), options: Options::new() }.option("path", path.as_ref().display())
    }

    /// Sets any option, by the name that it has in an ini file: `backlog`, `umask`, `so_reuseport`.
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.options.insert(key.into(), value.to_string());
        self
    }
}

/// A plugin: a program that listens to the arbiter's events and sends it commands.
///
/// It has the options of a `[plugin:NAME]` section, which hold those of the plugin itself.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a plugin is not run until an arbiter has it"]
pub struct Plugin {
    pub(super) name: String,
    pub(super) options: Options,
}

impl Plugin {
    /// A plugin of this name and class, as in `use`: one of Circus' own (`circus.plugins.flapping.Flapping`) or
    /// a Python class.
    pub fn new(name: impl Into<String>, class: impl Into<String>) -> Self {
        Self { name: name.into(), options: Options::new() }.option("use", class.into())
    }

    /// Sets an option of the plugin, or of the watcher that runs it.
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.options.insert(key.into(), value.to_string());
        self
    }
}
