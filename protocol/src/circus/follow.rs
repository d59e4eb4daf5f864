//! The properties of `tail` and `events`, which our circusd adds to the commands of the original.

use super::properties::{Properties, invalid};
use super::response::Failure;
use serde_json::Value;
use std::time::Duration;

/// A request waits for news this long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Watchers that one request can follow.
const MOST_TARGETS: usize = 1000;

/// Following something that is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// The first number that the client does not have; without it, it wants what there is.
    pub after: Option<u64>,
    /// How long to wait if there is nothing.
    pub wait: Duration,
}

/// A watcher whose output is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailTarget {
    /// The watcher.
    pub name: String,
    /// The slots; all if there are none.
    pub wids: Vec<u32>,
    /// The first piece that the client does not have.
    pub after: Option<u64>,
}

impl Properties<'_> {
    pub(super) fn follow(&self) -> Result<Follow, Failure> {
        Ok(Follow { after: self.number("after")?, wait: self.wait()? })
    }

    /// Either `targets`, a list of objects, or the same keys for a single one.
    pub(super) fn tail_targets(&self) -> Result<Vec<TailTarget>, Failure> {
        let Some(targets) = self.0.get("targets") else { return Ok(vec![self.target()?]) };
        let wrong = || invalid("'targets' isn't a list of objects");
        let targets = targets.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
        if targets.len() > MOST_TARGETS {
            return Err(invalid(format!("more than {MOST_TARGETS} 'targets'")));
        }
        let read = |target: &Value| Properties(target.as_object().ok_or_else(wrong)?).target();
        targets.iter().map(read).collect()
    }

    pub(super) fn wait(&self) -> Result<Duration, Failure> {
        let wrong = || invalid("'wait' isn't a number of seconds");
        match self.0.get("wait") {
            None | Some(Value::Null) => Ok(Duration::ZERO),
            Some(value) => {
                let seconds = value.as_f64().ok_or_else(wrong)?;
                Ok(Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?.min(LONGEST_WAIT))
            }
        }
    }

    fn target(&self) -> Result<TailTarget, Failure> {
        let wrong = || invalid("'wids' isn't a list of worker ids");
        let wids = match self.0.get("wids") {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => {
                let wid = |wid: &Value| u32::try_from(wid.as_u64()?).ok();
                let list = value.as_array().ok_or_else(wrong)?;
                list.iter().map(|value| wid(value).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
        };
        Ok(TailTarget { name: self.name()?, wids, after: self.number("after")? })
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| invalid(format!("'{key}' isn't a number")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn properties(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn one_watcher_or_many_can_be_followed() {
        let target = |name: &str, wids: &[u32], after| TailTarget {
            name: name.into(),
            wids: wids.into(),
            after,
        };
        let one = properties(&json!({"name": "web", "after": 7}));
        assert_eq!(Properties(&one).tail_targets(), Ok(vec![target("web", &[], Some(7))]));
        let many = properties(&json!({"targets": [{"name": "a", "wids": [2]}, {"name": "b"}]}));
        let expected = vec![target("a", &[2], None), target("b", &[], None)];
        assert_eq!(Properties(&many).tail_targets(), Ok(expected));
        for wrong in [
            json!({}),
            json!({"targets": []}),
            json!({"targets": [1]}),
            json!({"name": "a", "wids": [-1]}),
            json!({"name": "a", "after": "x"}),
        ] {
            assert!(Properties(&properties(&wrong)).tail_targets().is_err(), "{wrong}");
        }
    }

    #[test]
    fn waits_are_bounded() {
        let wait = |value: Value| Properties(&properties(&json!({"wait": value}))).wait();
        assert_eq!(wait(json!(0.5)), Ok(Duration::from_millis(500)));
        assert_eq!(wait(json!(1e9)), Ok(LONGEST_WAIT));
        assert!(wait(json!(-1)).is_err());
        assert!(wait(json!("x")).is_err());
    }
}
