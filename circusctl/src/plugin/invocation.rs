//! The command line that starts a plugin: the same options whether it is one of ours or a class in Python.
//!
//! Used by circusd, and by circus-plugin for classes in Python. Starts nothing.

use super::config_text;

/// What Python runs: the program that the circus package has for plugins.
const MAIN: &str = "from circus import plugins;plugins.main()";

/// The same for options that its reader of `key:value:::key:value` would cut or strip. That reader is a function
/// of the package, from 0.6 to 0.17 and in our own.
const MAIN_WITH_JSON: &str =
    "import json;from circus import plugins;plugins._str2cfg=json.loads;plugins.main()";

/// What a plugin is started with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    /// circusd's endpoint.
    pub endpoint: String,
    /// Where circusd publishes.
    pub pubsub: String,
    /// The machine that circusd is on.
    pub ssh: Option<String>,
    /// The options of the plugin, in one of the forms of [`config_text`].
    pub config: Option<String>,
    /// Seconds between circusd's looks at its watchers.
    pub check_delay: Option<f64>,
    /// The least important messages to log.
    pub log_level: Option<String>,
    /// Where to log.
    pub log_output: Option<String>,
    /// The dotted name.
    pub class: String,
}

impl Invocation {
    /// The words after the program for one of our own.
    pub fn words(&self) -> Vec<String> {
        let check_delay = self.check_delay.map(|seconds| seconds.to_string());
        let options = [
            ("--endpoint", Some(&self.endpoint)),
            ("--pubsub", Some(&self.pubsub)),
            ("--ssh", self.ssh.as_ref()),
            ("--config", self.config.as_ref().filter(|config| !config.is_empty())),
            ("--check-delay", check_delay.as_ref()),
            ("--log-level", self.log_level.as_ref()),
            ("--log-output", self.log_output.as_ref()),
        ];
        let given = options.into_iter().filter_map(|(option, value)| Some((option, value?)));
        let mut words: Vec<String> = given
            .flat_map(|(option, value)| match value.strip_prefix('-') {
                // A value that looks like an option must be glued to its own. Only `-` itself does not.
                Some(rest) if !rest.is_empty() => vec![format!("{option}={value}")],
                _ => vec![option.to_owned(), value.clone()],
            })
            .collect();
        words.push(self.class.clone());
        words
    }

    /// The words after the Python for a class of others.
    pub fn python_words(&self) -> Vec<String> {
        let json = self.config.as_deref().is_some_and(config_text::is_json);
        let main = if json { MAIN_WITH_JSON } else { MAIN };
        ["-c", main].into_iter().map(str::to_owned).chain(self.words()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(config: &str) -> Invocation {
        Invocation {
            endpoint: "tcp://h:1".into(),
            pubsub: "tcp://h:2".into(),
            config: Some(config.to_owned()),
            class: "a.B".into(),
            ..Invocation::default()
        }
    }

    #[test]
    fn the_command_line_is_that_of_the_original() {
        let python = invocation("a:1:::name:plugin:x").python_words();
        let expected = [
            "-c",
            "from circus import plugins;plugins.main()",
            "--endpoint",
            "tcp://h:1",
            "--pubsub",
            "tcp://h:2",
            "--config",
            "a:1:::name:plugin:x",
            "a.B",
        ];
        assert_eq!(python, expected);
        let mut full = invocation("");
        (full.ssh, full.check_delay) = (Some("me@h".into()), Some(0.5));
        (full.log_level, full.log_output) = (Some("DEBUG".into()), Some("-".into()));
        let words = full.words().join(" ");
        assert_eq!(
            words,
            "--endpoint tcp://h:1 --pubsub tcp://h:2 --ssh me@h --check-delay 0.5 \
             --log-level DEBUG --log-output - a.B"
        );
    }

    #[test]
    fn options_that_the_original_would_cut_come_with_their_own_reader() {
        let words = invocation(r#"{"a":":::"}"#).python_words();
        assert!(words[1].contains("_str2cfg=json.loads"), "{words:?}");
        let words = invocation("-x:1").words();
        assert!(words.contains(&"--config=-x:1".to_owned()), "{words:?}");
    }
}
