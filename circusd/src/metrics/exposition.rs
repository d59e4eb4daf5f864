//! Prints metrics in the text format 0.0.4 of Prometheus and in that of OpenMetrics 1.0. Pure.
//!
//! The two differ in where a counter's `_total` stands, in the end mark, and in little else that is used here.
//! The official client library for Rust prints the latter only, and keeps metrics between scrapes, where ours
//! are read anew for each.

use std::fmt::Write as _;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Version 0.0.4 of Prometheus.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format for what a client accepts.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its name in HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up. Its samples get `_total`.
    Counter,
}

/// A page under construction.
pub struct Page {
    format: Format,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Adds a metric with its samples, each some labels and a value. One without samples is left out.
    pub fn add<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let (word, suffix) = match kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        let family = match self.format {
            Format::Prometheus => format!("{name}{suffix}"),
            Format::OpenMetrics => name.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {word}");
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let labels = match labels.as_slice() {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(",")),
            };
            let _ = writeln!(self.text, "{name}{suffix}{labels} {value}");
        }
    }

    /// Adds a metric with one sample and no labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.add(name, kind, help, [(Vec::new(), value)]);
    }

    /// The finished page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        let labels = vec![("watcher", "a \"b\"\\\n")];
        page.add("circus_restarts", Kind::Counter, "Restarts.", [(labels, 3.0)]);
        page.add("circus_nothing", Kind::Gauge, "Left out.", []);
        page.single("circus_up", Kind::Gauge, "Up.", 0.5);
        page.finish()
    }

    #[test]
    fn both_formats_are_printed_as_their_documents_say() {
        assert_eq!(
            page(Format::Prometheus),
            "# HELP circus_restarts_total Restarts.\n# TYPE circus_restarts_total counter\n\
             circus_restarts_total{watcher=\"a \\\"b\\\"\\\\\\n\"} 3\n\
             # HELP circus_up Up.\n# TYPE circus_up gauge\ncircus_up 0.5\n"
        );
        let open = page(Format::OpenMetrics);
        assert!(
            open.starts_with("# HELP circus_restarts Restarts.\n# TYPE circus_restarts counter\n")
        );
        assert!(open.contains("circus_restarts_total{") && open.ends_with("# EOF\n"));
    }

    #[test]
    fn the_format_is_what_the_client_accepts() {
        let open = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5";
        assert_eq!(Format::accepted(open), Format::OpenMetrics);
        assert_eq!(Format::accepted("text/plain"), Format::Prometheus);
        assert_eq!(Format::accepted(""), Format::Prometheus);
    }
}
