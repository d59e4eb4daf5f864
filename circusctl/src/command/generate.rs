//! `generate`: what a package needs beside the program. Hidden, because only packagers want it.

use std::path::PathBuf;

/// `generate man|completions DIRECTORY`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// What to write
    pub what: What,
    /// Where to write it; made if it is not there
    pub directory: PathBuf,
}

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Man pages
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}
