//! The stream that follows `watch`: printing its records, and taking it apart again.

use super::line::Form;
use super::percent;

/// One thing that a watching client reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The stream begins; so many processes are followed.
    Watching(usize),
    /// The stream of `follow` begins.
    Following {
        /// Bytes that the process had printed before what comes next.
        offset: u64,
        /// The note beside the process; empty if there is none.
        note: Vec<u8>,
    },
    /// The row that `make process watch=1` answers with before the stream begins.
    Row(Vec<u8>),
    /// Bytes that a process wrote to stdout.
    Out(Output),
    /// Bytes that a process wrote to stderr.
    Err(Output),
    /// A process has ended.
    Closed {
        /// Its name.
        name: String,
        /// When the kernel saw the end, in seconds since 1970.
        timestamp: f64,
        /// Exit status, or the negative number of the signal; `None` if unreadable.
        code: Option<i32>,
    },
    /// Output was evicted before it was read (exact form only).
    Dropped {
        /// Its name.
        name: String,
        /// When the record was written, in seconds since 1970.
        timestamp: f64,
        /// How much is missing here.
        bytes: u64,
    },
    /// The kernel waits for an acknowledgement.
    EndOfBlock,
    /// The stream has ended with this text; the kernel waits for a command.
    Stopped(String),
}

/// Output of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The process.
    pub name: String,
    /// When the kernel read the bytes, in seconds since 1970.
    pub timestamp: f64,
    /// The time as it was written.
    pub timestamp_text: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// The bytes are not a stream of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A head announces more than the limit, or a line does not end within it.
    #[error("the kernel announced {length} bytes, more than the limit of {limit}")]
    TooLong {
        /// What was announced or received.
        length: usize,
        /// The decoder's limit.
        limit: usize,
    },
    /// A head cannot be read.
    #[error("not a head of the kernel's stream: `{0}`")]
    BadHead(String),
    /// The data of a record are not followed by a line feed.
    #[error("a record of `{0}` has no end")]
    Unterminated(String),
}

fn print_head(form: Form, word: &str, name: &str, timestamp: f64, last: i64, out: &mut Vec<u8>) {
    out.extend(word.bytes());
    out.push(b':');
    match form {
        Form::Exact => percent::encode_with(name.as_bytes(), out, |_, byte| byte == b':'),
        Form::Classic => out.extend(name.bytes()),
    }
    out.extend(format!(":{timestamp:?}:{last}\n").bytes());
}

/// Appends one `out` or `err` record; the data are given in two parts, as a ring has them.
pub fn print_output(
    form: Form,
    stderr: bool,
    name: &str,
    timestamp: f64,
    data: (&[u8], &[u8]),
    out: &mut Vec<u8>,
) {
    let length = i64::try_from(data.0.len() + data.1.len()).unwrap_or(i64::MAX);
    print_head(form, if stderr { "err" } else { "out" }, name, timestamp, length, out);
    out.extend_from_slice(data.0);
    out.extend_from_slice(data.1);
    out.push(b'\n');
}

/// Appends one `closed` record.
pub fn print_closed(form: Form, name: &str, timestamp: f64, code: i32, out: &mut Vec<u8>) {
    print_head(form, "closed", name, timestamp, i64::from(code), out);
}

/// Appends one `dropped` record, which only the exact form knows.
pub fn print_dropped(name: &str, timestamp: f64, bytes: u64, out: &mut Vec<u8>) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    print_head(Form::Exact, "dropped", name, timestamp, bytes, out);
}

/// The line that begins the stream of `follow`, without its line feed.
pub fn following_line(offset: u64, note: &[u8]) -> Vec<u8> {
    let mut line = format!("Following {offset} ").into_bytes();
    percent::encode(note, &mut line);
    line
}

/// Takes a stream apart, however it is cut into pieces on the way.
#[derive(Debug)]
pub struct BlockDecoder {
    form: Form,
    limit: usize,
    buffer: Vec<u8>,
    start: usize,
}

/// A head line before its data are known.
struct Head<'a> {
    word: &'a str,
    name: String,
    timestamp: f64,
    timestamp_text: &'a str,
    last: &'a str,
}

impl BlockDecoder {
    /// A decoder for records with up to `limit` bytes of data.
    pub fn new(form: Form, limit: usize) -> Self {
        Self { form, limit, buffer: Vec::new(), start: 0 }
    }

