//! What TAB may complete to: commands and options from the tree, names and pids from circusd.
//!
//! Serves three askers: the completion scripts of bash, zsh and fish (through `COMPLETE`), the script
//! of the original's users (through `AUTO_COMPLETE`), and the interactive shell. circusd is asked
//! briefly and only for what is being completed; if it does not answer there are no candidates.

use crate::arguments::{CommandLine, commands};
use crate::command::OPTION_KEYS;
use crate::session::{Place, Session};
use crate::ui;
use clap::{Arg, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use protocol::circus::response::Response;
use protocol::signal::Signal;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long the user's TAB may wait for circusd.
const BRIEFLY: Duration = Duration::from_millis(500);

/// Answers a completion script, if one asks.
pub fn asked() -> Option<ExitCode> {
    if std::env::var_os("COMPLETE").is_some() {
        let words: Vec<OsString> = std::env::args_os().collect();
        // The script gives the words of the line after `--`.
        let line = words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
        let line: Vec<_> = words.get(line..).unwrap_or_default().to_vec();
        let factory = || tree(&line, None);
        let done = CompleteEnv::with_factory(factory).try_complete(words.clone(), None);
        return match done {
            Ok(false) => None,
            Ok(true) => Some(ExitCode::SUCCESS),
            Err(_) => Some(ExitCode::FAILURE),
        };
    }
    std::env::var_os("AUTO_COMPLETE").map(|_| {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let mut words: Vec<_> =
            variable("COMP_WORDS").split_whitespace().map(OsString::from).collect();
        let at = variable("COMP_CWORD").parse::<usize>().unwrap_or(1).min(1000);
        words.resize(words.len().max(at + 1), OsString::new());
        words.truncate(at + 1);
        let found: Vec<_> = candidates(words, None).into_iter().map(|(word, _)| word).collect();
        // Nobody is left to be told when this fails.
        let _ = ui::out(&(found.join(" ") + "\n"));
        // As measured; the script does not look at it.
        ExitCode::FAILURE
    })
}

/// What the last word may become, with a word of explanation each. The first word is the program.
pub fn candidates(words: Vec<OsString>, session: Option<Arc<Session>>) -> Vec<(String, String)> {
    let Some(current) = words.len().checked_sub(1) else { return Vec::new() };
    let typed = words.last().cloned().unwrap_or_default();
    if current == 1 && !typed.to_string_lossy().starts_with('-') {
        let typed = typed.to_string_lossy();
        return commands().into_iter().filter(|(name, _)| name.starts_with(&*typed)).collect();
    }
    let mut tree = tree(&words, session);
    let found = complete(&mut tree, words, current, None).unwrap_or_default();
    let candidate = |candidate: CompletionCandidate| {
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        (candidate.get_value().to_string_lossy().into_owned(), help)
    };
    found
        .into_iter()
        .filter(|found| typed.to_string_lossy().starts_with('-') || !found.is_hide_set())
        .map(candidate)
        .collect()
}

/// The command tree with the values that its arguments can have in this line. Options come only to
/// who has typed a dash.
fn tree(line: &[OsString], session: Option<Arc<Session>>) -> clap::Command {
    let dash = line.last().is_some_and(|word| word.to_string_lossy().starts_with('-'));
    let facts = Arc::new(Facts::of(line, session));
    let mut tree = CommandLine::command().mut_args(|arg| hidden(arg, dash));
    let names: Vec<_> = tree.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let new = name == "add";
        tree = tree.mut_subcommand(&name, |sub| {
            sub.disable_help_flag(!dash).mut_args(|arg| {
                let arg = hidden(arg, dash);
                match completer(arg.get_id().as_str(), new, &facts) {
                    Some(completer) => arg.add(completer),
                    None => arg,
                }
            })
        });
    }
    tree.disable_help_subcommand(true).disable_help_flag(!dash).disable_version_flag(!dash)
}

fn hidden(arg: Arg, dash: bool) -> Arg {
    if arg.is_positional() { arg } else { arg.hide(!dash) }
}

