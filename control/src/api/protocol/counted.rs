//! Numbers by name, as `lbd` lists them: a client shows those that it knows, whatever others there are.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Counters and gauges by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counted(BTreeMap<String, Value>);

impl Counted {
    /// The number of this name; 0 if there is none, as of an `lbd` that does not count it.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }
}

impl<'a> FromIterator<(&'a str, u64)> for Counted {
    fn from_iter<T: IntoIterator<Item = (&'a str, u64)>>(numbers: T) -> Self {
        Self(numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect())
    }
}
