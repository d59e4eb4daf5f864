//! The resolved configuration, one struct per kind of section.
//!
//! Produced by `config::load`, consumed by the arbiter. Holds what the user wrote with defaults filled
//! in and `$(circus.env.X)` replaced; what is only known at spawn time (`$(circus.wid)`, sockets) is
//! still in the text of `cmd` and `args`.

use indexmap::IndexMap;
use protocol::signal::Signal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Everything one `circus.ini` and its includes say, or a program that has an arbiter of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The main file, as it was named; none if a program has built the configuration.
    pub path: Option<PathBuf>,
    /// `[circus]`.
    pub circus: CircusConfig,
    /// `[watcher:*]`, sorted by name (code points).
    pub watchers: Vec<WatcherConfig>,
    /// `[socket:*]`, sorted by name.
    pub sockets: Vec<SocketConfig>,
    /// `[plugin:*]`, sorted by name.
    pub plugins: Vec<PluginConfig>,
}

/// `[circus]`. Defaults are those measured on circus 0.17.2.
#[derive(Debug, Clone, PartialEq)]
pub struct CircusConfig {
    /// Seconds between periodic checks; also the ceiling of the respawn delay.
    pub check_delay: f64,
    /// ROUTER endpoint.
    pub endpoint: String,
    /// User that owns an `ipc://` endpoint.
    pub endpoint_owner: Option<String>,
    /// PUB endpoint.
    pub pubsub_endpoint: String,
    /// UDP discovery; empty switches it off.
    pub multicast_endpoint: String,
    /// Endpoint of circusd-stats.
    pub stats_endpoint: Option<String>,
    /// Seconds between two rounds of circusd-stats.
    pub stats_interval: f64,
    /// Run circusd-stats.
    pub statsd: bool,
    /// Umask of circusd and of its direct children.
    pub umask: Option<u32>,
    /// Seconds to pause after each watcher's start.
    pub warmup_delay: i64,
    /// Run the web console.
    pub httpd: bool,
    /// Where the web console listens.
    pub httpd_host: String,
    /// Where the web console listens.
    pub httpd_port: i64,
    /// Debug mode of the helpers.
    pub debug: bool,
    /// Accepted, without effect.
    pub debug_gc: bool,
    /// Where to serve metrics, `HOST:PORT`; none means nowhere.
    pub metrics_endpoint: Option<String>,
    /// Where to write the pid.
    pub pidfile: Option<String>,
    /// critical, error, warning, info or debug.
    pub loglevel: Option<String>,
    /// `-`, a file or a syslog URL.
    pub logoutput: Option<String>,
    /// A logger configuration file.
    pub loggerconfig: Option<String>,
    /// The Python that runs hooks; none means the usual one.
    pub python: Option<String>,
    /// Where users' Python looks for modules after everything else; `:` between directories.
    pub python_path: Option<String>,
    /// Commands may set hooks and stream classes, which run as circusd's user.
    pub allow_remote_python: bool,
    /// Prefix of the host name.
    pub fqdn_prefix: Option<String>,
    /// Watchers and sockets that do not say otherwise live in the papa kernel.
    pub use_papa: bool,
    /// Where the papa kernel listens; none means its default, `tcp://127.0.0.1:20202`.
    pub papa_endpoint: Option<String>,
}

/// How many processes a watcher may want at most: Linux has no pids for more (proc_sys_kernel(5), `pid_max`), and a
/// number with some digits too many must not keep circusd busy with counting.
pub const MOST_PROCESSES: u32 = 4_194_304;

