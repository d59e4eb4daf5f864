//! Ordinary replies, as a client reads them: text up to the prompt.

use super::line::Form;

/// What the kernel says to a new connection, before its first prompt.
pub const GREETING: &str = "Papa is home. Type \"help\" for commands.\n";

/// Asks for a command. Stands at the start of a line, without a line feed after it.
pub const PROMPT: &str = "> ";

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Rows, a value or another text, without the line feed before the prompt.
    Text(Vec<u8>),
    /// What stood after `Error: `.
    Error(String),
}

impl Reply {
    /// Appends what the kernel sends, up to the next prompt. An error is one line, whatever is in its text.
    pub fn print(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Error(text) => out.extend(format!("Error: {}", text.replace('\n', " ")).bytes()),
        }
        out.extend(format!("\n{PROMPT}").bytes());
    }
}

/// The bytes are not a reply that could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No prompt came within the limit.
    #[error("the kernel's reply is longer than {limit} bytes")]
    TooLong {
        /// The decoder's limit in bytes.
        limit: usize,
    },
}

/// Collects bytes until a reply is complete.
///
/// The answer to an exact request ends at the first line that begins with the prompt. A classic
/// one may contain such a line as data; like the original client it is complete when the bytes
/// received so far end with the prompt, so classic requests must not be pipelined.
#[derive(Debug)]
pub struct ReplyDecoder {
    form: Form,
    limit: usize,
    buffer: Vec<u8>,
    /// No line before this offset begins with the prompt.
    searched: usize,
}

impl ReplyDecoder {
    /// A decoder for replies up to `limit` bytes.
    pub fn new(form: Form, limit: usize) -> Self {
        Self { form, limit, buffer: Vec::new(), searched: 0 }
    }

    /// Sets the form of the request whose reply comes next.
    pub fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// Takes what was received.
    ///
    /// # Errors
    /// [`ReplyError::TooLong`]; the connection is of no use after that.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReplyError> {
        if self.buffer.len().saturating_add(bytes.len()) > self.limit {
            return Err(ReplyError::TooLong { limit: self.limit });
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next complete reply, or `None` until more bytes come. The greeting is a reply, too.
    pub fn take_reply(&mut self) -> Option<Reply> {
        let end = match self.form {
            Form::Exact => self.first_prompt()?,
            Form::Classic => {
                let end = self.buffer.len().checked_sub(PROMPT.len())?;
                let line_start = end == 0 || self.buffer.get(end - 1) == Some(&b'\n');
                (line_start && self.buffer.ends_with(PROMPT.as_bytes())).then_some(end)?
            }
        };
        let rest = self.buffer.split_off(end + PROMPT.len());
        let mut text = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        text.truncate(end.saturating_sub(1));
        Some(match text.strip_prefix(b"Error: ") {
            Some(error) => Reply::Error(String::from_utf8_lossy(error).into_owned()),
            None => Reply::Text(text),
        })
    }

    /// Everything that was received and not yet taken: after `watch`, the beginning of a stream.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.buffer)
    }

    fn first_prompt(&mut self) -> Option<usize> {
        loop {
            let rest = self.buffer.get(self.searched..)?;
            if rest.starts_with(PROMPT.as_bytes()) {
                return Some(self.searched);
            }
            // Only a whole line can be skipped; a partial one is looked at again.
            self.searched += rest.iter().position(|&byte| byte == b'\n')? + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(form: Form, bytes: &[u8]) -> ReplyDecoder {
        let mut decoder = ReplyDecoder::new(form, 1000);
        decoder.feed(bytes).unwrap();
        decoder
    }

    #[test]
    fn a_reply_is_complete_when_its_prompt_has_come() {
        let mut decoder = decoder(Form::Classic, b"a 1\nb 2\n>");
        assert_eq!(decoder.take_reply(), None);
        decoder.feed(b" ").unwrap();
        assert_eq!(decoder.take_reply(), Some(Reply::Text(b"a 1\nb 2".to_vec())));
        decoder.feed(b"\n> ").unwrap();
        assert_eq!(decoder.take_reply(), Some(Reply::Text(Vec::new())));
        decoder.feed(b"Error: no\n> ").unwrap();
        assert_eq!(decoder.take_reply(), Some(Reply::Error("no".to_owned())));
        decoder.feed(b"> ").unwrap();
        assert_eq!(decoder.take_reply(), Some(Reply::Text(Vec::new())));
    }

    #[test]
    fn what_is_printed_is_read() {
        for reply in [Reply::Text(b"a 1".to_vec()), Reply::Error("no".to_owned())] {
            let mut out = Vec::new();
            reply.print(&mut out);
            assert_eq!(decoder(Form::Exact, &out).take_reply(), Some(reply));
        }
        let mut out = Vec::new();
        Reply::Error("one\n> two".to_owned()).print(&mut out);
        assert_eq!(out, b"Error: one > two\n> ");
    }

    #[test]
    fn exact_replies_may_be_pipelined() {
        let mut decoder = decoder(Form::Exact, b"a 1\n> b\n> Error: x\n> ");
        assert_eq!(decoder.take_reply(), Some(Reply::Text(b"a 1".to_vec())));
        assert_eq!(decoder.take_reply(), Some(Reply::Text(b"b".to_vec())));
        assert_eq!(decoder.take_reply(), Some(Reply::Error("x".to_owned())));
        assert_eq!(decoder.take_reply(), None);
    }

    #[test]
    fn a_prompt_inside_classic_text_does_not_end_it() {
        let mut decoder = decoder(Form::Classic, b"a\n> b\n> ");
        assert_eq!(decoder.take_reply(), Some(Reply::Text(b"a\n> b".to_vec())));
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_stored() {
        let mut decoder = ReplyDecoder::new(Form::Exact, 4);
        assert_eq!(decoder.feed(b"12345"), Err(ReplyError::TooLong { limit: 4 }));
    }
}
