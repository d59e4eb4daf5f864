//! Reading the properties of a request: required and optional ones, and values in the forms that clients of
//! the original send them.

use super::command::{
    AddWatcher, Command, MatchMethod, Selection, SignalTarget, StatsTarget, UpgradeOrder,
};
use super::errno::Errno;
use super::option::{self, words};
use super::response::Failure;
use crate::signal::Signal;
use serde_json::{Map, Value};

/// The properties of one request.
pub(super) struct Properties<'a>(pub(super) &'a Map<String, Value>);

impl Properties<'_> {
    pub(super) fn required(&self, key: &str) -> Result<&Value, Failure> {
        self.0.get(key).ok_or_else(|| Failure::missing(key))
    }

    pub(super) fn name(&self) -> Result<String, Failure> {
        text("name", self.required("name")?)
    }

    pub(super) fn optional_name(&self) -> Result<Option<String>, Failure> {
        // A null is not the same as nothing: `stop` with it must not stop everything.
        match self.0.get("name") {
            None => Ok(None),
            Some(value) => text("name", value).map(Some),
        }
    }

    /// Any value that Python counts as true.
    pub(super) fn flag(&self, key: &str) -> bool {
        match self.0.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(keys)) => !keys.is_empty(),
        }
    }

    pub(super) fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.0.contains_key(key) { self.flag(key) } else { default }
    }

    pub(super) fn waiting(&self) -> bool {
        self.flag("waiting")
    }

    pub(super) fn selection(&self) -> Result<Selection, Failure> {
        let Some(name) = self.optional_name()? else { return Ok(Selection::All) };
        let method = match self.0.get("match") {
            None => MatchMethod::default(),
            Some(Value::String(method)) => match method.as_str() {
                "simple" => MatchMethod::Simple,
                "glob" => MatchMethod::Glob,
                "regex" => MatchMethod::Regex,
                other => return Err(invalid(format!("unknown match method {other}"))),
            },
            Some(other) => {
                return Err(invalid(format!("unknown match method {}", python_str(other))));
            }
        };
        Ok(Selection::Named { name, method })
    }

    pub(super) fn resize(&self, sign: i64) -> Result<Command, Failure> {
        let name = self.name()?;
        let nb = match self.0.get("nb") {
            None | Some(Value::Null) => 1,
            Some(value) => value.as_i64().ok_or_else(|| invalid("'nb' isn't an integer"))?,
        };
        Ok(Command::Resize { name, change: nb.saturating_mul(sign), waiting: self.waiting() })
    }

    pub(super) fn upgrade(&self) -> Result<Command, Failure> {
        let text_of = |key: &str| self.0.get(key).map(|value| text(key, value)).transpose();
        if let Some(id) = text_of("result")? {
            return Ok(Command::UpgradeResult(id));
        }
        let timeout = match self.0.get("timeout") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let seconds = value.as_f64().filter(|seconds| (1.0..=3600.0).contains(seconds));
                Some(seconds.ok_or_else(|| invalid("'timeout' must be 1 to 3600 seconds"))?)
            }
        };
        Ok(Command::Upgrade(UpgradeOrder {
            program: text_of("program")?,
            kernel: self.flag("kernel"),
            restart_direct: self.flag("restart_direct"),
            timeout,
        }))
    }

    pub(super) fn signal(&self) -> Result<Command, Failure> {
        self.required("name")?;
        let signal = signal(self.required("signum")?)?;
        let target = SignalTarget {
            name: self.name()?,
            pid: self.pid("pid")?,
            // The documentation and the plugins call it `child_pid`, the code of the original `childpid`.
            child: match self.pid("childpid")? {
                None => self.pid("child_pid")?,
                child => child,
            },
            children: self.flag("children"),
            recursive: self.flag("recursive"),
        };
        if target.child.is_some() && target.pid.is_none() {
            return Err(invalid("cannot specify childpid without pid"));
        }
        Ok(Command::Signal { signal, target })
    }

    pub(super) fn kill(&self) -> Result<Command, Failure> {
        let name = self.name()?;
        let signal = match self.0.get("signum") {
            None | Some(Value::Null) => None,
            Some(value) => Some(signal(value)?),
        };
        // circusctl of the original sends the number as text.
        let graceful_timeout = match self.0.get("graceful_timeout") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let text = value.as_str().and_then(|text| text.trim().parse().ok());
                let wrong = || invalid("'graceful_timeout' isn't a number");
                Some(value.as_f64().or(text).filter(|t: &f64| !t.is_nan()).ok_or_else(wrong)?)
            }
        };
        let (pid, waiting) = (self.pid("pid")?, self.waiting());
        Ok(Command::Kill { name, pid, signal, graceful_timeout, waiting })
    }

    pub(super) fn add(&self) -> Result<AddWatcher, Failure> {
        let (name, cmd) = (self.name()?, text("cmd", self.required("cmd")?)?);
        if name.trim().is_empty() {
            return Err(invalid("'name' is empty"));
        }
        if cmd.trim().is_empty() {
            return Err(invalid("'cmd' is empty"));
        }
        let args = match self.0.get("args") {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(words(value).ok_or_else(|| invalid("'args' isn't text or a list"))?)
            }
        };
        let options = self.options(false)?;
        if let Some(key) = ["cmd", "args"].into_iter().find(|key| options.contains_key(*key)) {
            return Err(invalid(format!("'{key}' stands beside 'options', not in it")));
        }
        let (start, waiting) = (self.flag("start"), self.waiting());
        Ok(AddWatcher { name, cmd, args, options, start, waiting })
    }

    pub(super) fn options(&self, required: bool) -> Result<Map<String, Value>, Failure> {
        let options = match self.0.get("options") {
            None if required => return Err(Failure::missing("options")),
            None => return Ok(Map::new()),
            Some(Value::Object(options)) => options.clone(),
            Some(_) => return Err(invalid("'options' property should be an object")),
        };
        option::check(&options)?;
        Ok(options)
    }

    pub(super) fn pid(&self, key: &str) -> Result<Option<i32>, Failure> {
        let wrong = || invalid(format!("'{key}' isn't a process id"));
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => pid(value).map(Some).ok_or_else(wrong),
        }
    }

    pub(super) fn stats(&self) -> Result<StatsTarget, Failure> {
        let Some(name) = self.optional_name()? else { return Ok(StatsTarget::All) };
        match self.0.get("process") {
            None | Some(Value::Null) => Ok(StatsTarget::Watcher(name)),
            Some(given) => {
                let pid = pid(given).ok_or_else(|| invalid("'process' isn't a process id"))?;
                Ok(StatsTarget::Process { name, pid, given: given.clone() })
            }
        }
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, Failure> {
        let wrong = || invalid("'keys' isn't a list of strings");
        let keys = self.required("keys")?.as_array().ok_or_else(wrong)?;
        keys.iter().map(|key| key.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    pub(super) fn global_option(&self) -> Result<Option<String>, Failure> {
        match self.0.get("option") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(text("option", value)?).filter(|option| !option.is_empty())),
        }
    }
}

/// A simple value as Python's `str` shows it, which clients see in some reasons.
fn python_str(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// errno 3 with this reason.
pub(super) fn invalid(reason: impl Into<String>) -> Failure {
    Failure::new(Errno::Message, reason)
}

fn text(key: &str, value: &Value) -> Result<String, Failure> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(format!("'{key}' isn't a string")))
}

/// A pid as a number or as digits.
fn pid(value: &Value) -> Option<i32> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    i32::try_from(number).ok().filter(|pid| *pid > 0)
}

fn signal(value: &Value) -> Result<Signal, Failure> {
    let signal = match value {
        Value::Number(number) => number.as_i64().and_then(Signal::from_number),
        Value::String(text) => Signal::parse(text).ok(),
        _ => None,
    };
    signal.ok_or_else(|| invalid("signal invalid"))
}
