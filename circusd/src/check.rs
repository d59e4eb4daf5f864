//! What `circusd --check` finds that loading the file does not: settings are shown to those who would use them.
//! Starts, opens and changes nothing.

use crate::arbiter::build;
use crate::cause::chain;
use crate::config::model::{CircusConfig, Config, WatcherConfig};
use crate::config::{self, SpawnContext, SpawnPlanError};
use crate::controller::discovery;
use crate::metrics::server;
use crate::papa::endpoint::{BadEndpoint, PapaEndpoint};
use crate::stream::sink;
use papa_spawn::users;
use std::collections::BTreeMap;
use std::path::Path;

/// What would not work as it is written, a sentence each; circusd starts all the same.
///
/// # Errors
/// [`BadEndpoint`]: circusd would not start.
pub fn doubts(
    config: &Config,
    environment: &[(String, String)],
) -> Result<Vec<String>, BadEndpoint> {
    if build::needs_kernel(config) {
        PapaEndpoint::parse(config.circus.papa_endpoint.as_deref())?;
    }
    let mut doubts = config::unserved(config);
    doubts.extend(of_circus(&config.circus).map(|doubt| format!("[circus] {doubt}")));
    for watcher in &config.watchers {
        let about = |doubt: String| format!("[watcher:{}] {doubt}", watcher.name);
        doubts.extend(of_process(config, watcher, environment).into_iter().map(about));
        doubts.extend(of_streams(watcher).map(about));
    }
    Ok(doubts)
}

/// What circusd itself would be held up by, or go on without.
fn of_circus(circus: &CircusConfig) -> impl Iterator<Item = String> {
    let CircusConfig { endpoint, pubsub_endpoint, multicast_endpoint, .. } = circus;
    let metrics = circus.metrics_endpoint.as_ref().filter(|place| server::place(place).is_none());
    let owner = circus.endpoint_owner.as_ref().filter(|_| endpoint.starts_with("ipc://"));
    let owner = owner.filter(|owner| users::user_number(owner).is_none());
    let any_port = endpoint.starts_with("tcp://") && endpoint.ends_with(":0");
    let twice = endpoint == pubsub_endpoint && !any_port;
    [
        twice.then(|| format!("pubsub_endpoint = {endpoint}: is that of `endpoint`, too; circusd will not start")),
        owner.map(|owner| format!("endpoint_owner = {owner}: there is no such user; circusd will not start")),
        metrics.map(|place| {
            format!("metrics_endpoint = {place}: {}; there will be no metrics", server::NO_PLACE)
        }),
        discovery::check(multicast_endpoint)
            .err()
            .map(|_| format!("multicast_endpoint = {multicast_endpoint}: not udp://GROUP:PORT with a group in 224.0.0.0/4; there will be no discovery")),
    ]
    .into_iter()
    .flatten()
}

/// What a process would be started with.
fn of_process(
    config: &Config,
    watcher: &WatcherConfig,
    environment: &[(String, String)],
) -> Vec<String> {
    // Any number will do for a socket.
    let sockets: BTreeMap<String, String> =
        config.sockets.iter().map(|socket| (socket.name.to_lowercase(), "0".to_owned())).collect();
    let context = SpawnContext { environment, sockets: &sockets, cwd: Path::new("/") };
    match config::plan(watcher, 1, &context) {
        Ok(plan) => {
            let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
            let named = |name: Option<String>| name.filter(|name| !is_number(name));
            let user = named(plan.uid).filter(|user| users::user_number(user).is_none());
            let group = named(plan.gid).filter(|group| users::group_number(group).is_none());
            let mut doubts = plan.warnings;
            doubts.extend(user.map(|user| format!("uid = {user}: there is no such user")));
            doubts.extend(group.map(|group| format!("gid = {group}: there is no such group")));
            doubts
        }
        // A directory that is not there yet may be there at the start, and is no slip in the file.
        Err(SpawnPlanError::Virtualenv { .. }) => Vec::new(),
        Err(error) => vec![format!("cannot be started: {}", chain(&error))],
    }
}

