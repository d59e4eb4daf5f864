//! Environments: that of circusd, `[env]`, `[env:A,B*]`, and what a process gets of them. Pure.

use super::expand;
use super::ini::{Entries, Ini, strip};
use super::pattern;
use indexmap::IndexMap;
use std::collections::HashMap;

/// The sections that add variables to the watchers whose names fit.
const SCOPED: &str = "env:";

/// Variables by name, in order.
pub(crate) type Variables = IndexMap<String, String>;

/// Looks `circus.env.X` up: names are compared in lower case, the last of several wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvNames(HashMap<String, String>);

impl EnvNames {
    pub(crate) fn new<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self(variables.into_iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect())
    }

    /// The value of a name as `expand::references` gives it, `env.path`.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        self.0.get(name.strip_prefix("env.")?).cloned()
    }

    /// Replaces all `$(circus.env.X)` that are known.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand::references(text, |name| self.lookup(name))
    }
}

/// All that the file and circusd's environment say about variables.
#[derive(Debug)]
pub(crate) struct EnvTable {
    /// Circusd's own environment with `[env]` laid over it.
    global: Variables,
    /// `[env]` alone.
    local: Variables,
    /// Patterns and variables of each `[env:...]` section, in file order.
    scoped: Vec<(Vec<String>, Variables)>,
}

impl EnvTable {
    /// Collects the env sections; `process` is circusd's own environment.
    pub(crate) fn new(ini: &Ini, process: &Variables) -> Self {
        let names = EnvNames::new(process);
        let mut local = Variables::new();
        for (key, value) in ini.entries("env").map(raw).into_iter().flatten() {
            local.insert(key, names.expand(&value));
        }
        let mut global = process.clone();
        lay_over(&mut global, &local);
        let scoped = ini
            .names()
            .filter_map(|section| {
                let patterns = patterns(section)?;
                let variables = raw(ini.entries(section)?).collect();
                Some((patterns, variables))
            })
            .collect();
        Self { global, local, scoped }
    }

    /// For everything that is not the text of a watcher.
    pub(crate) fn global_names(&self) -> EnvNames {
        EnvNames::new(&self.global)
    }

    /// The variables of one watcher, before `$NAME` is replaced.
    pub(crate) fn of_watcher(&self, name: &str, copy_env: bool) -> Variables {
        let mut variables = if copy_env { self.global.clone() } else { self.local.clone() };
        for (patterns, section) in &self.scoped {
            if patterns.iter().any(|p| pattern::matches(p, name)) {
                lay_over(&mut variables, section);
            }
        }
        variables
    }

    /// For the text of a watcher with these variables.
    pub(crate) fn watcher_names(&self, variables: &Variables) -> EnvNames {
        let mut all = self.global.clone();
        lay_over(&mut all, variables);
        EnvNames::new(&all)
    }
}

/// The patterns of an `[env:A,B*]`; none for any other section.
pub(crate) fn patterns(section: &str) -> Option<Vec<String>> {
    let patterns = section.strip_prefix(SCOPED)?.split(',');
    Some(patterns.map(|pattern| strip(pattern).to_owned()).collect())
}

fn raw(entries: Entries) -> impl Iterator<Item = (String, String)> {
    entries
        .into_iter()
        .filter(|(key, _)| key != super::reader::HIDDEN)
        .map(|(key, entry)| (key, entry.value))
}

/// Lays variables over others; the latter keep their places.
pub(crate) fn lay_over(base: &mut Variables, top: &Variables) {
    base.extend(top.iter().map(|(key, value)| (key.clone(), value.clone())));
}

/// What a process gets: `$NAME` replaced from circusd's own environment, names and values stripped,
/// and with `copy_env` circusd's environment below it.
pub(crate) fn of_process(own: &Variables, process: &Variables, copy_env: bool) -> Variables {
    let mut variables = if copy_env { process.clone() } else { Variables::new() };
    for (name, value) in own {
        let value = expand::dollar_names(value, |name| process.get(name).cloned());
        variables.insert(strip(name).to_owned(), strip(&value).to_owned());
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_last_of_names_that_differ_in_case_wins() {
        let names = EnvNames::new(&variables(&[("FOO", "1"), ("Foo", "2")]));
        assert_eq!(names.expand("$(circus.env.foo)"), "2");
    }

    #[test]
    fn a_process_gets_names_and_values_stripped() {
        let process = variables(&[("SPACED", "  padded  "), ("FOO", "foo")]);
        let own = variables(&[("  A", "$SPACED"), ("B", "$FOO")]);
        assert_eq!(of_process(&own, &process, false), variables(&[("A", "padded"), ("B", "foo")]));
        assert_eq!(of_process(&own, &process, true)["SPACED"], "  padded  ");
    }
}
