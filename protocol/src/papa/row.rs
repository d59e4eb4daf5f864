//! The rows of `list`, which `make` answers with as well: printing and parsing.
//!
//! Parsing takes rows of papa 1.0.6 and of later kernels: unknown fields are skipped.

use super::line::Form;
use super::percent;
use super::socket_spec::{Family, Kind};

/// The line is not a row of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a row of the kernel: `{0}`")]
pub struct RowError(pub String);

/// A hosted process as listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessRow {
    /// Its name.
    pub name: String,
    /// Its process id; it stays ours until its end was acknowledged.
    pub pid: i32,
    /// False once it has ended and its end is not yet acknowledged.
    pub running: bool,
    /// When it was started, in seconds since 1970.
    pub started: f64,
    /// The user it runs as, if one was asked for (root is not shown).
    pub uid: Option<u32>,
    /// The group it runs as, if one was asked for (root's is not shown).
    pub gid: Option<u32>,
    /// Its words are run by /bin/sh.
    pub shell: bool,
    /// Bytes of output that were evicted unread; shown when there are any.
    pub dropped: Option<u64>,
    /// What a client has noted beside it (exact form only).
    pub note: Option<Vec<u8>>,
    /// Its arguments as given. A classic row cannot be split, so it parses to a single element.
    pub args: Vec<Vec<u8>>,
}

/// A managed socket as listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketRow {
    /// Its name.
    pub name: String,
    /// Address family.
    pub family: Family,
    /// Socket type.
    pub kind: Kind,
    /// Length of the accept queue.
    pub backlog: u32,
    /// Path of a unix socket.
    pub path: Option<Vec<u8>>,
    /// Mask that the path was made with.
    pub umask: Option<u32>,
    /// Address as it was asked for.
    pub host: Option<String>,
    /// The real port.
    pub port: Option<u16>,
    /// Network interface it is bound to.
    pub interface: Option<String>,
    /// Each process gets a socket of its own.
    pub reuseport: bool,
    /// Number of the file descriptor in the kernel and in processes that refer to it.
    pub fileno: Option<i32>,
}

/// A stored value as listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ValueRow {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Vec<u8>,
}

impl ProcessRow {
    /// The row alone, without a line feed.
    pub fn to_text(&self, form: Form) -> Vec<u8> {
        let mut text = Vec::new();
        self.print(form, &mut text);
        text
    }

    /// Appends the row, without a line feed.
    pub fn print(&self, form: Form, out: &mut Vec<u8>) {
        form.print_value(self.name.as_bytes(), out);
        let running = if self.running { "True" } else { "False" };
        let mut text = format!(" pid={} running={running} started={:?}", self.pid, self.started);
        for (name, id) in [("uid", self.uid), ("gid", self.gid)] {
            if let Some(id) = id.filter(|id| *id != 0) {
                text.push_str(&format!(" {name}={id}"));
            }
        }
        if self.shell {
            text.push_str(" shell=True");
        }
        if let Some(dropped) = self.dropped {
            text.push_str(&format!(" dropped={dropped}"));
        }
        out.extend(text.bytes());
        if let Some(note) = self.note.as_ref().filter(|_| form == Form::Exact) {
            out.extend(b" note=");
            form.print_value(note, out);
        }
        for (at, argument) in self.args.iter().enumerate() {
            out.extend(if at == 0 { b" args=".as_slice() } else { b" " });
            form.print_value(argument, out);
        }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`RowError`] when name, pid, state or start time is missing or unreadable.
    pub fn parse(form: Form, line: &[u8]) -> Result<Self, RowError> {
        let (name, fields) = split_row(form, line, b" pid=")?;
        let mut row = Self { name, ..Self::default() };
        let (fields, args) = match find(fields, b" args=") {
            Some(at) => (fields.get(..at), fields.get(at + b" args=".len()..)),
            None => (Some(fields), None),
        };
        let mut seen = 0;
        for (field, value) in fields_of(fields.unwrap_or_default()) {
            seen += usize::from(matches!(field, "pid" | "running" | "started"));
            match field {
                "pid" => row.pid = parsed(line, value)?,
                "running" => row.running = value == "True",
                "started" => row.started = parsed(line, value)?,
                "uid" => row.uid = Some(parsed(line, value)?),
                "gid" => row.gid = Some(parsed(line, value)?),
                "shell" => row.shell = value == "True",
                "dropped" => row.dropped = Some(parsed(line, value)?),
                "note" if form == Form::Exact => {
                    row.note = Some(percent::decode(value.as_bytes()).map_err(|_| refused(line))?);
                }
                _ => {}
            }
        }
        if seen != 3 {
            return Err(refused(line));
        }
        if let Some(args) = args {
            row.args = match form {
                Form::Classic => vec![args.to_vec()],
                Form::Exact => args
                    .split(|&byte| byte == b' ')
                    .map(|word| percent::decode(word).map_err(|_| refused(line)))
                    .collect::<Result<_, _>>()?,
            };
        }
        Ok(row)
    }
}

