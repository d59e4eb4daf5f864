//! Every recorded request, reply and event of circus 0.17.2 is played against our circusd, or the
//! difference has a name.
//!
//! The recordings are described in `tests/golden/zmq/README.md`. What we mean to answer otherwise stands in
//! `tests/golden/zmq-ours.jsonl`, one line for each case with its entry in `docs/differences.md`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

mod behaviours;
mod datagrams;
mod events;
mod outside;
mod pattern;
mod player;
mod recording;
mod subscriptions;

use recording::{Deviation, Places};
use std::collections::BTreeSet;

/// One test for each session; the lists must be complete.
macro_rules! sessions {
    ($($test:ident: $file:literal $($session:literal)+;)*) => {
        const PLAYED: &[(&str, &str)] = &[$($(($file, $session)),+),*];
        $(
            #[test]
            fn $test() {
                player::play($file, &[$($session),+]);
            }
        )*
    };
}

sessions! {
    add_and_rm: "commands/addrm.jsonl" "addrm";
    conflicts: "commands/conflict.jsonl" "conflict";
    kill_with_a_timeout_as_text: "commands/kill_gt.jsonl" "kill_graceful_string";
    listsockets: "commands/listsockets.jsonl" "listsockets";
    commands_during_a_respawn: "commands/manage_conflict.jsonl" "manage_conflict";
    endpoint_owner: "commands/owner.jsonl" "endpoint_owner";
    protocol: "commands/protocol.jsonl" "protocol";
    quit: "commands/quit.jsonl" "quit";
    quit_waiting: "commands/quit.jsonl" "quit_waiting";
    quit_cast: "commands/quit.jsonl" "quit_cast";
    reading_commands: "commands/readonly.jsonl" "readonly";
    reload_with_send_hup: "commands/reload_hup.jsonl" "reload_hup";
    reloadconfig: "commands/reloadconfig.jsonl" "reloadconfig";
    reloadconfig_and_sockets: "commands/reloadconfig_sockets.jsonl" "reloadconfig_sockets";
    reloadconfig_and_sockets_in_use: "commands/reloadconfig_sockets.jsonl" "reloadconfig_sockets2";
    routing: "commands/routing.jsonl" "routing";
    set: "commands/setcmd.jsonl" "set";
    start_and_stop: "commands/startstop.jsonl" "startstop";
    conflicts_during_the_start: "commands/startup_conflict.jsonl" "startup_conflict";
    events_of_start_and_signals: "events.jsonl" "startup_events";
    events_of_the_life_cycle: "events.jsonl" "lifecycle";
    events_of_renewal: "events.jsonl" "more_events";
    events_of_reloadconfig: "events.jsonl" "reloadconfig_events";
    events_of_hooks: "events.jsonl" "hooks";
    events_on_demand: "events.jsonl" "ondemand";
    discovery_is_shown: "multicast.jsonl" "multicast";
    papa: "papa.jsonl" "papa" "papa2";
}

/// Sessions and single observations that are not played: file, session or case, and where that is tested or
/// what it waits for.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("commands/plugins.jsonl", "plugins", "e2e::plugin_flapping"),
    ("commands/plugins.jsonl", "plugins/requests-of-the-flapping-plugin", "e2e::plugin_flapping"),
    ("events.jsonl", "events/subscription-prefixes", "subscriptions"),
    ("multicast.jsonl", "multicast/any-bytes", "datagrams"),
    ("multicast.jsonl", "multicast/empty", "datagrams"),
    ("multicast.jsonl", "multicast/json-empty", "datagrams"),
    ("multicast.jsonl", "multicast/large", "datagrams"),
    ("multicast.jsonl", "multicast/to-group", "datagrams"),
    ("papa.jsonl", "events/papa-quit-check", "papa"),
];

#[test]
fn every_recording_is_played_or_left_out_with_a_reason() {
    let mut places = Places::new("/nowhere".to_owned());
    let mut found = BTreeSet::new();
    let commands = std::fs::read_dir(recording::folder().join("commands")).expect("the recordings");
    let commands = commands.map(|entry| {
        format!("commands/{}", entry.expect("readable").file_name().to_string_lossy())
    });
    let files = ["events.jsonl", "multicast.jsonl", "papa.jsonl"].map(str::to_owned);
    for file in commands.chain(files) {
        for line in recording::lines(&file, &mut places) {
            let case = line.get("case").and_then(serde_json::Value::as_str);
            let name = recording::session_of(&line).or(case).expect("a name").to_owned();
            found.insert((file.clone(), name));
        }
    }
    let played = PLAYED.iter().map(|(file, session)| ((*file).to_owned(), (*session).to_owned()));
    let elsewhere =
        ELSEWHERE.iter().map(|(file, name, _)| ((*file).to_owned(), (*name).to_owned()));
    let listed: BTreeSet<_> = played.chain(elsewhere).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:?}\nnot recorded: {gone:?}");
}

#[test]
fn every_difference_is_documented() {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    let text = std::fs::read_to_string(document).expect("the document");
    let mut places = Places::new("/nowhere".to_owned());
    for deviation in Deviation::all(&mut places) {
        let entry = deviation.entry();
        assert!(text.contains(&format!("\n| {entry} |")), "docs/differences.md lacks `{entry}`");
    }
}
