//! The section `[http]` where HTTP is left out: nothing but that nobody listens.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::{
    environment::Environment,
    problem::{ConfigError, Problem},
    section::Section,
    value::{Value, quoted},
};

/// What listeners could be told.
#[derive(Debug)]
pub struct HttpOptions;

/// The listeners' part of a [`Config`](super::Config).
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The Unix socket: none.
    pub socket: Option<PathBuf>,
}

impl HttpConfig {
    pub(super) fn read(
        mut section: Section<'_, '_>,
        _data_dir: &Path,
        _environment: &Environment,
    ) -> Result<Self, Problem> {
        for key in ["listen", "socket"] {
            let Off = section.get(key, Off);
        }
        section.finish();
        Ok(Self { socket: None })
    }

    pub(super) const fn options(&self) -> Result<HttpOptions, ConfigError> {
        Ok(HttpOptions)
    }
}

/// The one word that there is for a listener.
#[derive(Clone, Copy)]
struct Off;

/// As it is written.
const OFF: &str = "off";

impl Value for Off {
    const KIND: &'static str = "\"off\": this program leaves HTTP out";
    const EXAMPLE: &'static str = "\"off\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        (value.as_str()? == OFF).then_some(Self)
    }

    fn show(&self) -> String {
        quoted(OFF)
    }
}
