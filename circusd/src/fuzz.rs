//! What the fuzz target `ini` needs of the inside.

use crate::config::{SpawnContext, dump, load, plan};
use std::collections::BTreeMap;
use std::path::Path;

/// Loads a file as a configuration, shows it as JSON and decides what each of its watchers would execute.
pub fn configuration(file: &Path) {
    let environment = [("HOME".to_owned(), "/home/tester".to_owned())];
    let Ok(loaded) = load(file, &environment) else { return };
    dump(&loaded.config);
    let sockets = BTreeMap::from([("web".to_owned(), "7".to_owned())]);
    let context =
        SpawnContext { environment: &environment, sockets: &sockets, cwd: Path::new("/") };
    for watcher in &loaded.config.watchers {
        // A command that cannot be split is an error like any other.
        let _ = plan(watcher, 1, &context);
    }
}
