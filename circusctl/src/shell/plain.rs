//! Lines as they come from a pipe or a file: no editing, no history. The prompt is printed all the
//! same, as scripts of the original expect.

use super::prompt::{Next, PROMPT};
use crate::outcome::{self, Ending};
use std::io::{self, BufRead};

/// Asks for the next line.
pub(super) fn next() -> Result<Next, Ending> {
    outcome::print(PROMPT)?;
    let mut line = Vec::new();
    match io::stdin().lock().read_until(b'\n', &mut line) {
        Ok(0) => Ok(Next::End),
        Ok(_) => Ok(Next::Line(String::from_utf8_lossy(&line).into_owned())),
        // A terminal without editing: Ctrl-C at the prompt cancels the line.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Next::Cancelled),
        Err(_) => Ok(Next::End),
    }
}
