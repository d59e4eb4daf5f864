//! Which program wrote a snapshot, how it was started, and who is to read it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};

use crate::snapshot::FORMAT;

/// Where everything comes from and where it goes.
#[derive(Debug, Encode, Decode)]
pub struct Origin {
    /// Version of the kernel that wrote this.
    version: String,
    /// The file that this program was started from.
    program: Vec<u8>,
    /// The file that is to take over.
    successor: Vec<u8>,
    /// The arguments that the kernel serves with, without the program's name.
    arguments: Vec<Vec<u8>>,
}

impl Origin {
    /// That of this process, which got `arguments` to serve with. With no /proc there is no program to be
    /// found, and an upgrade needs a path.
    pub fn new(arguments: Vec<OsString>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: std::env::current_exe().unwrap_or_default().into_os_string().into_vec(),
            successor: Vec::new(),
            arguments: arguments.into_iter().map(OsStringExt::into_vec).collect(),
        }
    }

    /// The arguments that the kernel serves with.
    pub fn arguments(&self) -> Vec<OsString> {
        self.arguments.iter().cloned().map(OsString::from_vec).collect()
    }

    /// The file that this program was started from.
    pub fn program(&self) -> PathBuf {
        OsStr::from_bytes(&self.program).into()
    }

    /// What comes between the program's name and its arguments, where the kernel is one of several roles of
    /// a program.
    pub(crate) fn role(&self) -> impl Iterator<Item = OsString> {
        let words = std::env::args_os().len().saturating_sub(self.arguments.len() + 1);
        std::env::args_os().skip(1).take(words)
    }

    /// The next snapshot is for this program.
    pub(crate) fn appoint(&mut self, successor: &Path) {
        self.successor = successor.as_os_str().as_bytes().to_vec();
    }

    /// From now on this program holds everything: the one that was to take over or, with the reason why it
    /// could not, the one that had it before. Returns what to answer to whoever asked for the upgrade.
    pub(crate) fn arrive(&mut self, failure: Option<&str>) -> Result<String, String> {
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        let was = std::mem::replace(&mut self.version, VERSION.to_owned());
        if let Some(reason) = failure {
            let path = String::from_utf8_lossy(&self.successor);
            return Err(format!("{path} could not take over and was rolled back - {reason}"));
        }
        self.program.clone_from(&self.successor);
        Ok(format!("ok papa-kernel {VERSION}, snapshot format {FORMAT}, was {was}"))
    }
}
