//! Every line of the table at the head of `recovery`.

use super::*;
use proptest::prelude::*;

const OWNER: &str = "ipc:///circus";

fn row(name: &str, started: f64) -> ProcessRow {
    ProcessRow { name: name.to_owned(), started, running: true, ..ProcessRow::default() }
}

fn hosted(name: &str) -> WatcherConfig {
    let mut config = WatcherConfig::new(name, "serve");
    config.use_papa = true;
    config
}

fn note(origin: Origin, file: &WatcherConfig, now: &WatcherConfig, runs: impl Into<Runs>) -> Note {
    Note {
        name: now.name.clone(),
        owner: OWNER.to_owned(),
        origin,
        changes: intent::changes(file, now, runs.into()),
        definition: intent::definition(now),
        stale: BTreeSet::new(),
        ending: intent::ending(now),
    }
}

fn wids(rows: &[(Wid, ProcessRow)]) -> Vec<u32> {
    rows.iter().map(|(wid, _)| wid.0).collect()
}

#[test]
fn processes_go_to_their_watcher_oldest_first() {
    let rows = vec![row("circus.web.1", 9.0), row("circus.web.2", 3.0), row("circus.db.1", 1.0)];
    let plan = plan(&[hosted("Web"), hosted("db")], rows, &[], OWNER);
    assert_eq!(wids(&plan.watchers[0].rows), [2, 1]);
    assert_eq!(wids(&plan.watchers[1].rows), [1]);
    assert_eq!(plan.strangers, []);
}

#[test]
fn a_process_that_nobody_noted_is_a_stranger() {
    let direct = WatcherConfig::new("db", "serve");
    let rows = vec![row("circus.web.api.1", 1.0), row("circus.db.1", 1.0)];
    let plan = plan(&[hosted("web"), direct], rows, &[], OWNER);
    assert!(plan.watchers.iter().all(|watcher| watcher.rows.is_empty()));
    assert_eq!((plan.strangers.len(), plan.leftovers.len()), (2, 0));
}

#[test]
fn what_operators_changed_holds() {
    let file = hosted("web");
    let mut now = file.clone();
    now.numprocesses = 4;
    let note = note(Origin::File, &file, &now, false);
    let plan = plan(&[file], vec![], &[note.encode()], OWNER);
    let [web] = &plan.watchers[..] else { panic!("one watcher") };
    assert_eq!((web.config.numprocesses, web.file.numprocesses, web.runs), (4, 1, Runs::No));
    assert_eq!(
        plan.remarks,
        ["watcher web keeps what was changed while circusd ran: stopped, numprocesses"]
    );
}

#[test]
fn a_command_that_changed_makes_the_running_processes_stale() {
    let before = hosted("web");
    let note = note(Origin::File, &before, &before, true);
    let mut file = before.clone();
    file.cmd = "serve --faster".to_owned();
    let mut dead = row("circus.web.2", 2.0);
    dead.running = false;
    let rows = vec![row("circus.web.1", 1.0), dead];
    let plan = plan(&[file], rows, &[note.encode()], OWNER);
    assert_eq!(plan.watchers[0].stale, [Wid(1)].into());
    assert_eq!(wids(&plan.watchers[0].rows), [1, 2]);
}

#[test]
fn a_watcher_gone_from_the_file_is_stopped_as_it_was_to_be_stopped() {
    let mut gone = hosted("gone");
    gone.stop_signal = Signal::KILL;
    gone.graceful_timeout = 2.5;
    let note = note(Origin::File, &gone, &gone, true);
    let plan = plan(&[], vec![row("circus.gone.3", 1.0)], &[note.encode()], OWNER);
    let [leftover] = &plan.leftovers[..] else { panic!("one leftover") };
    assert_eq!(leftover.config.stop_signal, Signal::KILL);
    assert!((leftover.config.graceful_timeout - 2.5).abs() < 1e-9);
    assert_eq!(wids(&leftover.rows), [3]);
    assert!(plan.obsolete.is_empty(), "the note is needed until the process has ended");
}

#[test]
fn what_another_circusd_noted_is_left_alone() {
    let gone = hosted("gone");
    let mut note = note(Origin::File, &gone, &gone, true);
    note.owner = "tcp://127.0.0.1:5555".to_owned();
    let plan = plan(&[], vec![row("circus.gone.1", 1.0)], &[note.encode()], OWNER);
    assert_eq!((plan.leftovers.len(), plan.strangers.len()), (0, 1));
    assert!(plan.obsolete.is_empty());
}

