use std::{fmt::Display, io::Write as _};

use uuid::Uuid;

use super::{Path, Private, Statement};
use crate::{clock::ClockSync, digest::Digest, encoding::push_base64, signing::Signature};

/// One event with everything that proves it: what the wire formats are rendered from.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// What is digested.
    pub statement: Statement<'a>,
    /// Its digest.
    pub digest: Digest,
    /// The personal part; `None` once erased.
    pub private: Option<Private<'a>>,
    /// The group's signature.
    pub signature: Signature,
    /// The place in the group, from 0.
    pub leaf: u8,
    /// The size of the group.
    pub size: u8,
    /// The path from the leaf to the root.
    pub path: Path,
}

impl Record<'_> {
    /// Appends the envelope as it goes over the wire. With `one_line` it holds no line break: a
    /// payload with CR or LF travels as `payload_b64`. Allocates only when `out` has to grow.
    pub fn render(&self, redelivered: bool, one_line: bool, out: &mut Vec<u8>) {
        let statement = &self.statement;
        let clock = &statement.clock;
        let sync = match clock.sync {
            ClockSync::No => "no",
            ClockSync::Yes => "yes",
            ClockSync::Unknown => "unknown",
        };
        put(out, "{\"id\":\"");
        put_uuid(out, &statement.id);
        if let Some(original_id) = statement.original_id {
            put(out, "\",\"original_id\":\"");
            put_escaped(out, original_id);
        }
        put(out, "\",\"device\":\"");
        put(out, statement.device);
        put(out, "\",\"epoch\":\"");
        put_uuid(out, statement.epoch.as_uuid());
        put(out, "\",\"seq\":");
        put_shown(out, statement.seq);
        put(out, ",\"event_type\":\"");
        put(out, statement.event_type);
        put(out, "\",\"event_version\":");
        put_shown(out, statement.event_version);
        put(out, ",\"source\":\"");
        put_escaped(out, statement.source);
        put(out, "\",\"occurred_at\":\"");
        put_shown(out, statement.occurred_at);
        put(out, "\",\"clock\":{\"wall\":\"");
        put_shown(out, clock.wall);
        put(out, "\",\"sync\":\"");
        put(out, sync);
        put(out, "\",\"boot_id\":\"");
        put_uuid(out, &clock.boot_id);
        put(out, "\",\"boottime_us\":");
        put_shown(out, clock.boottime_us);
        put(out, "},\"kind\":\"");
        put(out, statement.kind.as_str());
        put(out, "\",\"prev\":\"");
        push_base64(out, statement.prev.as_bytes());
        put(out, "\",\"private_digest\":\"");
        push_base64(out, statement.private_digest.as_bytes());
        put(out, "\",\"key_id\":\"");
        push_base64(out, statement.key_id.as_bytes());
        put(out, "\",\"signature\":\"");
        push_base64(out, self.signature.as_bytes());
        put(out, "\",\"leaf\":");
        put_shown(out, self.leaf);
        put(out, ",\"size\":");
        put_shown(out, self.size);
        put(out, ",\"path\":[");
        for (place, node) in self.path.iter().enumerate() {
            put(out, if place == 0 { "\"" } else { ",\"" });
            push_base64(out, node.as_bytes());
            put(out, "\"");
        }
        put(
            out,
            if redelivered {
                "],\"redelivered\":true"
            } else {
                "],\"redelivered\":false"
            },
        );
        if let Some(private) = &self.private {
            put_private(out, private, one_line);
        }
        put(out, "}");
    }
}

fn put_private(out: &mut Vec<u8>, private: &Private<'_>, one_line: bool) {
    put(out, ",\"aggregate_id\":\"");
    put_uuid(out, &private.aggregate_id);
    put(out, "\",\"subject_id\":\"");
    put_escaped(out, private.subject_id);
    put(out, "\",\"salt\":\"");
    push_base64(out, &private.salt);
    if one_line
        && private
            .payload
            .iter()
            .any(|byte| matches!(byte, b'\r' | b'\n'))
    {
        put(out, "\",\"payload_b64\":\"");
        push_base64(out, private.payload);
        put(out, "\"");
    } else {
        put(out, "\",\"payload\":");
        out.extend_from_slice(private.payload);
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_shown(out: &mut Vec<u8>, value: impl Display) {
    // Writing into memory does not fail.
    _ = write!(out, "{value}");
}

fn put_uuid(out: &mut Vec<u8>, uuid: &Uuid) {
    let mut room = Uuid::encode_buffer();
    put(out, uuid.as_hyphenated().encode_lower(&mut room));
}

/// Escapes quotation mark and backslash; the control characters, which would need it too, were
/// refused at the door.
pub(super) fn put_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
