//! What `make process` carries, and what can be wrong with the options of `make`.
//!
//! The texts of [`SpecError`] are what a client reads after `Error: `; they follow papa 1.0.6
//! where it has one of its own. Whether a user, program or limit exists is the kernel's business.

use super::argument::Argument;
use super::line::{Form, LineError, Word};
use super::option::{Options, buffer_size, flag, output_mode, umask};

/// An option of `make` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// `make process` without a name.
    #[error("Process requires a name")]
    NoProcessName,
    /// `make socket` without a name.
    #[error("Socket requires a name")]
    NoSocketName,
    /// Nothing to run.
    #[error("No command")]
    NoCommand,
    /// The option is not known for this kind of thing.
    #[error("Unknown option \"{0}\"")]
    UnknownOption(String),
    /// The value does not fit the option.
    #[error("Bad value \"{value}\" for {option} - {expected}")]
    BadValue {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A resource limit is not a number.
    #[error("The rlimit value for \"{name}\" must be an integer, not \"{value}\"")]
    BadLimit {
        /// The limit's name as given.
        name: String,
        /// What was given.
        value: String,
    },
    /// A process name that would make the stream ambiguous.
    #[error(
        "Bad process name \"{0}\" - blanks and colons need the exact form, control characters are refused"
    )]
    BadName(String),
    /// A word is not properly written.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Where one output of a process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutputMode {
    /// Read and kept by the kernel.
    #[default]
    Pipe,
    /// To /dev/null.
    Null,
    /// For stderr only: wherever stdout goes.
    Stdout,
}

/// Bytes of unread output kept for a process that asks for nothing else; what Circus documents.
pub const DEFAULT_BUFFER: u64 = 2 << 20;

/// What `make process` carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessSpec {
    /// Unique among hosted processes.
    pub name: String,
    /// The program and its arguments; never empty in a parsed spec.
    pub argv: Vec<Argument>,
    /// The whole environment of the process.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where it starts; the kernel's own directory (`/`) if absent.
    pub working_dir: Option<Vec<u8>>,
    /// User name or number.
    pub uid: Option<String>,
    /// Group name or number.
    pub gid: Option<String>,
    /// Soft and hard limit by name (`nofile`); `None` is unlimited.
    pub rlimits: Vec<(String, Option<u64>)>,
    /// Standard output.
    pub stdout: OutputMode,
    /// Standard error.
    pub stderr: OutputMode,
    /// Bytes of unread output to keep; `None` is the kernel's default, 0 keeps nothing.
    pub bufsize: Option<u64>,
    /// File mode creation mask (an extension; decimal on the wire, as for sockets).
    pub umask: Option<u32>,
    /// Run the words through `/bin/sh -c`.
    pub shell: bool,
    /// What a client wants to be kept beside the process (an extension, exact form only).
    pub note: Option<Vec<u8>>,
}

impl ProcessSpec {
    /// Reads the words after `make process`; also whether the stream is to follow (`watch=1`).
    ///
    /// # Errors
    /// [`SpecError`] names the option that cannot be used.
    pub fn parse(form: Form, words: &[Word]) -> Result<(Self, bool), SpecError> {
        let (name, words) = words.split_first().ok_or(SpecError::NoProcessName)?;
        let mut spec = Self { name: name.text()?, ..Self::default() };
        check_process_name(form, &spec.name)?;
        let mut watch = false;
        let mut words = words;
        while let Some((word, rest)) = words.split_first()
            && let Some((name, value)) = word.option()
        {
            if name.text().as_deref() == Ok("watch") {
                watch = flag("watch", &value)?;
            } else {
                spec.set_option(form, &name, &value)?;
            }
            words = rest;
        }
        for word in words {
            spec.argv.push(Argument::parse(word, form)?);
        }
        if spec.argv.is_empty() {
            return Err(SpecError::NoCommand);
        }
        Ok((spec, watch))
    }