/// What completes an argument, by its name in the tree.
fn completer(argument: &str, new: bool, facts: &Arc<Facts>) -> Option<ArgValueCompleter> {
    let values: fn(&Facts) -> Vec<String> = match argument {
        "name" if !new => Facts::watchers,
        "watchers" => Facts::watchers,
        "pid" => Facts::pids,
        "target" => Facts::pids_and_signals,
        "signum" => |_| signals(),
        "key" => Facts::keys,
        "pairs" => Facts::pairs,
        "option" => |_| GLOBAL_OPTIONS.map(str::to_owned).into(),
        "matching" => |_| ["glob", "regex", "simple"].map(str::to_owned).into(),
        "topic" => Facts::topics,
        _ => return None,
    };
    let facts = Arc::clone(facts);
    Some(ArgValueCompleter::new(move |typed: &OsStr| {
        let typed = typed.to_string_lossy();
        let fits = values(&facts).into_iter().filter(|value| value.starts_with(&*typed));
        fits.map(CompletionCandidate::new).collect::<Vec<_>>()
    }))
}

/// The keys of `globaloptions`.
const GLOBAL_OPTIONS: [&str; 5] =
    ["check_delay", "endpoint", "multicast_endpoint", "pubsub_endpoint", "stats_endpoint"];

fn signals() -> Vec<String> {
    Signal::names().map(str::to_owned).collect()
}

/// What is known of the line, and whom to ask for the rest.
struct Facts {
    /// The watcher that the line names.
    watcher: Option<String>,
    /// How many words stand after it, before the one that is completed.
    after: usize,
    session: Option<Arc<Session>>,
}

impl Facts {
    fn of(line: &[OsString], session: Option<Arc<Session>>) -> Self {
        let words: Vec<_> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let done = words.split_last().map_or(&[][..], |(_, done)| done);
        let option = |name: &str| {
            let at = done.iter().position(|word| word == name)?;
            done.get(at + 1).cloned()
        };
        let command = done.iter().position(|word| crate::arguments::is_command(word));
        let rest = command.and_then(|at| done.get(at + 1..)).unwrap_or_default();
        let mut plain = rest.iter().filter(|word| !word.starts_with('-'));
        let watcher = plain.next().cloned();
        let after = plain.count();
        // Nobody wants to be asked for a password at a TAB.
        let far = option("--ssh").is_some() && session.is_none();
        let open = || {
            let (endpoint, config) = (option("--endpoint"), option("--config"));
            let place = Place {
                endpoint: endpoint.as_deref(),
                config: config.as_deref().map(std::path::Path::new),
                ssh: None,
                ssh_keyfile: None,
                timeout: BRIEFLY,
            };
            Session::open(place, &[crate::endpoint::Service::Controller]).ok().map(Arc::new)
        };
        let session = session.or_else(|| if far { None } else { open() });
        Self { watcher, after, session }
    }

    fn ask(&self, command: &str, properties: Value) -> Option<Response> {
        let Value::Object(properties) = properties else { return None };
        let mut client = self.session.as_ref()?.client_with(BRIEFLY).ok()?;
        client.call(command, properties).ok().filter(|reply| reply.failure().is_none())
    }

    fn watchers(&self) -> Vec<String> {
        let reply = self.ask("list", json!({}));
        let names =
            reply.as_ref().and_then(|reply| reply.get("watchers")).and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn pids(&self) -> Vec<String> {
        let reply =
            self.watcher.as_ref().and_then(|name| self.ask("list", json!({ "name": name })));
        let pids = reply.as_ref().and_then(|reply| reply.get("pids")).and_then(Value::as_array);
        pids.into_iter().flatten().map(ToString::to_string).collect()
    }

    fn pids_and_signals(&self) -> Vec<String> {
        let pids = if self.after == 0 { self.pids() } else { Vec::new() };
        pids.into_iter().chain(signals()).collect()
    }

    fn keys(&self) -> Vec<String> {
        let options =
            self.watcher.as_ref().and_then(|name| self.ask("options", json!({ "name": name })));
        let keys = options.as_ref().and_then(|reply| reply.get("options")?.as_object());
        keys.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    /// Keys and values alternate; only keys are known.
    fn pairs(&self) -> Vec<String> {
        if self.after % 2 == 1 {
            return Vec::new();
        }
        let mut keys: Vec<_> = OPTION_KEYS.iter().map(|key| (*key).to_owned()).collect();
        keys.extend(self.keys().into_iter().filter(|key| key.contains(['.', '_'])));
        keys.sort();
        keys.dedup();
        keys
    }

    fn topics(&self) -> Vec<String> {
        let topic = |name: String| format!("watcher.{}.", name.replace(' ', "_"));
        self.watchers().into_iter().map(topic).collect()
    }
}