    /// Takes what was received. Records should be taken before the next piece is fed: what is
    /// held is one incomplete record and that piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// What was received after the last record that was taken.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        rest
    }

    /// The next record, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`StreamError`]; the connection is of no use after that.
    pub fn next_record(&mut self) -> Result<Option<Record>, StreamError> {
        /// Names and numbers; a longer line is not a head.
        const LONGEST_HEAD: usize = 64 << 10;
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if rest.starts_with(b"] ") {
            self.start += 2;
            return Ok(Some(Record::EndOfBlock));
        }
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            if rest.len() > self.limit.max(LONGEST_HEAD) {
                return Err(StreamError::TooLong { length: rest.len(), limit: self.limit });
            }
            return Ok(None);
        };
        let (line, after) = rest.split_at(end);
        let after = after.get(1..).unwrap_or_default();
        let Some(head) = self.head(line)? else {
            let (record, used) = match text_record(line, after) {
                Some(found) => found,
                None => return Ok(None),
            };
            self.start += end + 1 + used;
            return Ok(Some(record));
        };
        let bad = || StreamError::BadHead(shown(line));
        let (record, used) = match head.word {
            "closed" => {
                let code = head.last.parse().ok();
                (Record::Closed { name: head.name, timestamp: head.timestamp, code }, 0)
            }
            "dropped" => {
                let bytes = head.last.parse().map_err(|_| bad())?;
                (Record::Dropped { name: head.name, timestamp: head.timestamp, bytes }, 0)
            }
            word => {
                let length: usize = head.last.parse().map_err(|_| bad())?;
                if length > self.limit {
                    return Err(StreamError::TooLong { length, limit: self.limit });
                }
                let Some(data) = after.get(..length) else { return Ok(None) };
                match after.get(length) {
                    None => return Ok(None),
                    Some(b'\n') => {}
                    Some(_) => return Err(StreamError::Unterminated(head.name)),
                }
                let output = Output {
                    name: head.name,
                    timestamp: head.timestamp,
                    timestamp_text: head.timestamp_text.to_owned(),
                    data: data.to_vec(),
                };
                let wrap = if word == "out" { Record::Out } else { Record::Err };
                (wrap(output), length + 1)
            }
        };
        self.start += end + 1 + used;
        Ok(Some(record))
    }

    /// Reads a head. `None`: the line is one of the texts around a stream.
    fn head<'a>(&self, line: &'a [u8]) -> Result<Option<Head<'a>>, StreamError> {
        let Some(text) = std::str::from_utf8(line).ok() else { return Ok(None) };
        let Some((word, rest)) = text.split_once(':') else { return Ok(None) };
        if !matches!(word, "out" | "err" | "closed" | "dropped") {
            return Ok(None);
        }
        // From the right, so that a classic name may contain colons.
        let mut parts = rest.rsplitn(3, ':');
        let (last, timestamp, name) = (parts.next(), parts.next(), parts.next());
        let bad = || StreamError::BadHead(shown(line));
        let (Some(last), Some(timestamp_text), Some(name)) = (last, timestamp, name) else {
            return Err(bad());
        };
        let timestamp = timestamp_text.parse().map_err(|_| bad())?;
        let name = match self.form {
            Form::Exact => percent::decode(name.as_bytes())
                .ok()
                .and_then(|name| String::from_utf8(name).ok())
                .ok_or_else(bad)?,
            Form::Classic => name.to_owned(),
        };
        Ok(Some(Head { word, name, timestamp, timestamp_text, last }))
    }
}

/// A line that is not a head, and how much of what follows belongs to it.
fn text_record(line: &[u8], after: &[u8]) -> Option<(Record, usize)> {
    if let Some(count) = line.strip_prefix(b"Watching ")
        && let Some(count) = std::str::from_utf8(count).ok().and_then(|text| text.parse().ok())
    {
        return Some((Record::Watching(count), 0));
    }
    if let Some(record) = following(line) {
        return Some((record, 0));
    }
    if after.starts_with(b"> ") {
        return Some((Record::Stopped(String::from_utf8_lossy(line).into_owned()), 2));
    }
    let undecided = b"> ".starts_with(after);
    let row = !line.starts_with(b"Error: ") && line.windows(5).any(|part| part == b" pid=");
    (row || !undecided).then(|| (Record::Row(line.to_vec()), 0))
}

fn following(line: &[u8]) -> Option<Record> {
    let (offset, note) =
        std::str::from_utf8(line).ok()?.strip_prefix("Following ")?.split_once(' ')?;
    let note = percent::decode(note.as_bytes()).ok()?;
    Some(Record::Following { offset: offset.parse().ok()?, note })
}

