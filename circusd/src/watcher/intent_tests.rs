//! Notes survive their encoding, the file wins where it changed and nowhere else.

use super::*;
use crate::config::model::HookConfig;
use proptest::prelude::*;
use protocol::signal::Signal;

type Edit = fn(&mut WatcherConfig, &str, i64);

/// What an operator or an editor may change.
const EDITS: &[(&str, Edit)] = &[
    ("cmd", |config, text, _| config.cmd = text.to_owned()),
    ("numprocesses", |config, _, number| config.numprocesses = number),
    ("graceful_timeout", |config, _, number| config.graceful_timeout = number as f64 / 4.0),
    ("stop_signal", |config, _, number| {
        config.stop_signal = Signal::from_number(number % 31 + 1).unwrap_or(Signal::TERM);
    }),
    ("working_dir", |config, text, _| config.working_dir = Some(text.to_owned())),
    ("rlimits.nofile", |config, _, number| {
        config.rlimits.insert("nofile".to_owned(), (number > 0).then_some(number));
    }),
    ("env.KEY", |config, text, _| {
        config.env.insert("KEY".to_owned(), text.to_owned());
    }),
    ("hooks.before_start", |config, text, number| {
        let hook = HookConfig { target: text.to_owned(), ignore_failure: number > 0 };
        config.hooks.insert("before_start".to_owned(), hook);
    }),
];

fn edited(edits: &[(usize, String, i64)]) -> WatcherConfig {
    let mut config = WatcherConfig::new("web", "serve");
    for (index, text, number) in edits {
        EDITS[index % EDITS.len()].1(&mut config, text, *number);
    }
    config
}

fn edits() -> impl Strategy<Value = Vec<(usize, String, i64)>> {
    prop::collection::vec((0..EDITS.len(), "\\PC{0,6}|[ =\"\\\\\n$]{0,4}", 0..50i64), 0..6)
}

fn runs() -> impl Strategy<Value = Runs> {
    prop_oneof![Just(Runs::No), Just(Runs::Yes), Just(Runs::Begun)]
}

fn note(file: &WatcherConfig, now: &WatcherConfig, runs: Runs) -> Note {
    Note {
        name: now.name.clone(),
        owner: "ipc:///a b".to_owned(),
        origin: Origin::File,
        changes: changes(file, now, runs),
        definition: definition(now),
        stale: [Wid(2), Wid(7)].into(),
        ending: ending(now),
    }
}

proptest! {
    #[test]
    fn a_note_survives_as_one_word(file in edits(), now in edits(), runs in runs()) {
        let note = note(&edited(&file), &edited(&now), runs);
        let word = note.encode();
        prop_assert!(word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'='));
        prop_assert_eq!(Note::decode(&word), Ok(note));
    }

    #[test]
    fn with_the_same_file_everything_holds_again(file in edits(), now in edits(), runs in runs()) {
        let (file, now) = (edited(&file), edited(&now));
        let merged = merge(&file, &changes(&file, &now, runs));
        prop_assert_eq!(merged.config, now);
        prop_assert_eq!(merged.runs, runs);
        prop_assert!(merged.overruled.is_empty());
    }

    #[test]
    fn the_file_wins_where_it_changed_and_only_there(
        before in edits(), now in edits(), after in edits(), runs in runs(),
    ) {
        let (before, now, after) = (edited(&before), edited(&now), edited(&after));
        let merged = merge(&after, &changes(&before, &now, runs));
        let (before, now, after) = (flat(&before), flat(&now), flat(&after));
        let result = flat(&merged.config);
        for name in EDITS.iter().map(|(name, _)| *name) {
            let file_changed = before.get(name) != after.get(name);
            let noted = before.get(name) != now.get(name);
            let expected = if noted && !file_changed { now.get(name) } else { after.get(name) };
            prop_assert_eq!(result.get(name), expected, "{}", name);
        }
    }

    #[test]
    fn rubbish_is_refused(word: Vec<u8>) {
        prop_assert!(Note::decode(&word).is_err());
    }
}

#[test]
fn an_endless_grace_and_an_empty_text_survive() {
    let file = WatcherConfig::new("web", "serve");
    let mut now = file.clone();
    now.graceful_timeout = f64::INFINITY;
    now.working_dir = Some(String::new());
    assert_eq!(merge(&file, &changes(&file, &now, Runs::Yes)).config, now);
}

#[test]
fn the_numbers_stay_the_same_from_version_to_version() {
    let config = WatcherConfig::new("web", "serve");
    assert_eq!(fingerprint(&json!("serve")), 0xa907_1784_6193_2482);
    assert_ne!(definition(&config), definition(&WatcherConfig::new("web", "other")));
    assert_eq!(definition(&config), definition(&WatcherConfig::new("api", "serve")));
}

#[test]
fn a_note_of_another_version_is_not_used() {
    let word = br#"{"v":2,"n":"web"}"#;
    assert_eq!(Note::decode(word), Err(NoteError::Version(2)));
}

#[test]
fn a_watcher_as_in_the_file_has_nothing_to_say() {
    let file = WatcherConfig::new("web", "serve");
    assert!(note(&file, &file, Runs::Yes).says_nothing());
    assert!(!note(&file, &file, Runs::No).says_nothing());
}