impl SocketRow {
    /// The row alone, without a line feed.
    pub fn to_text(&self, form: Form) -> Vec<u8> {
        let mut text = Vec::new();
        self.print(form, &mut text);
        text
    }

    /// Appends the row, without a line feed.
    pub fn print(&self, form: Form, out: &mut Vec<u8>) {
        form.print_value(self.name.as_bytes(), out);
        let (family, kind) = (self.family.name(), self.kind.name());
        out.extend(format!(" family={family} type={kind} backlog={}", self.backlog).bytes());
        let mut field = |name: &str, value: Option<&[u8]>| {
            if let Some(value) = value {
                out.extend(format!(" {name}=").bytes());
                form.print_value(value, out);
            }
        };
        let number = |value: Option<u32>| value.map(|number| number.to_string().into_bytes());
        field("path", self.path.as_deref());
        field("umask", number(self.umask).as_deref());
        field("host", self.host.as_deref().map(str::as_bytes));
        field("port", number(self.port.map(u32::from)).as_deref());
        field("interface", self.interface.as_deref().map(str::as_bytes));
        field("reuseport", self.reuseport.then_some(b"1"));
        field("fileno", self.fileno.map(|fd| fd.to_string().into_bytes()).as_deref());
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`RowError`] when the name or the family is missing or a field is unreadable.
    pub fn parse(form: Form, line: &[u8]) -> Result<Self, RowError> {
        let (name, fields) = split_row(form, line, b" family=")?;
        let mut row = Self { name, ..Self::default() };
        for (field, value) in fields_of(fields) {
            let bytes = || match form {
                Form::Exact => percent::decode(value.as_bytes()).map_err(|_| refused(line)),
                Form::Classic => Ok(value.as_bytes().to_vec()),
            };
            let text = || String::from_utf8(bytes()?).map_err(|_| refused(line));
            match field {
                "family" => row.family = Family::from_name(value).ok_or_else(|| refused(line))?,
                "type" => row.kind = Kind::from_name(value).ok_or_else(|| refused(line))?,
                "backlog" => row.backlog = parsed(line, value)?,
                "path" => row.path = Some(bytes()?),
                "umask" => row.umask = Some(parsed(line, value)?),
                "host" => row.host = Some(text()?),
                "port" => row.port = Some(parsed(line, value)?),
                "interface" => row.interface = Some(text()?),
                "reuseport" => row.reuseport = !value.is_empty(),
                "fileno" => row.fileno = Some(parsed(line, value)?),
                _ => {}
            }
        }
        Ok(row)
    }
}

impl ValueRow {
    /// Appends the row, without a line feed.
    pub fn print(&self, form: Form, out: &mut Vec<u8>) {
        form.print_value(self.name.as_bytes(), out);
        out.push(b' ');
        form.print_value(&self.value, out);
    }

    /// Reads a row. In a classic row the name ends at the first space.
    ///
    /// # Errors
    /// [`RowError`] when there is no value.
    pub fn parse(form: Form, line: &[u8]) -> Result<Self, RowError> {
        let (name, value) = split_row(form, line, b" ")?;
        let value = value.get(1..).unwrap_or_default();
        let value = match form {
            Form::Exact => percent::decode(value).map_err(|_| refused(line))?,
            Form::Classic => value.to_vec(),
        };
        Ok(Self { name, value })
    }
}

