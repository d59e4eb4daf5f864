//! The other programs that circusd can be, so that one file is enough.
//!
//! Each is a program of its own as well. Who needs one asks [`Role::command`] for what to run; `cli` asks
//! [`Role::of`] before it looks at anything else. Runs nothing itself.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// This process looks for a role before anything else, so that it can be run as a helper.
static STANDS_IN: AtomicBool = AtomicBool::new(false);

/// A program that circusd stands in for when it is not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The kernel that holds sockets and hosted processes.
    PapaKernel,
    /// The publisher of statistics.
    CircusdStats,
    /// Any of the built-in plugins.
    CircusPlugin,
}

impl Role {
    const ALL: [Self; 3] = [Self::PapaKernel, Self::CircusdStats, Self::CircusPlugin];

    /// The name of the program, and the hidden first argument that makes circusd run as it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PapaKernel => "papa-kernel",
            Self::CircusdStats => "circusd-stats",
            Self::CircusPlugin => "circus-plugin",
        }
    }

    /// The role that a first argument asks for.
    pub fn of(argument: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|role| argument == role.name())
    }

    /// Says that this program is circusd, which stands in for its helpers. Any other program with an arbiter
    /// would run itself once more.
    pub fn stand_in() {
        STANDS_IN.store(true, Ordering::Relaxed);
    }

    /// The program to run, and the arguments that put it into its role: the one beside our own file, else
    /// the first on PATH, else ourselves. A script is none: circus from PyPI installs some of these names.
    ///
    /// # Errors
    /// [`NotInstalled`]: there is none, and we are not circusd.
    pub fn command(self) -> Result<(PathBuf, Vec<OsString>), NotInstalled> {
        let own = std::env::current_exe().ok();
        let beside = own.as_deref().and_then(Path::parent).map(|folder| folder.join(self.name()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join(self.name()));
        if let Some(program) = beside.into_iter().chain(on_path).find(|file| is_program(file)) {
            return Ok((program, Vec::new()));
        }
        if !STANDS_IN.load(Ordering::Relaxed) {
            return Err(NotInstalled(self.name()));
        }
        // /proc/self/exe works even when the file has been replaced by an upgrade.
        let own =
            own.filter(|file| file.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        Ok((own, vec![self.name().into()]))
    }
}

/// A program that is needed is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither beside this program nor on PATH; install it with circusd")]
pub struct NotInstalled(&'static str);

fn is_program(path: &Path) -> bool {
    let runs = |meta: Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    path.metadata().is_ok_and(runs) && !is_script(path)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    // What cannot be read can still be run, and is no script then.
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_found_by_its_name_and_nothing_else_is_one() {
        for role in Role::ALL {
            assert_eq!(Role::of(OsStr::new(role.name())), Some(role));
        }
        assert_eq!(Role::of(OsStr::new("circus.ini")), None);
    }
}
