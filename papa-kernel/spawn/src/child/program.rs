//! The program of a process, ready for execve(2): its words, its environment and the places where it may be.
//!
//! Does what execvp(3) does, on the PATH of the process instead of ours.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr;

use nix::errno::Errno;

use super::error::SpawnError;
use super::spec::ChildSpec;

/// Where programs are without a PATH, as in the C library.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Runs what is neither a binary nor names its interpreter.
const SHELL: &CStr = c"/bin/sh";

/// A program with everything that execve(2) wants. The pointers go to the strings beside them.
pub(super) struct Program {
    places: Vec<CString>,
    _words: Vec<CString>,
    _environment: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    /// `argv` for the shell: its name, a gap for the place, and all but the first word.
    script: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Program {
    /// # Errors
    /// There is no program, or a word cannot be passed.
    pub(super) fn new(spec: &ChildSpec) -> Result<Self, SpawnError> {
        let name = spec.argv.first().ok_or(SpawnError::NoCommand)?;
        let words = strings(spec.argv.iter().cloned(), "command")?;
        // The last one of a name counts, for us and for the process.
        let variables: BTreeMap<_, _> = spec.env.iter().map(|(key, value)| (key, value)).collect();
        let places = places(name, variables.get(&b"PATH".to_vec()).copied());
        let variables = variables.iter().map(|(key, value)| [key, b"=".as_slice(), value].concat());
        let environment = strings(variables, "environment")?;
        let argv = pointers(&words);
        let script = [SHELL.as_ptr(), ptr::null()].into_iter().chain(argv.iter().skip(1).copied());
        Ok(Self {
            places: strings(places.into_iter(), "command")?,
            script: script.collect(),
            argv,
            envp: pointers(&environment),
            _words: words,
            _environment: environment,
        })
    }

    /// Becomes the program; comes back only with the reason why not. Runs in the child: no allocation.
    pub(super) fn exec(&mut self) -> Errno {
        let mut reason = Errno::ENOENT;
        for place in &self.places {
            // SAFETY: all are C strings and arrays of them that end with a null pointer, and live on.
            unsafe { libc::execve(place.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
            let mut errno = Errno::last();
            if errno == Errno::ENOEXEC
                && let Some(gap) = self.script.get_mut(1)
            {
                *gap = place.as_ptr();
                // SAFETY: as above.
                unsafe { libc::execve(SHELL.as_ptr(), self.script.as_ptr(), self.envp.as_ptr()) };
                errno = Errno::last();
            }
            match errno {
                Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ESTALE
                | Errno::ENODEV
                | Errno::ETIMEDOUT => {}
                // There may be one further on that we may run.
                Errno::EACCES => reason = errno,
                _ => return errno,
            }
        }
        reason
    }
}

/// Where a program may be, in the order in which they are tried.
fn places(name: &[u8], path: Option<&Vec<u8>>) -> Vec<Vec<u8>> {
    if name.contains(&b'/') || name.is_empty() {
        return vec![name.to_vec()];
    }
    let path = path.map_or(DEFAULT_PATH, Vec::as_slice);
    let place = |folder: &[u8]| match folder {
        // The directory in which the process starts.
        b"" => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    };
    path.split(|byte| *byte == b':').map(place).collect()
}

fn strings(
    all: impl Iterator<Item = Vec<u8>>,
    what: &'static str,
) -> Result<Vec<CString>, SpawnError> {
    all.map(|bytes| CString::new(bytes).map_err(|_| SpawnError::NulByte { what })).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}
