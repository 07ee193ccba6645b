//! The golden vectors in `tests/vectors`.
//!
//! They were made once, by a program in another language, and are frozen: what they pin down is in
//! journals, streams and databases. A new version of a format gets vectors of its own.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};

/// A group of events, what it is made of and what becomes of it.
#[derive(Deserialize)]
pub(crate) struct Group {
    /// The device's key.
    pub(crate) key: Key,
    /// The bytes that are signed, in hexadecimal.
    pub(crate) group_message: String,
    /// The root of the tree.
    pub(crate) root: String,
    /// The signature.
    pub(crate) signature: String,
    /// Its events.
    pub(crate) events: Vec<Event>,
}

/// A device's key.
#[derive(Deserialize)]
pub(crate) struct Key {
    /// The private key: base64 of PKCS#8 DER.
    pub(crate) private_key_pkcs8: String,
    /// The public key.
    pub(crate) public_key: String,
    /// Its id.
    pub(crate) key_id: String,
}

/// One event and every form it takes.
#[derive(Deserialize)]
pub(crate) struct Event {
    /// What it is made of.
    pub(crate) input: Input,
    /// The statement's bytes, in hexadecimal.
    pub(crate) statement: String,
    /// The digest of the personal part.
    pub(crate) private_digest: String,
    /// The digest of the statement.
    pub(crate) digest: String,
    /// The envelope.
    pub(crate) wire: String,
    /// The envelope in a format of one line per event, where it differs.
    pub(crate) wire_one_line: Option<String>,
    /// The envelope when it is sent again.
    pub(crate) wire_redelivered: Option<String>,
    /// The envelope once erased.
    pub(crate) wire_erased: Option<String>,
}

/// What an event is made of: the members of the envelope.
#[derive(Deserialize)]
pub(crate) struct Input {
    pub(crate) kind: String,
    pub(crate) device: String,
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) original_id: Option<String>,
    pub(crate) event_type: String,
    pub(crate) event_version: u16,
    pub(crate) source: String,
    pub(crate) occurred_at: String,
    pub(crate) wall: String,
    pub(crate) sync: String,
    pub(crate) boot_id: String,
    pub(crate) boottime_us: u64,
    pub(crate) prev: String,
    pub(crate) aggregate_id: String,
    pub(crate) subject_id: String,
    pub(crate) salt: String,
    pub(crate) payload: String,
}

/// A key's replacement.
#[derive(Deserialize)]
pub(crate) struct Rotation {
    /// The key that hands over.
    pub(crate) old_key: Key,
    /// The key that takes over.
    pub(crate) new_public_key: String,
    /// The device.
    pub(crate) device: String,
    /// The epoch that the new key begins.
    pub(crate) epoch: String,
    /// The bytes that are signed, in hexadecimal.
    pub(crate) message: String,
    /// The signature.
    pub(crate) signature: String,
}

/// Reads one file of `tests/vectors`.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All groups; together they are the whole of one epoch, in order.
pub(crate) fn groups() -> Vec<Group> {
    [
        "group_of_one.json",
        "group_of_five.json",
        "payloads.json",
        "original_ids.json",
    ]
    .map(read)
    .into()
}
