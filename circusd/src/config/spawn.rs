//! Decides what one process of a watcher is executed with.
//!
//! Starts nothing and opens nothing; the one look at the disk is at the packages of a virtualenv. Who
//! a user is and where the program lies is found out by whoever starts the process.

use super::command_line::{SplitError, quote, split};
use super::env::{self, EnvNames, Variables};
use super::expand;
use super::model::WatcherConfig;
use super::problem::shown;
use super::spawn_names::{Moment, setting};
use super::virtualenv::{self, VirtualenvError};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The shell of `shell = true`.
const SHELL: &str = "/bin/sh";

/// What circusd knows at the moment of a start.
#[derive(Debug, Clone, Copy)]
pub struct SpawnContext<'a> {
    /// Circusd's own environment.
    pub environment: &'a [(String, String)],
    /// What to insert for `$(circus.sockets.NAME)`, by lower-case name; only the sockets this watcher
    /// can use.
    pub sockets: &'a BTreeMap<String, String>,
    /// Circusd's working directory.
    pub cwd: &'a Path,
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnPlan {
    /// The program and its arguments; never empty, no NUL bytes.
    pub argv: Vec<String>,
    /// The whole environment, each name once, no NUL bytes.
    pub env: Vec<(String, String)>,
    /// May be relative to circusd's working directory.
    pub working_dir: PathBuf,
    /// User name or number.
    pub uid: Option<String>,
    /// Group name or number.
    pub gid: Option<String>,
    /// Limits by lower-case name; none means unlimited.
    pub rlimits: BTreeMap<String, Option<i64>>,
    /// The lower-case names of the sockets that the command names and the context knows.
    pub sockets_used: BTreeSet<String>,
    /// What is odd about the command; for the log.
    pub warnings: Vec<String>,
}

/// A watcher whose process cannot be described; counts as a failed attempt to start one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnPlanError {
    /// A text does not split into words.
    #[error("`{key}` of watcher `{watcher}` cannot be split into words")]
    Split {
        /// The watcher.
        watcher: String,
        /// `cmd`, `args` or `shell_args`.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: SplitError,
    },
    /// Nothing to execute.
    #[error("`cmd` of watcher `{watcher}` is empty")]
    EmptyCommand {
        /// The watcher.
        watcher: String,
    },
    /// No system call takes such text.
    #[error("`{what}` of watcher `{watcher}` holds a NUL byte")]
    NulByte {
        /// The watcher.
        watcher: String,
        /// `cmd` or the name of a variable.
        what: String,
    },
    /// The virtualenv cannot be used.
    #[error("virtualenv of watcher `{watcher}` cannot be used")]
    Virtualenv {
        /// The watcher.
        watcher: String,
        /// Why.
        #[source]
        source: VirtualenvError,
    },
}

/// Decides what worker `wid` of the watcher is executed with.
///
/// # Errors
/// [`SpawnPlanError`] when command, environment or virtualenv cannot be used.
pub fn plan(
    watcher: &WatcherConfig,
    wid: u32,
    context: &SpawnContext<'_>,
) -> Result<SpawnPlan, SpawnPlanError> {
    let variables = variables(watcher, context.environment)?;
    let working_dir =
        watcher.working_dir.as_deref().filter(|dir| !dir.is_empty()).map_or(context.cwd, Path::new);
    let mut command = CommandReader {
        watcher,
        moment: Moment { wid, working_dir },
        names: EnvNames::new(&variables),
        sockets: context.sockets,
        sockets_used: BTreeSet::new(),
        warnings: Vec::new(),
    };
    let argv = command.argv()?;
    let CommandReader { sockets_used, warnings, .. } = command;
    let plan = SpawnPlan {
        argv,
        env: variables.into_iter().collect(),
        working_dir: working_dir.to_path_buf(),
        uid: watcher.uid.clone().filter(|uid| !uid.is_empty()),
        gid: watcher.gid.clone().filter(|gid| !gid.is_empty()),
        rlimits: watcher.rlimits.clone(),
        sockets_used,
        warnings,
    };
    refuse_nul_bytes(watcher, &plan)?;
    Ok(plan)
}

