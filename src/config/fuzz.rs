//! Any bytes as a configuration file.

use std::collections::BTreeMap;

use super::{Config, ConfigError, Environment, File, Place, Setting};

/// Reads the file. Nothing that it names is opened.
pub fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    match load(text) {
        Ok(config) => {
            in_force_as_shown(&config);
            true
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(!problem.message.is_empty());
                if let Place::File { line, .. } = problem.place {
                    // TOML may end one line later than its last character.
                    let lines = 1..=text.matches('\n').count() + 2;
                    assert!(line.is_none_or(|line| lines.contains(&line)), "{problem}");
                }
            }
            false
        }
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = File {
        path: "/etc/edge-outbox/edge-outbox.toml".into(),
        text: text.to_owned(),
    };
    Config::of_file(Some(file), Vec::new(), &Environment::default())
}

/// What `config show` prints of it, read as a file, is in force in the same way.
fn in_force_as_shown(config: &Config) {
    let split = |key: &str| match key.rsplit_once('.') {
        Some((section, name)) => (section.to_owned(), name.to_owned()),
        None => (String::new(), key.to_owned()),
    };
    let mut settings: Vec<&Setting> = config.settings.iter().collect();
    settings.sort_by_key(|setting| split(&setting.key).0);
    let (mut text, mut current) = (String::new(), String::new());
    for setting in settings {
        let (section, name) = split(&setting.key);
        if section != current {
            text += &format!("[{section}]\n");
            current = section;
        }
        if let Some(value) = &setting.value {
            text += &format!("{name} = {value}\n");
        }
    }
    if config.sinks.is_empty() {
        text += "[sinks]\n";
    }
    // A secret that is masked is not what stands in the file.
    if text.contains("***") {
        return;
    }
    match load(&text) {
        Ok(again) => assert_eq!(values(&again), values(config), "{text}"),
        Err(error) => panic!("{error}: {text}"),
    }
}

fn values(config: &Config) -> BTreeMap<&str, Option<&str>> {
    let settings = config.settings.iter();
    settings
        .map(|setting| (setting.key.as_str(), setting.value.as_deref()))
        .collect()
}
