//! `device.hub_key`: the keys of the hub.

use toml::de::DeValue;

use super::value::{Value, quoted};
use crate::signing::PublicKey;

/// One key, and while it is changed the next one, too.
const MAX_KEYS: usize = 4;

/// The hub's public keys, in base64; none where no hub is known.
#[derive(Clone, Default)]
pub(super) struct HubKeys(pub(super) Vec<PublicKey>);

impl Value for HubKeys {
    const KIND: &'static str = "a public key in base64, or a list of 1 to 4 of them";
    const EXAMPLE: &'static str = "\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let texts = match String::read(value) {
            Some(text) => vec![text],
            None => Vec::<String>::read(value)?,
        };
        if texts.is_empty() || texts.len() > MAX_KEYS {
            return None;
        }
        let keys = texts.iter().map(|text| text.parse().ok());
        keys.collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        let keys: Vec<String> = self.0.iter().map(|it| quoted(&it.to_string())).collect();
        match keys.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        }
    }
}
