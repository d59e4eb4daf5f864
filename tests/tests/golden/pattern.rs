//! What a recorded value stands for: literal JSON with placeholders such as `<int:pid#1>`.
//!
//! The placeholders are described in `tests/golden/zmq/README.md`. A numbered one is bound to the first
//! value that it meets and must be the same from then on.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// Keys that only some versions of the original show.
const OPTIONAL: [&str; 2] = ["__name__", "close_child_stdin"];

/// How exactly objects are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Further keys are allowed, as clients ignore them, and so are fewer optional ones.
    AtLeast,
    /// The same keys.
    Exactly,
}

/// The values of the numbered placeholders of one session.
#[derive(Clone, Default)]
pub(crate) struct Bindings {
    values: HashMap<String, i64>,
}

/// Why a value does not fit.
pub(crate) type Mismatch = String;

/// A placeholder such as `<int:pid#1>`: kind, name, number.
struct Placeholder<'a> {
    kind: &'a str,
    name: &'a str,
    number: Option<&'a str>,
}

impl<'a> Placeholder<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix('<')?.strip_suffix('>')?;
        let (inner, number) = match inner.split_once('#') {
            Some((inner, number)) => (inner, Some(number)),
            None => (inner, None),
        };
        let (kind, name) = inner.split_once(':').unwrap_or((inner, ""));
        let known = ["uuid", "int", "str", "float", "object", "list", "raw"].contains(&kind);
        known.then_some(Self { kind, name, number })
    }

    fn key(&self) -> Option<String> {
        // Another listing may number descriptors anew.
        let number = self.number.filter(|_| self.name != "fd")?;
        Some(format!("{}#{number}", self.name))
    }
}