/// `[watcher:NAME]`. Its JSON form is part of the notes that circusd keeps in the kernel (`watcher::intent`): a
/// field that is renamed is forgotten by an upgrade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatcherConfig {
    /// The watcher's name, as written.
    pub name: String,
    /// The command, with spawn-time references still in it.
    pub cmd: String,
    /// More words of the command.
    pub args: String,
    /// Processes wanted; negative counts as 0.
    pub numprocesses: i64,
    /// Seconds to wait after each spawn.
    #[serde(with = "super::stored::seconds")]
    pub warmup_delay: f64,
    /// Accepted, without effect (as in the original).
    pub executable: Option<String>,
    /// Working directory; none means that of circusd.
    pub working_dir: Option<String>,
    /// Start only when a socket becomes readable.
    pub on_demand: bool,
    /// Run through `/bin/sh -c`, words quoted again.
    pub shell: bool,
    /// Arguments of the shell.
    pub shell_args: Option<String>,
    /// User name or number.
    pub uid: Option<String>,
    /// Group name or number.
    pub gid: Option<String>,
    /// Reload by SIGHUP.
    pub send_hup: bool,
    /// The signal that asks a process to end.
    #[serde(with = "super::stored::signal")]
    pub stop_signal: Signal,
    /// Send the stop signal to the children too.
    pub stop_children: bool,
    /// Failed attempts to start before the watcher is stopped; negative means no limit.
    pub max_retry: i64,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(with = "super::stored::seconds")]
    pub graceful_timeout: f64,
    /// Limits by lower-case name (`nofile`); none means unlimited.
    pub rlimits: BTreeMap<String, Option<i64>>,
    /// Options of the stdout stream, `class` included; empty means no stream.
    pub stdout_stream: IndexMap<String, String>,
    /// Options of the stderr stream.
    pub stderr_stream: IndexMap<String, String>,
    /// Bigger ones start first.
    pub priority: i64,
    /// Leave the fds of the sockets open in the processes.
    pub use_sockets: bool,
    /// At most one process.
    pub singleton: bool,
    /// Start from circusd's environment.
    pub copy_env: bool,
    /// Pass the Python module path on.
    pub copy_path: bool,
    /// Hooks by name.
    pub hooks: IndexMap<String, HookConfig>,
    /// Seconds that a hook may take; 0 means no limit.
    pub hook_timeout: f64,
    /// Replace processes that end.
    pub respawn: bool,
    /// Start with circusd.
    pub autostart: bool,
    /// Run the processes in the papa kernel.
    pub use_papa: bool,
    /// The environment as the file gives it, before `copy_env` and `$NAME`.
    pub env: IndexMap<String, String>,
    /// What a hook made of the whole environment; takes the place of everything else.
    pub hook_env: Option<IndexMap<String, String>>,
    /// Seconds after which a process is replaced; 0 means never.
    pub max_age: i64,
    /// Up to so many seconds more, drawn per process.
    pub max_age_variance: i64,
    /// stdin is /dev/null.
    pub close_child_stdin: bool,
    /// stdout is /dev/null.
    pub close_child_stdout: bool,
    /// stderr is /dev/null.
    pub close_child_stderr: bool,
    /// Socket placed at fd 0.
    pub stdin_socket: Option<String>,
    /// Directory of a Python virtualenv.
    pub virtualenv: Option<String>,
    /// Python version of the virtualenv, `3.11`.
    pub virtualenv_py_ver: Option<String>,
    /// Options circus does not know, for plugins.
    pub free: IndexMap<String, String>,
    /// The keys that the file really gives (not defaults).
    #[serde(skip)]
    pub written: BTreeSet<String>,
}

/// One `hooks.NAME` key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookConfig {
    /// Dotted Python name or command.
    pub target: String,
    /// A failure counts as success.
    pub ignore_failure: bool,
}

/// `[socket:NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketConfig {
    /// Lower-cased.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// 0 means any free port.
    pub port: u16,
    /// Address family.
    pub family: SocketFamily,
    /// Socket type.
    pub kind: SocketKind,
    /// Protocol name (`tcp`), normally none.
    pub proto: Option<String>,
    /// Length of the accept queue.
    pub backlog: i32,
    /// Unix path; its presence makes the family unix.
    pub path: Option<String>,
    /// Umask while a unix socket is bound.
    pub umask: u32,
    /// Remove a path that exists.
    pub replace: bool,
    /// Bind to this network interface.
    pub interface: Option<String>,
    /// One listening socket per process.
    pub so_reuseport: bool,
    /// Without O_NONBLOCK.
    pub blocking: bool,
    /// Hold it in the papa kernel.
    pub use_papa: bool,
    /// The kernel holds it from before, with other settings than these. Never so in a file.
    pub outdated: bool,
    /// All keys as written, for comparison and `--dump-config`.
    pub raw: IndexMap<String, String>,
}

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketFamily {
    /// AF_INET.
    Inet,
    /// AF_INET6.
    Inet6,
    /// AF_UNIX.
    Unix,
}

/// Type of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// SOCK_STREAM.
    Stream,
    /// SOCK_DGRAM.
    Dgram,
    /// SOCK_RAW.
    Raw,
    /// SOCK_RDM.
    Rdm,
    /// SOCK_SEQPACKET.
    Seqpacket,
}

/// `[plugin:NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// The whole section name, `plugin:NAME`.
    pub name: String,
    /// The dotted class.
    pub use_class: String,
    /// Bigger ones start first; 1 by default.
    pub priority: i64,
    /// Every key of the section.
    pub options: IndexMap<String, String>,
    /// The environment that the file gives it, before `$NAME` is replaced.
    pub env: IndexMap<String, String>,
}