fn refused(line: &[u8]) -> RowError {
    const SHOWN: usize = 200;
    RowError(String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line)).into_owned())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Name and the rest, which begins with `mark`.
fn split_row<'a>(form: Form, line: &'a [u8], mark: &[u8]) -> Result<(String, &'a [u8]), RowError> {
    let at = find(line, mark).ok_or_else(|| refused(line))?;
    let (name, rest) = line.split_at(at);
    let name = match form {
        Form::Exact => percent::decode(name).map_err(|_| refused(line))?,
        Form::Classic => name.to_vec(),
    };
    Ok((String::from_utf8(name).map_err(|_| refused(line))?, rest))
}

/// ` name=value` pairs; a classic value with blanks in it (a path) runs up to the next pair.
fn fields_of(fields: &[u8]) -> Vec<(&str, &str)> {
    let text = std::str::from_utf8(fields).unwrap_or_default();
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut rest = text.strip_prefix(' ').unwrap_or(text);
    while let Some((name, value)) = rest.split_once('=') {
        let next = value.match_indices(' ').find(|(at, _)| {
            let after = value.get(at + 1..).unwrap_or_default();
            let word = after.split(' ').next().unwrap_or_default();
            word.split_once('=').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase()))
        });
        let (value, after) = match next {
            Some((at, _)) => (value.get(..at), value.get(at + 1..)),
            None => (Some(value), None),
        };
        pairs.push((name, value.unwrap_or_default()));
        rest = after.unwrap_or_default();
    }
    pairs
}

fn parsed<T: std::str::FromStr>(line: &[u8], value: &str) -> Result<T, RowError> {
    value.parse().map_err(|_| refused(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process_row() -> impl Strategy<Value = ProcessRow> {
        (
            "[^\0-\x1f]{1,8}",
            any::<i32>(),
            any::<bool>(),
            0.0..4e9f64,
            any::<Option<u64>>(),
            any::<Option<Vec<u8>>>(),
            prop::collection::vec(any::<Vec<u8>>(), 1..4),
        )
            .prop_map(|(name, pid, running, started, dropped, note, args)| ProcessRow {
                name,
                pid,
                running,
                started,
                uid: Some(7),
                gid: None,
                shell: running,
                dropped,
                note,
                args,
            })
    }

    proptest! {
        #[test]
        fn exact_process_rows_survive(row in process_row()) {
            let mut line = Vec::new();
            row.print(Form::Exact, &mut line);
            prop_assert_eq!(ProcessRow::parse(Form::Exact, &line), Ok(row));
        }

        #[test]
        fn exact_values_survive(name in "[^\0-\x1f]{0,8}", value: Vec<u8>) {
            let row = ValueRow { name, value };
            let mut line = Vec::new();
            row.print(Form::Exact, &mut line);
            prop_assert_eq!(ValueRow::parse(Form::Exact, &line), Ok(row));
        }
    }

    #[test]
    fn rows_of_papa_are_understood() {
        let line = b"circus.web.1 pid=13889 running=True started=1795466423.6233287 uid=65534 \
            gid=1 shell=True args=/bin/sh -c a=b c";
        let row = ProcessRow::parse(Form::Classic, line).unwrap();
        assert_eq!((row.pid, row.running, row.uid, row.gid), (13889, true, Some(65534), Some(1)));
        assert_eq!(row.args, [b"/bin/sh -c a=b c"]);
        let mut printed = Vec::new();
        row.print(Form::Classic, &mut printed);
        assert_eq!(printed, line);

        let line = b"u family=unix type=stream backlog=5 path=/a b/u.sock umask=63 fileno=4";
        let row = SocketRow::parse(Form::Classic, line).unwrap();
        assert_eq!((row.path.as_deref(), row.fileno), (Some(b"/a b/u.sock".as_slice()), Some(4)));
        let mut printed = Vec::new();
        row.print(Form::Classic, &mut printed);
        assert_eq!(printed, line);
    }

    #[test]
    fn a_row_without_its_fields_is_refused() {
        for line in ["", "x", "x pid=1", "x pid=one running=True started=1.0", "Error: no"] {
            assert!(ProcessRow::parse(Form::Classic, line.as_bytes()).is_err(), "{line}");
        }
    }
}
