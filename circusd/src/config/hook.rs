//! Reads `hooks.NAME` of a watcher: which hook, what it runs, and what its failure means.

use super::env::EnvNames;
use super::model::HookConfig;
use super::near_miss;
use super::problem::Severity;
use super::reader::SectionReader;
use super::values;
use indexmap::IndexMap;
use protocol::circus::option::HOOKS;

const PREFIX: &str = "hooks.";

/// The key that is no hook: how long each may take.
pub const TIMEOUT: &str = "timeout";

impl HookConfig {
    /// Reads `TARGET[, FLAG]`; what stands for the flag and is none comes back, too.
    ///
    /// Behind a Python name the first comma begins the flag, as in circus. A command may have commas of
    /// its own, so there the last one does, and only if a flag follows it.
    pub fn parse(text: &str) -> (Self, Option<String>) {
        let hook = |target: &str, ignore_failure| Self {
            target: target.trim().to_owned(),
            ignore_failure,
        };
        let (head, flag) = text.split_once(',').map_or((text, None), |(h, f)| (h, Some(f)));
        if is_python_name(head.trim()) || head.trim().is_empty() {
            return match flag.map(|flag| (flag, values::boolean(flag))) {
                None => (hook(head, false), None),
                Some((_, Ok(ignore))) => (hook(head, ignore), None),
                Some((flag, Err(_))) => (hook(head, false), Some(flag.to_owned())),
            };
        }
        let flag = text.rsplit_once(',').map(|(command, flag)| (command, values::boolean(flag)));
        match flag {
            Some((command, Ok(ignore))) => (hook(command, ignore), None),
            Some((_, Err(_))) | None => (hook(text, false), None),
        }
    }

    /// A function of a Python module; otherwise a command.
    pub fn is_python(&self) -> bool {
        is_python_name(&self.target)
    }
}

/// `package.module.function` or `package.module:function`. Whatever has a blank, a slash or no dot or
/// colon at all is a command.
pub fn is_python_name(text: &str) -> bool {
    let is_identifier = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let names: Vec<&str> = text.split(['.', ':']).collect();
    names.len() > 1 && text.matches(':').count() <= 1 && names.into_iter().all(is_identifier)
}

/// Reads all hooks of a section, and the seconds that each may take.
pub(crate) fn read(
    keys: &mut SectionReader<'_>,
    names: &EnvNames,
    default_timeout: f64,
) -> (IndexMap<String, HookConfig>, f64) {
    let mut hooks = IndexMap::new();
    let timeout =
        keys.value(Severity::Error, "hooks.timeout", names, default_timeout, values::float);
    let written: Vec<String> =
        keys.entries.keys().filter(|key| key.starts_with(PREFIX)).cloned().collect();
    for key in written {
        let name = &key[PREFIX.len()..];
        if name == TIMEOUT {
            continue;
        }
        let text = keys.raw(&key, names).unwrap_or_default();
        let (hook, rubbish) = HookConfig::parse(&text);
        if let Some(Err(message)) = rubbish.map(|flag| values::boolean(&flag)) {
            let message = format!("what follows the comma is {message}");
            keys.key_problem(Severity::Error, &key, Some(text.clone()), message);
        }
        if hook.target.is_empty() {
            let message = "a hook needs a dotted name or a command";
            keys.key_problem(Severity::Refused, &key, Some(text.clone()), message);
        }
        if !HOOKS.contains(&name) {
            let message = match near_miss::nearest(name, HOOKS) {
                Some(known) => format!("not a hook; did you mean `hooks.{known}`?"),
                None => format!("not a hook and never run; hooks are {}", HOOKS.join(", ")),
            };
            keys.key_problem(Severity::Warning, &key, None, message);
        }
        hooks.insert(name.to_owned(), hook);
    }
    (hooks, timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_name_is_told_from_a_command() {
        for name in ["my.hooks.check", "hooks:check", "a.b:c", "_x.y1"] {
            assert!(is_python_name(name), "{name}");
        }
        for command in
            ["/usr/bin/check", "./check.sh", "true", "a.b --flag", "a..b", "a:b:c", "", "1.x"]
        {
            assert!(!is_python_name(command), "{command}");
        }
    }

    #[test]
    fn the_flag_follows_the_first_comma_of_a_name_and_the_last_of_a_command() {
        let parsed = |text| {
            let (hook, rubbish) = HookConfig::parse(text);
            (hook.target, hook.ignore_failure, rubbish)
        };
        assert_eq!(parsed(" a.b , True"), ("a.b".into(), true, None));
        assert_eq!(parsed("a.b,x"), ("a.b".into(), false, Some("x".into())));
        assert_eq!(parsed("/bin/x a,b"), ("/bin/x a,b".into(), false, None));
        assert_eq!(parsed("/bin/x a,b, yes"), ("/bin/x a,b".into(), true, None));
    }
}
