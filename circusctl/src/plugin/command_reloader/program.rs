//! Which files a command consists of: its program, and the script if that is an interpreter.

use std::path::{Path, PathBuf};

/// Programs that run the file that is their first argument, by their names without a version.
const INTERPRETERS: [&str; 17] = [
    "bash", "dash", "deno", "fish", "ksh", "lua", "luajit", "node", "nodejs", "perl", "php",
    "pypy", "python", "Rscript", "ruby", "sh", "zsh",
];

/// The command of a watcher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// Where relative paths begin.
    pub(super) working_dir: PathBuf,
    /// Where programs are looked for: directories with `:` between them.
    pub(super) path: String,
}

impl Command {
    /// The files, absolute. `is_file` says whether there is one; of a program that is written with its path it
    /// is not asked, so that one that is not there yet is waited for.
    pub(super) fn files(&self, is_file: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let Some((program, arguments)) = self.words.split_first() else { return Vec::new() };
        let program = if program.contains('/') {
            Some(self.working_dir.join(program))
        } else {
            let folders = self.path.split(':').map(|folder| self.working_dir.join(folder));
            folders.map(|folder| folder.join(program)).find(|path| is_file(path))
        };
        let mut files: Vec<PathBuf> = program.into_iter().collect();
        if files.first().is_some_and(|program| is_interpreter(program)) {
            // Options come first, some with a value; the script is the first word that is a file.
            let words = arguments.iter().filter(|word| !word.starts_with('-'));
            files.extend(words.map(|word| self.working_dir.join(word)).find(|path| is_file(path)));
        }
        files
    }
}

fn is_interpreter(program: &Path) -> bool {
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    INTERPRETERS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(words: &[&str], there: &[&str]) -> Vec<String> {
        let command = Command {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            working_dir: "/srv/app".into(),
            path: "/usr/local/bin:bin:/bin".into(),
        };
        let there = |path: &Path| there.iter().any(|known| Path::new(known) == path);
        command.files(there).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_program_is_found_as_the_system_would_find_it() {
        assert_eq!(files(&["/opt/x", "-v"], &[]), ["/opt/x"], "waited for");
        assert_eq!(files(&["./run.sh"], &[]), ["/srv/app/./run.sh"]);
        assert_eq!(files(&["tool"], &["/bin/tool", "/srv/app/bin/tool"]), ["/srv/app/bin/tool"]);
        assert_eq!(files(&["tool"], &[]), [""; 0]);
        assert_eq!(files(&[], &[]), [""; 0]);
    }

    #[test]
    fn the_script_of_an_interpreter_counts_and_the_data_of_a_program_does_not() {
        let there =
            ["/bin/python3.11", "/bin/tail", "/srv/app/app.py", "/srv/app/b.py", "/var/log"];
        assert_eq!(
            files(&["python3.11", "-u", "-W", "error", "app.py", "b.py"], &there),
            ["/bin/python3.11", "/srv/app/app.py"]
        );
        assert_eq!(files(&["python3.11", "-m", "module"], &there), ["/bin/python3.11"]);
        assert_eq!(files(&["tail", "-f", "/var/log"], &there), ["/bin/tail"]);
    }
}
