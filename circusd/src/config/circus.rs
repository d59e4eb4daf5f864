//! Reads `[circus]`.

use super::env::EnvNames;
use super::ini::Ini;
use super::model::CircusConfig;
use super::near_miss;
use super::problem::{Report, Severity};
use super::reader::SectionReader;
use super::values;

const SECTION: &str = "circus";

/// The keys that are read.
const KNOWN: &[&str] = &[
    "check_delay",
    "endpoint",
    "endpoint_owner",
    "pubsub_endpoint",
    "multicast_endpoint",
    "papa_endpoint",
    "use_papa",
    "statsd",
    "stats_endpoint",
    "stats_interval",
    "include",
    "include_dir",
    "warmup_delay",
    "httpd",
    "httpd_host",
    "httpd_port",
    "debug",
    "debug_gc",
    "metrics_endpoint",
    "pidfile",
    "umask",
    "loglevel",
    "logoutput",
    "loggerconfig",
    "python",
    "python_path",
    "allow_remote_python",
    "fqdn_prefix",
];

/// Keys of old or other programs that are accepted and do nothing, as in circus.
const WITHOUT_EFFECT: &[&str] = &[
    "statsd_close_outputs",
    "httpd_close_outputs",
    "stream_backend",
    "ssh_server",
    "proc_name",
    "prereload_fn",
    "daemonize",
];

/// The log levels.
const LEVELS: &[&str] = &["critical", "error", "warning", "info", "debug"];

/// Reads the section; without one everything has its default.
pub(crate) fn read(ini: &Ini, names: &EnvNames, report: &mut Report) -> CircusConfig {
    let mut config = CircusConfig::default();
    let Some(mut keys) = SectionReader::open(ini, SECTION, report) else {
        return config;
    };
    let error = Severity::Error;
    config.check_delay = keys.value(error, "check_delay", names, config.check_delay, values::float);
    config.warmup_delay =
        keys.value(error, "warmup_delay", names, config.warmup_delay, values::integer);
    config.umask = keys.optional(error, "umask", names, values::umask);
    config.httpd = keys.value(error, "httpd", names, config.httpd, values::boolean);
    config.httpd_port = keys.value(error, "httpd_port", names, config.httpd_port, values::integer);
    config.debug = keys.value(error, "debug", names, config.debug, values::boolean);
    config.use_papa = keys.value(error, "use_papa", names, config.use_papa, values::boolean);
    config.debug_gc = keys.value(error, "debug_gc", names, config.debug_gc, values::boolean);

    let or = |text: Option<String>, default: String| text.unwrap_or(default);
    config.endpoint = keys.value(error, "endpoint", names, config.endpoint, values::endpoint);
    config.pubsub_endpoint =
        keys.value(error, "pubsub_endpoint", names, config.pubsub_endpoint, values::endpoint);
    config.multicast_endpoint =
        or(keys.raw("multicast_endpoint", names), config.multicast_endpoint);
    config.httpd_host = or(keys.raw("httpd_host", names), config.httpd_host);
    config.endpoint_owner = keys.text("endpoint_owner", names);
    config.papa_endpoint = keys.text("papa_endpoint", names);
    config.metrics_endpoint = keys.text("metrics_endpoint", names);
    config.pidfile = keys.text("pidfile", names);
    config.loglevel = keys.text("loglevel", names);
    config.logoutput = keys.text("logoutput", names);
    config.loggerconfig = keys.text("loggerconfig", names);
    config.python = keys.text("python", names);
    config.python_path = keys.text("python_path", names);
    config.allow_remote_python = keys.value(
        error,
        "allow_remote_python",
        names,
        config.allow_remote_python,
        values::boolean,
    );
    config.fqdn_prefix = keys.text("fqdn_prefix", names);
    read_stats(&mut keys, names, &mut config);
    warn(&mut keys, &config);
    config
}

/// An endpoint switches the statistics on unless `statsd` says otherwise.
fn read_stats(keys: &mut SectionReader<'_>, names: &EnvNames, config: &mut CircusConfig) {
    let asked = keys.optional(Severity::Error, "statsd", names, values::boolean);
    let endpoint = keys.text("stats_endpoint", names);
    config.statsd = asked.unwrap_or(endpoint.is_some());
    if asked != Some(true) && endpoint.is_some() {
        let message = if config.statsd {
            "switches the statistics on; say `statsd = true` as well"
        } else {
            "has no effect with `statsd = false`"
        };
        keys.key_problem(Severity::Warning, "stats_endpoint", None, message);
    }
    if let Some(endpoint) = endpoint {
        match values::endpoint(&endpoint) {
            Err(message) if config.statsd => {
                keys.key_problem(Severity::Error, "stats_endpoint", Some(endpoint), message);
            }
            Ok(endpoint) => config.stats_endpoint = Some(endpoint),
            Err(_) => config.stats_endpoint = Some(endpoint),
        }
    }
    config.stats_interval = keys.value(
        Severity::Error,
        "stats_interval",
        names,
        config.stats_interval,
        values::stats_interval,
    );
}

fn warn(keys: &mut SectionReader<'_>, config: &CircusConfig) {
    if let Some(level) = &config.loglevel
        && !LEVELS.contains(&level.to_lowercase().as_str())
    {
        let message = "not a log level; info is used instead";
        keys.key_problem(Severity::Warning, "loglevel", Some(level.clone()), message);
    }
    let own: Vec<String> = keys
        .entries
        .iter()
        .filter(|(_, entry)| !entry.inherited)
        .map(|(key, _)| key.clone())
        .filter(|key| !KNOWN.contains(&key.as_str()))
        .collect();
    for key in own {
        let message = if WITHOUT_EFFECT.contains(&key.as_str()) {
            "has no effect".to_owned()
        } else {
            match near_miss::nearest(&key, KNOWN) {
                Some(known) => format!("not a known key; did you mean `{known}`?"),
                None => "not a known key of this section; it is ignored".to_owned(),
            }
        };
        keys.key_problem(Severity::Warning, &key, None, message);
    }
}
