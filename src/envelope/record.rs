use std::io::Write as _;

use serde::Serialize;
use uuid::Uuid;

use super::{Path, Private, Statement, common::Common};
use crate::{digest::Digest, encoding::push_base64, signing::Signature};

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
    /// payload with CR or LF travels as `payload_b64`.
    pub fn render(&self, redelivered: bool, one_line: bool, out: &mut Vec<u8>) {
        self.render_with(&mut Common::default(), redelivered, one_line, out);
    }

    /// As [`Self::render`], for one envelope after the other. Allocates only where `out` has to grow.
    pub(crate) fn render_with(
        &self,
        common: &mut Common,
        redelivered: bool,
        one_line: bool,
        out: &mut Vec<u8>,
    ) {
        let statement = &self.statement;
        let [origin, clock, seal] = common.of(self);
        put(out, "{\"id\":\"");
        put_uuid(out, &statement.id);
        if let Some(original_id) = statement.original_id {
            put(out, "\",\"original_id\":\"");
            put_escaped(out, original_id);
        }
        out.extend_from_slice(origin);
        put_number(out, statement.seq.get());
        put(out, ",\"event_type\":\"");
        put(out, statement.event_type);
        put(out, "\",\"event_version\":");
        put_number(out, statement.event_version);
        put(out, ",\"source\":\"");
        put_escaped(out, statement.source);
        put(out, "\",\"occurred_at\":\"");
        // Writing into memory does not fail.
        _ = write!(out, "{}", statement.occurred_at);
        out.extend_from_slice(clock);
        put(out, ",\"kind\":\"");
        put(out, statement.kind.as_str());
        put(out, "\",\"prev\":\"");
        push_base64(out, statement.prev.as_bytes());
        put(out, "\",\"private_digest\":\"");
        push_base64(out, statement.private_digest.as_bytes());
        out.extend_from_slice(seal);
        put_number(out, self.leaf);
        put(out, ",\"size\":");
        put_number(out, self.size);
        put(out, ",\"path\":[");
        for (place, node) in self.path.iter().enumerate() {
            put(out, if place == 0 { "\"" } else { ",\"" });
            common.put_node(place, node, out);
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

pub(super) fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number without the detour over a formatter.
fn put_number(out: &mut Vec<u8>, number: impl Serialize) {
    // Writing into memory does not fail.
    _ = serde_json::to_writer(out, &number);
}

pub(super) fn put_uuid(out: &mut Vec<u8>, uuid: &Uuid) {
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