impl Bindings {
    /// Puts the bound values into a request.
    ///
    /// # Errors
    /// When a value has not been seen yet.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Value, Mismatch> {
        Ok(match value {
            Value::String(text) => match Placeholder::parse(text) {
                Some(placeholder) if placeholder.kind != "uuid" => {
                    let key = placeholder.key().ok_or_else(|| format!("{text} has no number"))?;
                    let bound =
                        self.values.get(&key).ok_or_else(|| format!("{text} is unbound"))?;
                    if placeholder.kind == "int" {
                        (*bound).into()
                    } else {
                        bound.to_string().into()
                    }
                }
                _ => value.clone(),
            },
            Value::Array(items) => {
                items.iter().map(|item| self.resolve(item)).collect::<Result<_, _>>()?
            }
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.resolve(value)?)))
                .collect::<Result<Map<_, _>, Mismatch>>()?
                .into(),
            _ => value.clone(),
        })
    }

    /// Compares a value with what was recorded and binds new placeholders.
    ///
    /// # Errors
    /// Where they differ, as a path and both values.
    pub(crate) fn fit(
        &mut self,
        recorded: &Value,
        actual: &Value,
        path: &str,
        keys: Keys,
        id: &Value,
    ) -> Result<(), Mismatch> {
        let differs = || Err(format!("{path}: {actual}, expected {recorded}"));
        match recorded {
            Value::String(text) => match Placeholder::parse(text) {
                Some(placeholder) if placeholder.kind == "uuid" && actual == id => Ok(()),
                Some(placeholder)
                    if placeholder.kind != "uuid" && fits_kind(&placeholder, actual) =>
                {
                    self.bind(&placeholder, actual).map_or(Ok(()), |bound| {
                        Err(format!("{path}: {actual}, expected {text} = {bound}"))
                    })
                }
                Some(_) => differs(),
                None if actual.as_str().is_some_and(|actual| fits_text(text, actual)) => Ok(()),
                None => differs(),
            },
            Value::Object(map) => match actual {
                Value::Object(actual) => self.fit_object(map, actual, path, keys, id),
                _ => differs(),
            },
            Value::Array(items) => match actual {
                Value::Array(actual) if actual.len() == items.len() => {
                    self.fit_list(items, actual, path, keys, id)
                }
                _ => differs(),
            },
            Value::Number(number) => {
                let same =
                    number.as_f64().zip(actual.as_f64()).is_some_and(|(a, b)| (a - b).abs() < 1e-9);
                if same { Ok(()) } else { differs() }
            }
            Value::Null | Value::Bool(_) if recorded == actual => Ok(()),
            Value::Null | Value::Bool(_) => differs(),
        }
    }

    /// Binds a number, or gives the value that it is bound to when that is another one.
    fn bind(&mut self, placeholder: &Placeholder<'_>, actual: &Value) -> Option<i64> {
        let key = placeholder.key()?;
        let number = number(actual)?;
        let bound = *self.values.entry(key).or_insert(number);
        (bound != number).then_some(bound)
    }

    fn fit_object(
        &mut self,
        recorded: &Map<String, Value>,
        actual: &Map<String, Value>,
        path: &str,
        keys: Keys,
        id: &Value,
    ) -> Result<(), Mismatch> {
        let mut rest = actual.clone();
        let (numbered, named): (Vec<_>, Vec<_>) = recorded.iter().partition(|(key, _)| {
            Placeholder::parse(key).is_some_and(|found| found.number.is_some())
        });
        for (key, value) in named {
            match rest.remove(key) {
                Some(found) => self.fit(value, &found, &format!("{path}.{key}"), keys, id)?,
                None if keys == Keys::AtLeast && OPTIONAL.contains(&key.as_str()) => {}
                None => return Err(format!("{path}: key `{key}` is missing in {actual:?}")),
            }
        }
        let has_numbered = !numbered.is_empty();
        for (key, value) in numbered {
            let label = Placeholder::parse(key).and_then(|found| found.key()).unwrap_or_default();
            let bound = match self.values.get(&label) {
                Some(bound) => bound.to_string(),
                None => self
                    .first_new(&rest)
                    .ok_or_else(|| format!("{path}: nothing is left for {key}"))?,
            };
            let found =
                rest.remove(&bound).ok_or_else(|| format!("{path}: {bound} ({key}) is missing"))?;
            self.values.insert(label, bound.parse().unwrap_or_default());
            self.fit(value, &found, &format!("{path}.{key}"), keys, id)?;
        }
        if !rest.is_empty() && (has_numbered || keys == Keys::Exactly) {
            let names: Vec<_> = rest.keys().collect();
            return Err(format!("{path}: unexpected keys {names:?}"));
        }
        Ok(())
    }

    /// The smallest numeric key that no placeholder is bound to.
    fn first_new(&self, map: &Map<String, Value>) -> Option<String> {
        let numbers = map.keys().filter_map(|key| key.parse::<i64>().ok());
        let new = numbers.filter(|number| !self.values.values().any(|value| value == number));
        new.min().map(|number| number.to_string())
    }

    fn fit_list(
        &mut self,
        recorded: &[Value],
        actual: &[Value],
        path: &str,
        keys: Keys,
        id: &Value,
    ) -> Result<(), Mismatch> {
        let pids: Option<Vec<&str>> = recorded
            .iter()
            .map(|value| value.as_str().filter(|text| text.starts_with("<int:pid#")))
            .collect();
        if let Some(pids) = pids {
            return self.fit_pids(&pids, actual, path);
        }
        // Sorted by a number that differs each time.
        let by_name = |values: &[Value]| {
            let mut sorted = values.to_vec();
            if sorted.iter().all(|value| value.get("fd").is_some()) {
                sorted.sort_by_key(|value| value["name"].to_string());
            }
            sorted
        };
        for (index, (recorded, actual)) in by_name(recorded).iter().zip(by_name(actual)).enumerate()
        {
            self.fit(recorded, &actual, &format!("{path}[{index}]"), keys, id)?;
        }
        Ok(())
    }

    /// Pids that are known must be there, in any order; the others are bound in order.
    fn fit_pids(
        &mut self,
        recorded: &[&str],
        actual: &[Value],
        path: &str,
    ) -> Result<(), Mismatch> {
        let mut left: Vec<i64> = actual.iter().filter_map(Value::as_i64).collect();
        let mut new = Vec::new();
        for text in recorded {
            let key = Placeholder::parse(text).and_then(|found| found.key()).unwrap_or_default();
            match self.values.get(&key) {
                None => new.push(key),
                Some(bound) => {
                    let index = left.iter().position(|pid| pid == bound);
                    let index = index
                        .ok_or_else(|| format!("{path}: {actual:?} lacks {text} = {bound}"))?;
                    left.remove(index);
                }
            }
        }
        for (key, pid) in new.into_iter().zip(left) {
            if self.values.values().any(|value| *value == pid) {
                return Err(format!("{path}: {pid} is not a new pid"));
            }
            self.values.insert(key, pid);
        }
        Ok(())
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn fits_kind(placeholder: &Placeholder<'_>, actual: &Value) -> bool {
    match placeholder.kind {
        "int" => actual.is_i64() || actual.is_u64(),
        "float" => actual.is_number() || actual == "N/A",
        // No traceback is as good as one.
        "str" if placeholder.name == "traceback" => actual.is_string() || actual.is_null(),
        "str" if placeholder.number.is_some() => actual.is_string() && number(actual).is_some(),
        "str" | "raw" => actual.is_string(),
        "object" => actual.is_object(),
        "list" => actual.is_array(),
        _ => false,
    }
}

/// A text with placeholders inside, which stand for any text (numbers for digits).
fn fits_text(recorded: &str, actual: &str) -> bool {
    let Some(start) = recorded.find('<') else { return recorded == actual };
    let (literal, rest) = recorded.split_at(start);
    let Some(actual) = actual.strip_prefix(literal) else { return false };
    let placeholder =
        rest.find('>').and_then(|end| Placeholder::parse(&rest[..=end]).map(|p| (p, end)));
    let Some((placeholder, end)) = placeholder else {
        return actual.strip_prefix('<').is_some_and(|actual| fits_text(&rest[1..], actual));
    };
    let digits = ["int", "float"].contains(&placeholder.kind);
    let stops = actual.char_indices().map(|(index, _)| index).chain([actual.len()]);
    let fitting = stops
        .filter(|index| !digits || actual[..*index].chars().all(|c| "-.e0123456789".contains(c)));
    fitting.into_iter().any(|index| fits_text(&rest[end + 1..], &actual[index..]))
}

#[cfg(test)]
mod tests {
    use super::{Bindings, Keys};
    use serde_json::{Value, json};

    fn fits(bindings: &mut Bindings, recorded: &Value, actual: &Value) -> bool {
        bindings.fit(recorded, actual, "", Keys::AtLeast, &Value::Null).is_ok()
    }

    #[test]
    fn a_numbered_placeholder_keeps_its_value() {
        let mut bindings = Bindings::default();
        assert!(fits(&mut bindings, &json!("<int:pid#1>"), &json!(7)));
        assert!(fits(
            &mut bindings,
            &json!({"pid": "<str:pid#1>"}),
            &json!({"pid": "7", "more": 1})
        ));
        assert!(!fits(&mut bindings, &json!("<int:pid#1>"), &json!(8)));
        assert!(!fits(&mut bindings, &json!(["<int:pid#2>"]), &json!([7])), "not a new one");
        assert_eq!(bindings.resolve(&json!(["<int:pid#1>", "<str:pid#1>"])), Ok(json!([7, "7"])));
    }

    #[test]
    fn types_and_literals_are_compared() {
        let mut bindings = Bindings::default();
        assert!(fits(
            &mut bindings,
            &json!({"t": "<float:time>", "n": 1}),
            &json!({"t": 1.5, "n": 1.0})
        ));
        assert!(!fits(&mut bindings, &json!(1), &json!(true)));
        assert!(!fits(&mut bindings, &json!("<int:port>"), &json!("5")));
        assert!(!fits(&mut bindings, &json!({"a": 1}), &json!({})));
        assert!(fits(&mut bindings, &json!("gone (pid=<int:pid#3>)"), &json!("gone (pid=12)")));
        assert!(!fits(&mut bindings, &json!("gone (pid=<int:pid#3>)"), &json!("gone (pid=x)")));
    }
}
