//! What a section means when a key is missing, as measured on circus 0.17.2.

use super::model::{CircusConfig, SocketConfig, WatcherConfig};
use indexmap::IndexMap;
use protocol::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};

impl Default for CircusConfig {
    fn default() -> Self {
        Self {
            check_delay: 5.0,
            endpoint: "tcp://127.0.0.1:5555".to_owned(),
            endpoint_owner: None,
            pubsub_endpoint: "tcp://127.0.0.1:5556".to_owned(),
            multicast_endpoint: "udp://237.219.251.97:12027".to_owned(),
            stats_endpoint: Some("tcp://127.0.0.1:5557".to_owned()),
            stats_interval: 1.0,
            statsd: false,
            umask: None,
            warmup_delay: 0,
            httpd: false,
            httpd_host: "localhost".to_owned(),
            httpd_port: 8080,
            debug: false,
            debug_gc: false,
            metrics_endpoint: None,
            pidfile: None,
            loglevel: None,
            logoutput: None,
            loggerconfig: None,
            python: None,
            python_path: None,
            allow_remote_python: true,
            fqdn_prefix: None,
            use_papa: false,
            papa_endpoint: None,
        }
    }
}

impl SocketConfig {
    /// The umask a unix socket is bound with when none is given; makes its mode 0767.
    pub const DEFAULT_UMASK: u32 = 0o010;
}

impl WatcherConfig {
    /// A watcher of which nothing but name and command was said.
    #[must_use]
    pub fn new(name: impl Into<String>, cmd: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cmd: cmd.into(),
            args: String::new(),
            numprocesses: 1,
            warmup_delay: 0.0,
            executable: None,
            working_dir: None,
            on_demand: false,
            shell: false,
            shell_args: None,
            uid: None,
            gid: None,
            send_hup: false,
            stop_signal: Signal::TERM,
            stop_children: false,
            max_retry: 5,
            graceful_timeout: 30.0,
            rlimits: BTreeMap::new(),
            stdout_stream: IndexMap::new(),
            stderr_stream: IndexMap::new(),
            priority: 0,
            use_sockets: false,
            singleton: false,
            copy_env: false,
            copy_path: false,
            hooks: IndexMap::new(),
            hook_timeout: 30.0,
            respawn: true,
            autostart: true,
            use_papa: false,
            env: IndexMap::new(),
            hook_env: None,
            max_age: 0,
            max_age_variance: 30,
            close_child_stdin: true,
            close_child_stdout: false,
            close_child_stderr: false,
            stdin_socket: None,
            virtualenv: None,
            virtualenv_py_ver: None,
            free: IndexMap::new(),
            written: BTreeSet::new(),
        }
    }
}
