//! Named values: what circusd wants to find again.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

/// Values by name.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct ValueTable {
    values: BTreeMap<String, Vec<u8>>,
}

impl ValueTable {
    /// Stores a value; `None` removes it.
    pub(crate) fn set(&mut self, name: String, value: Option<Vec<u8>>) {
        match value {
            Some(value) => drop(self.values.insert(name, value)),
            None => drop(self.values.remove(&name)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// All values, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.values.retain(|name, _| keep(name));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
