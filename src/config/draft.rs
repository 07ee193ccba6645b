//! A configuration that is about to be written.

use std::path::Path;

use super::{
    Config, ConfigError, Environment, File,
    problem::{Place, Problem},
    read_text,
    value::{quoted, quoted_list},
};

/// What stands above the keys, for whoever opens the file.
const HEADER: &str = "\
# The configuration of edge-outbox, written by `edge-outbox init`. `edge-outbox config show` has every
# key with what is in force, `edge-outbox config check` says what is wrong.
";

/// What a key is about, where its name does not say so.
const COMMENTS: [(&str, &str); 9] = [
    (
        "device.name",
        "Unique in the fleet. Another name begins a new epoch.",
    ),
    (
        "http.listen",
        "HTTP on TCP, besides the Unix socket; \"off\" for the socket alone.",
    ),
    (
        "http.token_file",
        "What requests on TCP have to carry: Authorization: Bearer and this.",
    ),
    ("sinks", "No sink yet: events are kept until there is one."),
    (
        "sinks.hub",
        "Where events go. The name is the sink's identity: under another it is another sink.",
    ),
    (
        "sinks.hub.credentials_file",
        "Who the device is to the server.",
    ),
    ("sinks.hub.user", "Who the device is to the server."),
    (
        "sinks.hub.password_file",
        "A file that no other user can read.",
    ),
    (
        "sinks.hub.tls.roots",
        "The authority to trust instead of the system's.",
    ),
];

/// The keys of a configuration in the order in which they were set, section by section.
#[derive(Debug, Default)]
pub struct Draft {
    sections: Vec<DraftSection>,
}

#[derive(Debug)]
struct DraftSection {
    /// Without brackets; empty for the keys before the first section.
    name: String,
    /// Key and value as TOML.
    keys: Vec<(String, String)>,
}

impl Draft {
    /// Keeps what the file at `path` says of anything but the sinks.
    ///
    /// # Errors
    /// It cannot be read, or something is wrong with it.
    pub fn keeping(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|error| Problem {
            place: Place::Default,
            message: format!("reading {} failed: {error}", path.display()),
            hint: None,
        })?;
        let file = File {
            path: path.to_owned(),
            text,
        };
        let config = Config::of_file(Some(file), Vec::new(), environment)?;
        let mut draft = Self::default();
        for setting in config.settings {
            let in_file = matches!(setting.place, Place::File { .. });
            if let (true, false, Some(value)) =
                (in_file, setting.key.starts_with("sinks."), setting.value)
            {
                draft.put(&setting.key, value);
            }
        }
        Ok(draft)
    }

    /// Sets a key, named with its sections, to a text.
    pub fn set(&mut self, key: &str, text: &str) {
        self.put(key, quoted(text));
    }

    /// Sets a key to a list of one text.
    pub fn set_list(&mut self, key: &str, text: &str) {
        self.put(key, quoted_list(&[text]));
    }

    /// Makes a section, though nothing may be in it.
    pub fn make_section(&mut self, name: &str) {
        self.section(name);
    }

    /// Whether a key is set.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether a key is set to this text.
    #[must_use]
    pub fn is(&self, key: &str, text: &str) -> bool {
        self.get(key) == Some(&quoted(text))
    }

    fn get(&self, key: &str) -> Option<&String> {
        let (section, key) = split(key);
        let mut sections = self.sections.iter();
        let found = sections.find(|found| found.name == section)?;
        let mut keys = found.keys.iter();
        keys.find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        // A key after a section's header belongs to that section.
        let (top, rest): (Vec<_>, Vec<_>) = self
            .sections
            .iter()
            .partition(|section| section.name.is_empty());
        for section in top.into_iter().chain(rest) {
            text.push('\n');
            if !section.name.is_empty() {
                push_comment(&mut text, &section.name);
                text.push_str(&format!("[{}]\n", section.name));
            }
            for (key, value) in &section.keys {
                push_comment(&mut text, &format!("{}.{key}", section.name));
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text
    }

    /// Checks what would be written to `path`, by the same code that reads it afterwards, and the
    /// files that it names. Flags, and variables that go before the file, are left out: they may
    /// differ where it is read.
    ///
    /// # Errors
    /// Every mistake there is, each with the line where it would stand.
    pub fn check(&self, path: &Path, environment: &Environment) -> Result<(), ConfigError> {
        let file = File {
            path: path.to_owned(),
            text: self.text(),
        };
        Config::of_file(Some(file), Vec::new(), environment)?.check()
    }

    fn put(&mut self, key: &str, value: String) {
        let (section, key) = split(key);
        let keys = &mut self.section(section).keys;
        match keys.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => keys.push((key.to_owned(), value)),
        }
    }

    fn section(&mut self, name: &str) -> &mut DraftSection {
        let at = self.sections.iter().position(|found| found.name == name);
        let at = at.unwrap_or_else(|| {
            self.sections.push(DraftSection {
                name: name.to_owned(),
                keys: Vec::new(),
            });
            self.sections.len() - 1
        });
        &mut self.sections[at]
    }
}

/// The section and the name within it.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn push_comment(text: &mut String, key: &str) {
    if let Some((_, comment)) = COMMENTS.iter().find(|(about, _)| *about == key) {
        text.push_str(&format!("# {comment}\n"));
    }
}
