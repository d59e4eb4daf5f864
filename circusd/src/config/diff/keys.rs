//! Which keys of two sections differ, in the words of the ini file.
//!
//! What counts is what a key means, not how it is written: a default that is spelled out changes nothing,
//! and a key that is added or removed is a change like any other. Values are not repeated, they may be
//! secret.

use crate::config::model::{CircusConfig, SocketConfig, WatcherConfig};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

/// Compares two structs field by field. A field that is in no list does not compile, so none is forgotten.
macro_rules! compare {
    ($list:ident: $type:ident in $function:ident {
        keys: [$($key:ident $(as $shown:literal)?),* $(,)?],
        groups: [$($group:ident => $prefix:literal),* $(,)?],
        ignored: [$($ignored:ident),* $(,)?] $(,)?
    }) => {
        /// The keys that are compared, as they are written; `*` stands for the rest of a name. The tests hold
        /// the documentation to them.
        #[cfg(test)]
        pub const $list: &[&str] = &[
            $(shown!($key $(as $shown)?),)*
            $(concat!($prefix, "*"),)*
        ];

        /// The keys that mean something else in `new`.
        pub(super) fn $function(old: &$type, new: &$type) -> Vec<String> {
            let $type { $($key: _,)* $($group: _,)* $($ignored: _,)* } = old;
            let mut found: Vec<String> = Vec::new();
            $(if old.$key != new.$key { found.push(shown!($key $(as $shown)?).to_owned()); })*
            $(found.extend(old.$group.changed(&new.$group).into_iter()
                .map(|key| format!(concat!($prefix, "{}"), key)));)*
            found
        }
    };
}

macro_rules! shown {
    ($key:ident) => {
        stringify!($key)
    };
    ($key:ident as $shown:literal) => {
        $shown
    };
}

compare!(WATCHER_KEYS: WatcherConfig in of_watcher {
    keys: [
        name, cmd, args, numprocesses, warmup_delay, executable, working_dir, on_demand, shell,
        shell_args, uid, gid, send_hup, stop_signal, stop_children, max_retry, graceful_timeout,
        priority, use_sockets, singleton, copy_env, copy_path, respawn, autostart, use_papa, max_age,
        max_age_variance, close_child_stdin, close_child_stdout, close_child_stderr, stdin_socket,
        virtualenv, virtualenv_py_ver, hook_timeout as "hooks.timeout",
    ],
    groups: [
        rlimits => "rlimit_",
        hooks => "hooks.",
        stdout_stream => "stdout_stream.",
        stderr_stream => "stderr_stream.",
        env => "env.",
        free => "",
    ],
    ignored: [written, hook_env],
});

compare!(SOCKET_KEYS: SocketConfig in of_socket {
    keys: [
        host, port, family, kind as "type", proto, backlog, path, umask, replace, interface,
        so_reuseport, blocking, use_papa,
    ],
    groups: [],
    ignored: [name, outdated, raw],
});

compare!(CIRCUS_KEYS: CircusConfig in of_circus {
    keys: [
        check_delay, endpoint, endpoint_owner, pubsub_endpoint, multicast_endpoint, stats_endpoint,
        stats_interval, statsd, umask, warmup_delay, httpd, httpd_host, httpd_port, debug, debug_gc, metrics_endpoint, pidfile, loglevel,
        logoutput, loggerconfig, python, python_path, allow_remote_python, fqdn_prefix, papa_endpoint, use_papa,
    ],
    groups: [],
    ignored: [],
});

/// A group of keys that share a prefix.
trait Group {
    /// Those that were added, removed or changed.
    fn changed(&self, new: &Self) -> BTreeSet<String>;
}

impl<V: PartialEq> Group for IndexMap<String, V> {
    fn changed(&self, new: &Self) -> BTreeSet<String> {
        let keys = self.keys().chain(new.keys());
        keys.filter(|key| self.get(*key) != new.get(*key)).cloned().collect()
    }
}

impl<V: PartialEq> Group for BTreeMap<String, V> {
    fn changed(&self, new: &Self) -> BTreeSet<String> {
        let keys = self.keys().chain(new.keys());
        keys.filter(|key| self.get(*key) != new.get(*key)).cloned().collect()
    }
}
