//! What the argument parser refuses, told like every other failure.

use crate::report::{CommandError, Kind};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The failure for a refusal of the parser.
pub fn refusal(error: &clap::Error) -> CommandError {
    let text = error.render().to_string();
    let mut message = String::new();
    let mut hints = Vec::new();
    for (number, paragraph) in text.split("\n\n").enumerate() {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if number == 0 {
            message = words.strip_prefix("error: ").unwrap_or(&words).to_owned();
        } else if let Some(usage) = words.strip_prefix("Usage: ") {
            hints.push(format!("usage: {usage}"));
        } else {
            hints.extend(
                words
                    .split("tip: ")
                    .map(str::trim)
                    .filter(|tip| !tip.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    // clap ends with an advice to look at the help, which the usage makes superfluous.
    hints.retain(|hint| !hint.starts_with("For more information"));
    hints.into_iter().fold(CommandError::new(kind(error), message), CommandError::hint)
}

/// Circus 0.17.2 takes words of a command itself (exit code 1) and leaves commands and options to
/// its argument parser (2).
fn kind(error: &clap::Error) -> Kind {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => Kind::Local,
        ErrorKind::UnknownArgument
        | ErrorKind::ValueValidation
        | ErrorKind::InvalidValue
        | ErrorKind::TooManyValues => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) if argument.starts_with('-') => Kind::Usage,
            _ => Kind::Local,
        },
        _ => Kind::Usage,
    }
}