/// What the streams would refuse. Classes of the user's are Python's business.
fn of_streams(watcher: &WatcherConfig) -> impl Iterator<Item = String> {
    let streams = [("stdout", &watcher.stdout_stream), ("stderr", &watcher.stderr_stream)];
    streams.into_iter().filter_map(|(name, options)| {
        let foreign = options.get("class").is_some_and(|class| class.contains('.'));
        if options.is_empty() || foreign {
            return None;
        }
        let error = sink::from_options(options).err()?;
        Some(format!("{name}_stream: {error}; the watcher is left out"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts_about(sections: &str) -> Result<Vec<String>, BadEndpoint> {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("circus.ini");
        std::fs::write(&path, sections).expect("writable");
        let loaded = config::load(&path, &[]).expect("a file that can be used");
        doubts(&loaded.config, &[])
    }

    #[test]
    fn nothing_is_said_about_a_file_that_is_right() {
        let text = "[socket:s]\nport = 0\n[watcher:a]\ncmd = x --fd $(circus.sockets.S)\nuid = 0\n\
                    stdout_stream.filename = /no/such/x.log\nstderr_stream.class = my.Stream\n\
                    stderr_stream.filename =\n[watcher:b]\ncmd = x\ncopy_env = true\nvirtualenv = /no/such\n";
        assert_eq!(doubts_about(text), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_work_is_named_with_its_watcher() {
        let text = "[circus]\nhttpd = true\n[watcher:a]\ncmd = x \"1\n[watcher:b]\ncmd = x $(circus.sockets.nope)\n\
                    uid = nobody-of-this-name\ngid = 0\nstdout_stream.filename = x\n\
                    stdout_stream.time_format = %Q%\n";
        let expected = [
            "[circus] httpd is not served by this version and has no effect",
            "[watcher:a] cannot be started: `cmd` of watcher `a` cannot be split into words: no closing \
             quotation",
            "[watcher:b] `cmd` names socket `nope`, which this watcher cannot use",
            "[watcher:b] uid = nobody-of-this-name: there is no such user",
            "[watcher:b] stdout_stream: `time_format = %Q%` cannot be used; give a strftime format such as \
             %Y-%m-%d %H:%M:%S; the watcher is left out",
        ];
        assert_eq!(doubts_about(text).expect("it starts"), expected);
    }

    #[test]
    fn what_circusd_cannot_use_itself_is_named_with_its_key() {
        let text = "[circus]\nendpoint = ipc:///x\npubsub_endpoint = ipc:///x\nmetrics_endpoint = abc\n\
                    multicast_endpoint = udp://1.2.3.4:5\nendpoint_owner = nobody-of-this-name\n\
                    [watcher:a]\ncmd = x\n";
        let doubts = doubts_about(text).expect("a file that can be used");
        let keys: Vec<_> = doubts.iter().filter_map(|doubt| doubt.split(" = ").next()).collect();
        let expected =
            ["pubsub_endpoint", "endpoint_owner", "metrics_endpoint", "multicast_endpoint"];
        assert_eq!(keys, expected.map(|key| format!("[circus] {key}")));
        let twice =
            "[circus]\nendpoint = tcp://*:0\npubsub_endpoint = tcp://*:0\n[watcher:a]\ncmd = x\n";
        assert_eq!(doubts_about(twice), Ok(Vec::new()));
    }

    #[test]
    fn a_kernel_elsewhere_is_refused_where_one_is_needed() {
        let circus = "[circus]\npapa_endpoint = tcp://10.0.0.1:20202\n[watcher:a]\ncmd = x\n";
        assert!(doubts_about(circus).is_ok());
        assert!(doubts_about(&format!("{circus}use_papa = true\n")).is_err());
    }
}
