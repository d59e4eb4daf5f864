//! The log of circusd and of the programs it runs: `2026-11-23 19:38:44 circus[PID] [LEVEL] text`, as existing log readers expect it.
//!
//! `-` and `stdout` mean stderr, as in the original; anything else is a file that is appended to.

use jiff::Zoned;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open the log file `{path}`: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A destination that is not supported.
    #[error("log output `{0}` is not supported; give a file name or `-` for stderr")]
    Unsupported(String),
}

/// Directs the log to `output`, from `level` upwards.
///
/// # Errors
/// [`LogError`] names the file.
pub fn set_up(level: &str, output: &str) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(level))
        .with_ansi(false)
        .event_format(CircusFormat);
    if output == "-" || output == "stdout" {
        builder.with_writer(io::stderr).init();
        return Ok(());
    }
    if output.starts_with("syslog:") {
        return Err(LogError::Unsupported(output.to_owned()));
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(output)
        .map_err(|source| LogError::Open { path: output.to_owned(), source })?;
    builder.with_writer(Mutex::new(file)).init();
    Ok(())
}

/// The five levels of the original, in any case; an unknown one counts as info, as there.
fn filter(level: &str) -> LevelFilter {
    match level.to_ascii_lowercase().as_str() {
        "critical" | "error" => LevelFilter::ERROR,
        "warning" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    }
}

struct CircusFormat;

impl<S, N> FormatEvent<S, N> for CircusFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        write!(writer, "{now} circus[{}] [{level}] ", std::process::id())?;
        let mut text = Text::default();
        event.record(&mut text);
        writeln!(writer, "{}{}", text.message, text.fields)
    }
}

/// The message, and the other fields as `key=value` behind it. A line break in either becomes a blank, so
/// that one event is one line.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let shown = format!("{value:?}").replace(['\n', '\r'], " ");
        if field.name() == "message" {
            self.message = shown;
        } else {
            self.fields.push_str(&format!(" {}={shown}", field.name()));
        }
    }
}