    fn set_option(&mut self, form: Form, name: &Word, value: &Word) -> Result<(), SpecError> {
        if let Some(key) = name.strip_prefix("env.") {
            let (key, value) = (key.bytes()?, value.bytes()?);
            self.env.retain(|(known, _)| *known != key);
            self.env.push((key, value));
            return Ok(());
        }
        if let Some(limit) = name.strip_prefix("rlimit.") {
            let (name, value) = (limit.text()?, value.text()?);
            let number = match value.as_str() {
                "-1" | "unlimited" | "infinity" => None,
                text => match text.parse::<u64>() {
                    Ok(number) => Some(number),
                    Err(_) => return Err(SpecError::BadLimit { name, value }),
                },
            };
            self.rlimits.push((name, number));
            return Ok(());
        }
        match name.text()?.as_str() {
            "uid" => self.uid = Some(value.text()?),
            "gid" => self.gid = Some(value.text()?),
            "working_dir" => self.working_dir = Some(value.bytes()?),
            "bufsize" => self.bufsize = buffer_size(value)?,
            "stdout" => self.stdout = output_mode("stdout", value)?,
            "stderr" => self.stderr = output_mode("stderr", value)?,
            "umask" => self.umask = Some(umask(value)?),
            "shell" => self.shell = flag("shell", value)?,
            "note" if form == Form::Exact => self.note = Some(value.bytes()?),
            other => return Err(SpecError::UnknownOption(other.to_owned())),
        }
        Ok(())
    }

    /// Whether `wanted` describes the same process, as far as that can be told without asking who its user
    /// is. The buffer size may be left out, and notes do not count.
    pub fn describes(&self, wanted: &Self) -> bool {
        let sorted = |spec: &Self| {
            let (mut env, mut limits) = (spec.env.clone(), spec.rlimits.clone());
            env.sort();
            limits.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            limits.sort();
            (env, limits)
        };
        let size = |spec: &Self| spec.bufsize.unwrap_or(DEFAULT_BUFFER);
        self.argv == wanted.argv
            && self.working_dir == wanted.working_dir
            && self.umask == wanted.umask
            && self.shell == wanted.shell
            && (self.stdout, self.stderr) == (wanted.stdout, wanted.stderr)
            && (wanted.bufsize.is_none() || size(self) == size(wanted))
            && sorted(self) == sorted(wanted)
    }

    /// Appends the request line that makes this process, without its line feed.
    pub fn print(&self, form: Form, watch: bool, out: &mut Vec<u8>) {
        let mut line = Options::begin("make process", form, &self.name, out);
        let text = |value: &Option<String>| value.clone().map(String::into_bytes);
        line.option("uid", text(&self.uid).as_deref());
        line.option("gid", text(&self.gid).as_deref());
        line.option("working_dir", self.working_dir.as_deref());
        line.number("bufsize", self.bufsize);
        line.option("stdout", (self.stdout == OutputMode::Null).then_some(b"0"));
        let stderr: Option<&[u8]> = match self.stderr {
            OutputMode::Pipe => None,
            OutputMode::Null => Some(b"0"),
            OutputMode::Stdout => Some(b"stdout"),
        };
        line.option("stderr", stderr);
        line.number("umask", self.umask);
        line.number("shell", self.shell.then_some(1));
        line.option("note", self.note.as_ref().filter(|_| form == Form::Exact));
        line.number("watch", watch.then_some(1));
        for (key, value) in &self.env {
            line.named(b"env.", key, value);
        }
        for (name, limit) in &self.rlimits {
            let value = limit.map_or_else(|| "-1".to_owned(), |number| number.to_string());
            line.named(b"rlimit.", name.as_bytes(), value.as_bytes());
        }
        for (at, argument) in self.argv.iter().enumerate() {
            out.push(b' ');
            argument.print(form, at == 0, out);
        }
    }
}

/// Names go into stream heads, which are split at colons and lines.
fn check_process_name(form: Form, name: &str) -> Result<(), SpecError> {
    let ambiguous = |c: char| c.is_control() || (form == Form::Classic && (c == ':' || c == ' '));
    if name.is_empty() || name.contains(ambiguous) {
        return Err(SpecError::BadName(name.escape_debug().to_string()));
    }
    Ok(())
}