/// The environment of the watcher's processes: `copy_env`, `$NAME` and `virtualenv` applied.
///
/// # Errors
/// [`SpawnPlanError::Virtualenv`] when the virtualenv cannot be used.
pub fn variables(
    watcher: &WatcherConfig,
    environment: &[(String, String)],
) -> Result<IndexMap<String, String>, SpawnPlanError> {
    if let Some(env) = &watcher.hook_env {
        return Ok(env.clone());
    }
    let process: Variables = environment.iter().cloned().collect();
    let mut variables = env::of_process(&watcher.env, &process, watcher.copy_env);
    if let Some(folder) = watcher.virtualenv.as_deref().filter(|folder| !folder.is_empty()) {
        let laid_over = if watcher.copy_env {
            virtualenv::lay_over(&mut variables, folder, watcher.virtualenv_py_ver.as_deref())
        } else {
            Err(VirtualenvError::NeedsCopyEnv)
        };
        laid_over.map_err(|source| SpawnPlanError::Virtualenv {
            watcher: watcher.name.clone(),
            source,
        })?;
    }
    Ok(variables)
}

/// The lower-case names of the sockets that the watcher's command names, and that of its stdin.
///
/// Whether there are such sockets is not looked at.
pub(crate) fn sockets_named(watcher: &WatcherConfig) -> BTreeSet<String> {
    let mut named: BTreeSet<String> = watcher.stdin_socket.iter().cloned().collect();
    let texts = [Some(&watcher.cmd), Some(&watcher.args), watcher.shell_args.as_ref()];
    for text in texts.into_iter().flatten() {
        expand::references(text, |name| {
            named.extend(name.strip_prefix("sockets.").map(str::to_owned));
            None
        });
    }
    named
}

fn refuse_nul_bytes(watcher: &WatcherConfig, plan: &SpawnPlan) -> Result<(), SpawnPlanError> {
    let in_argv = plan.argv.iter().any(|word| word.contains('\0')).then(|| "cmd".to_owned());
    let in_env = || {
        let found = plan.env.iter().find(|(k, v)| k.contains('\0') || v.contains('\0'));
        found.map(|(name, _)| shown(name))
    };
    match in_argv.or_else(in_env) {
        Some(what) => Err(SpawnPlanError::NulByte { watcher: watcher.name.clone(), what }),
        None => Ok(()),
    }
}

struct CommandReader<'a> {
    watcher: &'a WatcherConfig,
    moment: Moment<'a>,
    names: EnvNames,
    sockets: &'a BTreeMap<String, String>,
    sockets_used: BTreeSet<String>,
    warnings: Vec<String>,
}

