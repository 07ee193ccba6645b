//! The environment variables, read once.

use std::{collections::BTreeMap, ffi::OsString};

use super::problem::{Place, Problem};

/// A copy of the environment, so that what depends on it is decided in one place and a test can
/// hand in its own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// This process's.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self { variables }
    }

    /// Lets a variable stand in that is not set here, and will be where the program runs.
    #[must_use]
    pub fn or(mut self, name: &str, value: &str) -> Self {
        let set = self.variables.entry(name.to_owned()).or_default();
        if set.is_empty() {
            *set = value.into();
        }
        self
    }

    /// A variable's value; an empty one counts as not set.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.variables.get(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        value.to_str().map(Some).ok_or_else(|| Problem {
            place: Place::Environment(name.into()),
            message: "the value is not UTF-8".into(),
            hint: None,
        })
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into();
        Self { variables }
    }
}