fn shown(line: &[u8]) -> String {
    const SHOWN: usize = 200;
    String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(decoder: &mut BlockDecoder) -> Vec<Record> {
        std::iter::from_fn(|| decoder.next_record().unwrap()).collect()
    }

    fn print(form: Form, records: &[Record]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            match record {
                Record::Out(o) => {
                    print_output(form, false, &o.name, o.timestamp, (&o.data, b""), &mut out);
                }
                Record::Err(o) => {
                    print_output(form, true, &o.name, o.timestamp, (b"", &o.data), &mut out);
                }
                Record::Closed { name, timestamp, code } => {
                    print_closed(form, name, *timestamp, code.unwrap(), &mut out);
                }
                Record::Dropped { name, timestamp, bytes } => {
                    print_dropped(name, *timestamp, *bytes, &mut out);
                }
                Record::EndOfBlock => out.extend(b"] "),
                Record::Watching(count) => out.extend(format!("Watching {count}\n").bytes()),
                Record::Following { offset, note } => {
                    out.extend(following_line(*offset, note));
                    out.push(b'\n');
                }
                Record::Stopped(text) => out.extend(format!("{text}\n> ").bytes()),
                Record::Row(line) => {
                    out.extend(line);
                    out.push(b'\n');
                }
            }
        }
        out
    }

    fn record() -> impl Strategy<Value = Record> {
        let name = "[^\0-\x1f]{1,6}";
        let output = (name, 0.0..4e9f64, any::<Vec<u8>>()).prop_map(|(name, timestamp, data)| {
            Output { name, timestamp, timestamp_text: format!("{timestamp:?}"), data }
        });
        prop_oneof![
            output.clone().prop_map(Record::Out),
            output.prop_map(Record::Err),
            (name, 0.0..4e9f64, any::<i32>()).prop_map(|(name, timestamp, code)| {
                Record::Closed { name, timestamp, code: Some(code) }
            }),
            (name, 0.0..4e9f64, 0..i64::MAX as u64)
                .prop_map(|(name, timestamp, bytes)| Record::Dropped { name, timestamp, bytes }),
            Just(Record::EndOfBlock),
        ]
    }

    proptest! {
        #[test]
        fn exact_streams_survive_in_any_pieces(
            middle in prop::collection::vec(record(), 0..8), cut in 1usize..40
        ) {
            let note = vec![cut as u8, b' ', b'%'];
            let mut sent = vec![Record::Watching(1), Record::Following { offset: 1 << 60, note }];
            sent.extend(middle);
            sent.push(Record::Stopped("Nothing left to watch".to_owned()));
            let bytes = print(Form::Exact, &sent);
            let mut decoder = BlockDecoder::new(Form::Exact, 1 << 20);
            let mut received = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.feed(piece);
                received.extend(records(&mut decoder));
            }
            prop_assert_eq!(received, sent);
            prop_assert_eq!(decoder.take_rest(), b"");
        }

        #[test]
        fn no_stream_is_too_strange(bytes: Vec<u8>) {
            let mut decoder = BlockDecoder::new(Form::Exact, 100);
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next_record() {}
        }
    }

    #[test]
    fn a_made_process_is_followed_on_the_same_connection() {
        let mut decoder = BlockDecoder::new(Form::Classic, 100);
        decoder.feed(b"x pid=1 running=True started=1.0 args=a\nout:x:2.5:3\nhi\n\n] ");
        let [Record::Row(_), Record::Out(output), Record::EndOfBlock] = &records(&mut decoder)[..]
        else {
            panic!("wrong records");
        };
        assert_eq!(
            (output.data.as_slice(), output.timestamp_text.as_str()),
            (b"hi\n".as_slice(), "2.5")
        );
    }

    #[test]
    fn an_error_in_place_of_a_stream_ends_it() {
        let mut decoder = BlockDecoder::new(Form::Classic, 100);
        decoder.feed(b"Error: x not found\n");
        assert_eq!(records(&mut decoder), []);
        decoder.feed(b"> ");
        assert_eq!(records(&mut decoder), [Record::Stopped("Error: x not found".to_owned())]);
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused() {
        let mut decoder = BlockDecoder::new(Form::Classic, 100);
        decoder.feed(b"out:x:1.0:101\n");
        let error = StreamError::TooLong { length: 101, limit: 100 };
        assert_eq!(decoder.next_record(), Err(error));
    }

    #[test]
    fn colons_in_a_classic_name_belong_to_the_name() {
        let mut decoder = BlockDecoder::new(Form::Classic, 100);
        decoder.feed(b"closed:a:b:1.0:-9\n");
        let closed = Record::Closed { name: "a:b".to_owned(), timestamp: 1.0, code: Some(-9) };
        assert_eq!(records(&mut decoder), [closed]);
    }
}