impl CommandReader<'_> {
    fn argv(&mut self) -> Result<Vec<String>, SpawnPlanError> {
        let watcher = self.watcher;
        let mut words = self.words("cmd", &watcher.cmd)?;
        if words.is_empty() {
            return Err(SpawnPlanError::EmptyCommand { watcher: watcher.name.clone() });
        }
        words.extend(self.words("args", &watcher.args)?);
        let executable = watcher.executable.as_deref().filter(|program| !program.is_empty());
        let shell_args = watcher.shell_args.as_deref().filter(|args| !args.is_empty());
        if !watcher.shell {
            if shell_args.is_some() {
                self.warnings.push("`shell_args` has no effect without `shell = true`".to_owned());
            }
            if let (Some(program), Some(first)) = (executable, words.first_mut()) {
                program.clone_into(first);
            }
            return Ok(words);
        }
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let mut argv =
            vec![executable.unwrap_or(SHELL).to_owned(), "-c".to_owned(), quoted.join(" ")];
        argv.extend(self.words("shell_args", shell_args.unwrap_or_default())?);
        Ok(argv)
    }

    /// The words of one text with its references replaced.
    fn words(&mut self, key: &'static str, text: &str) -> Result<Vec<String>, SpawnPlanError> {
        if expand::mentions_old_wid(text) {
            let warning = format!("`$WID` in `{key}` is not replaced; write `$(circus.wid)`");
            self.warnings.push(warning);
        }
        let text = expand::references(text, |name| self.lookup(key, name));
        split(&text).map_err(|source| SpawnPlanError::Split {
            watcher: self.watcher.name.clone(),
            key,
            source,
        })
    }

    fn lookup(&mut self, key: &str, name: &str) -> Option<String> {
        let Some(socket) = name.strip_prefix("sockets.") else {
            let variable = self.names.lookup(name);
            return variable.or_else(|| setting(self.watcher, &self.moment, name));
        };
        let number = self.sockets.get(socket).cloned();
        if number.is_some() {
            self.sockets_used.insert(socket.to_owned());
        } else {
            let warning =
                format!("`{key}` names socket `{}`, which this watcher cannot use", shown(socket));
            self.warnings.push(warning);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(watcher: &WatcherConfig) -> Result<SpawnPlan, SpawnPlanError> {
        let environment = [("HOME".to_owned(), "/home/me".to_owned())];
        let sockets = BTreeMap::from([("web".to_owned(), "17".to_owned())]);
        let context =
            SpawnContext { environment: &environment, sockets: &sockets, cwd: Path::new("/run") };
        plan(watcher, 3, &context)
    }

    #[test]
    fn references_are_replaced_before_the_text_is_split() {
        let mut watcher = WatcherConfig::new("w", "run $(circus.wid) $(circus.env.many)");
        watcher.env.insert("MANY".into(), "a 'b c'".into());
        watcher.args = "$(circus.sockets.WEB) $(circus.sockets.no) $(circus.retry_in)".into();
        watcher.free.insert("retry_in".into(), "5".into());
        let plan = plan_of(&watcher).expect("plan");
        assert_eq!(plan.argv, ["run", "3", "a", "b c", "17", "$(circus.sockets.no)", "5"]);
        assert_eq!(plan.sockets_used, BTreeSet::from(["web".to_owned()]));
        assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
        assert_eq!(plan.working_dir, Path::new("/run"));
    }

    #[test]
    fn an_environment_is_only_copied_when_asked_for() {
        let mut watcher = WatcherConfig::new("w", "run");
        watcher.env.insert("OWN".into(), "$HOME/x".into());
        let own = ("OWN".to_owned(), "/home/me/x".to_owned());
        assert_eq!(plan_of(&watcher).expect("plan").env, vec![own.clone()]);
        watcher.copy_env = true;
        let home = ("HOME".to_owned(), "/home/me".to_owned());
        assert_eq!(plan_of(&watcher).expect("plan").env, [home, own]);
    }

    #[test]
    fn an_executable_is_run_in_place_of_the_first_word_or_of_the_shell() {
        let mut watcher = WatcherConfig::new("w", "run 1");
        watcher.executable = Some("/opt/run".into());
        assert_eq!(plan_of(&watcher).expect("plan").argv, ["/opt/run", "1"]);
        watcher.shell = true;
        assert_eq!(plan_of(&watcher).expect("plan").argv, ["/opt/run", "-c", "run 1"]);
    }

    #[test]
    fn a_shell_gets_the_words_quoted_again() {
        let mut watcher = WatcherConfig::new("w", "echo $HOME 'a b'");
        watcher.shell = true;
        watcher.shell_args = Some("zero $(circus.wid)".into());
        let plan = plan_of(&watcher).expect("plan");
        assert_eq!(plan.argv, ["/bin/sh", "-c", "echo '$HOME' 'a b'", "zero", "3"]);
    }

    #[test]
    fn what_cannot_be_executed_is_an_error() {
        let empty = WatcherConfig::new("w", " ");
        assert!(matches!(plan_of(&empty), Err(SpawnPlanError::EmptyCommand { .. })));
        let quote = WatcherConfig::new("w", "it's");
        assert!(matches!(plan_of(&quote), Err(SpawnPlanError::Split { key: "cmd", .. })));
        let nul = WatcherConfig::new("w", "a\0b");
        assert!(matches!(plan_of(&nul), Err(SpawnPlanError::NulByte { .. })));
        let mut venv = WatcherConfig::new("w", "a");
        venv.virtualenv = Some("/nowhere".into());
        assert!(matches!(plan_of(&venv), Err(SpawnPlanError::Virtualenv { .. })));
    }
}
