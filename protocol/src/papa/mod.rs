//! The line protocol of the papa kernel: the grammar, and both directions of every message.
//!
//! Nothing here does I/O. `line` cuts a request into words, `command` gives the words their
//! meaning, `spec` holds what `make` carries, `reply` and `row` are the answers and `output` is
//! the stream that follows `watch`.
//!
//! # Grammar
//!
//! ```text
//! request  = classic LF | exact LF
//! classic  = text that does not begin with "%", words separated by spaces
//! exact    = "%" word *( " " word )
//! word     = "%"                                 ; the empty word
//!          | 1*( printable | "%" HEX HEX )       ; printable: 0x21..0x7e without "%"
//! option   = name "=" word
//! reply    = text LF "> " | "Error: " text LF "> "
//! stream   = ( "Watching " count | "Following " offset " " word ) LF *block end
//! block    = 1*record "] "
//! record   = ( "out" | "err" ) ":" name ":" seconds ":" length LF data LF
//!          | "closed:" name ":" seconds ":" code LF
//!          | "dropped:" name ":" seconds ":" bytes LF          ; exact form only
//! answer   = text LF | "%ack " offset " " word LF | "%note " word LF    ; the last two: exact form only
//! end      = ( "Nothing left to watch" | "Stopped watching" | "Error: " text ) LF "> "
//! ```
//!
//! **Classic form** is what papa 1.0.6 understands. The line's white space is cut at both ends, it
//! is split at single spaces, empty words vanish, a word that ends with a backslash is joined to
//! the next one by a space, and every finished word loses the white space at its ends. Invalid
//! UTF-8 becomes U+FFFD. It cannot carry newlines, white space at the ends of words, or an empty
//! word.
//!
//! **Exact form** carries every byte. Words are separated by exactly one space; bytes outside
//! 0x21..0x7e and `%` itself are written `%XX`; an empty word is a lone `%`. Nothing else is
//! interpreted, except that `$(socket.NAME.fileno)` and `$(socket.NAME.port)` work, all of them in
//! a word, where the classic form expands the first one only. A `$(` that stands for itself is
//! written `%24(`: references are found before decoding. The answer to an exact line has the same
//! shape, with every name and value of a row encoded the same way, so that rows can be split at
//! spaces; the words after `args=` are separated by single spaces. A stream that was asked for in
//! exact form has encoded names in its heads and reports evicted output in `dropped` records. An
//! old kernel answers `Error: Unknown command "%..."`, which is how a client tells the two apart.

mod answer;
mod argument;
mod command;
mod help;
mod line;
mod option;
mod output;
mod pattern;
mod percent;
mod reply;
mod request_lines;
mod row;
mod socket_spec;
mod spec;

pub use answer::{Answer, BadAnswer};
pub use argument::{Argument, OfSocket, Piece, ReferenceError};
pub use command::{Command, CommandError, HelpTopic, Noun, Verb, parse_request};
pub use line::{Form, LineError, Word, split_line};
pub use output::{
    BlockDecoder, Output, Record, StreamError, following_line, print_closed, print_dropped,
    print_output,
};
pub use pattern::{Pattern, first_missing, selected};
pub use percent::{decode, encode};
pub use reply::{GREETING, PROMPT, Reply, ReplyDecoder, ReplyError};
pub use request_lines::RequestLines;
pub use row::{ProcessRow, RowError, SocketRow, ValueRow};
pub use socket_spec::{Family, Kind, SocketSpec};
pub use spec::{DEFAULT_BUFFER, OutputMode, ProcessSpec, SpecError};