#[test]
fn a_watcher_that_left_the_kernel_gets_rid_of_its_old_processes() {
    let before = hosted("web");
    let note = note(Origin::File, &before, &before, true);
    let plan = plan(
        &[WatcherConfig::new("web", "serve")],
        vec![row("circus.web.1", 1.0), row("circus.web.2", 1.0)],
        &[note.encode()],
        OWNER,
    );
    assert_eq!(wids(&plan.leftovers[0].rows), [1, 2]);
    assert!(plan.leftovers[0].moved);
    assert!(plan.watchers[0].rows.is_empty());
}

#[test]
fn a_removed_watcher_stays_away_until_its_section_changes() {
    let file = hosted("web");
    let origin = Origin::Removed { section: Some(intent::section(&file)), nostop: false };
    let note = note(origin, &file, &file, false);
    let rows = || vec![row("circus.web.1", 1.0)];
    let away = plan(std::slice::from_ref(&file), rows(), &[note.encode()], OWNER);
    assert_eq!((away.watchers.len(), wids(&away.leftovers[0].rows)), (0, vec![1]));
    let mut changed = file;
    changed.numprocesses = 2;
    let back = plan(&[changed], rows(), &[note.encode()], OWNER);
    assert_eq!(wids(&back.watchers[0].rows), [1]);
    assert!(back.watchers[0].runs == Runs::Yes && back.leftovers.is_empty());
}

#[test]
fn an_added_watcher_is_there_again() {
    let (base, now) = (WatcherConfig::new("extra", ""), hosted("extra"));
    let note = note(Origin::Added(None), &base, &now, true);
    let again = plan(&[], vec![row("circus.extra.1", 1.0)], &[note.encode()], OWNER);
    let [extra] = &again.watchers[..] else { panic!("one watcher") };
    assert_eq!((extra.config.clone(), extra.runs, wids(&extra.rows)), (now, Runs::Yes, vec![1]));
    let mut file = hosted("extra");
    file.cmd = "other".to_owned();
    let taken = plan(&[file.clone()], vec![row("circus.extra.1", 1.0)], &[note.encode()], OWNER);
    assert_eq!((&taken.watchers[0].config, taken.watchers[0].origin), (&file, Origin::File));
    assert_eq!(taken.watchers[0].stale, [Wid(1)].into());
}

#[test]
fn work_that_was_begun_is_not_begun_again() {
    let mut job = hosted("job");
    job.respawn = false;
    let note = note(Origin::File, &job, &job, Runs::Begun);
    let configured = std::slice::from_ref(&job);
    let plan = plan(configured, vec![row("circus.job.1", 1.0)], &[note.encode()], OWNER);
    assert_eq!((plan.watchers[0].runs, wids(&plan.watchers[0].rows)), (Runs::Begun, vec![1]));
    assert!(plan.remarks.is_empty(), "nothing was changed by anybody");
}

#[test]
fn a_note_that_means_nothing_any_more_goes() {
    let gone = hosted("gone");
    let note = note(Origin::File, &gone, &gone, true);
    assert_eq!(plan(&[], vec![], &[note.encode()], OWNER).obsolete, ["gone"]);
}

#[test]
fn a_note_that_cannot_be_read_changes_nothing() {
    let plan = plan(&[hosted("web")], vec![], &[b"{".to_vec(), b"{\"v\":9}".to_vec()], OWNER);
    assert_eq!(plan.watchers[0].config, hosted("web"));
    assert_eq!(plan.remarks.len(), 2);
}

proptest! {
    #[test]
    fn no_process_is_forgotten_and_none_has_two_owners(
        files in prop::collection::btree_set("[ab](\\.[ab])?", 0..4),
        noted in prop::collection::btree_set("[ab](\\.[ab])?", 0..4),
        rows in prop::collection::btree_set("circus\\.[ab](\\.[ab])?\\.[12]", 0..8),
        moved: bool,
    ) {
        let configs: Vec<WatcherConfig> = files
            .iter()
            .map(|name| if moved { WatcherConfig::new(name, "x") } else { hosted(name) })
            .collect();
        let notes: Vec<Vec<u8>> = noted
            .iter()
            .map(|name| note(Origin::File, &hosted(name), &hosted(name), true).encode())
            .collect();
        let all: Vec<ProcessRow> = rows.iter().map(|name| row(name, 1.0)).collect();
        let plan = plan(&configs, all, &notes, OWNER);
        let mut found: Vec<String> = plan
            .watchers
            .iter()
            .flat_map(|watcher| &watcher.rows)
            .chain(plan.leftovers.iter().flat_map(|leftover| &leftover.rows))
            .map(|(_, row)| row.name.clone())
            .chain(plan.strangers.iter().map(|row| row.name.clone()))
            .collect();
        found.sort();
        prop_assert_eq!(found, rows.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(plan.watchers.len(), configs.len());
    }
}
