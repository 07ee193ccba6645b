//! What the envelopes of a group say alike, as text.

use std::io::Write as _;

use super::{
    Epoch, Record,
    record::{put, put_uuid},
    tree::MAX_PATH,
};
use crate::{
    clock::{ClockSync, Stamp},
    digest::Digest,
    encoding::{base64_len, push_base64},
    signing::{KeyId, Signature},
};

/// Bytes of a digest in base64.
const DIGEST_TEXT: usize = base64_len(32);

/// What the text takes where names are of the usual length.
const TEXT_BYTES: usize = 512;

/// Text that was rendered for one envelope and stands in the next one, too: device, epoch, clock, key and
/// signature are those of the group, and most of a path is that of the leaf before. Half of what an
/// envelope is rendered from is encoded once a group with it, not once an event.
///
/// What is kept is looked up by all that it was made from, so any envelope may come next.
#[derive(Default)]
pub(crate) struct Common {
    of: Option<Group>,
    text: Vec<u8>,
    /// Where in `text` the clock begins, and where the seal does.
    parts: (usize, usize),
    path: [Option<(Digest, [u8; DIGEST_TEXT])>; MAX_PATH],
}

/// What the text was made from.
struct Group {
    device: String,
    epoch: Epoch,
    clock: Stamp,
    key_id: KeyId,
    signature: Signature,
}

impl Group {
    fn is_of(&self, record: &Record<'_>) -> bool {
        let statement = &record.statement;
        self.signature == record.signature
            && self.clock == statement.clock
            && self.key_id == statement.key_id
            && self.epoch == statement.epoch
            && self.device == statement.device
    }
}

impl Common {
    /// For this envelope: device and epoch, the clock, and key and signature.
    pub(super) fn of(&mut self, record: &Record<'_>) -> [&[u8]; 3] {
        if !self.of.as_ref().is_some_and(|group| group.is_of(record)) {
            self.render(record);
        }
        let (origin, rest) = self.text.split_at(self.parts.0);
        let (clock, seal) = rest.split_at(self.parts.1 - self.parts.0);
        [origin, clock, seal]
    }

    fn render(&mut self, record: &Record<'_>) {
        let statement = &record.statement;
        let clock = &statement.clock;
        let out = &mut self.text;
        out.clear();
        out.reserve(TEXT_BYTES);
        put(out, "\",\"device\":\"");
        put(out, statement.device);
        put(out, "\",\"epoch\":\"");
        put_uuid(out, statement.epoch.as_uuid());
        put(out, "\",\"seq\":");
        self.parts.0 = out.len();
        put(out, "\",\"clock\":{\"wall\":\"");
        // Writing into memory does not fail.
        _ = write!(out, "{}", clock.wall);
        put(out, "\",\"sync\":\"");
        let sync = match clock.sync {
            ClockSync::No => "no",
            ClockSync::Yes => "yes",
            ClockSync::Unknown => "unknown",
        };
        put(out, sync);
        put(out, "\",\"boot_id\":\"");
        put_uuid(out, &clock.boot_id);
        _ = write!(out, "\",\"boottime_us\":{}}}", clock.boottime_us);
        self.parts.1 = out.len();
        put(out, "\",\"key_id\":\"");
        push_base64(out, statement.key_id.as_bytes());
        put(out, "\",\"signature\":\"");
        push_base64(out, record.signature.as_bytes());
        put(out, "\",\"leaf\":");
        // A device whose events come one by one has another group with each.
        let mut device = self
            .of
            .take()
            .map_or_else(String::new, |group| group.device);
        statement.device.clone_into(&mut device);
        self.of = Some(Group {
            device,
            epoch: statement.epoch,
            clock: *clock,
            key_id: statement.key_id,
            signature: record.signature,
        });
    }

    /// Appends a node of a path; `place` is how far from the leaf it stands.
    pub(super) fn put_node(&mut self, place: usize, node: &Digest, out: &mut Vec<u8>) {
        let begin = out.len();
        let kept = self.path.get_mut(place);
        if let Some(Some((of, text))) = &kept
            && of == node
        {
            out.extend_from_slice(text);
            return;
        }
        push_base64(out, node.as_bytes());
        if let (Some(kept), Ok(text)) = (kept, out[begin..].try_into()) {
            *kept = Some((*node, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::Timestamp,
        envelope::{Kind, Path, Statement},
        seq::Seq,
    };

    fn record(path: &[Digest]) -> Record<'static> {
        Record {
            statement: Statement {
                kind: Kind::Program,
                key_id: KeyId([1; 32]),
                device: "kiosk-7",
                epoch: Epoch::from_uuid(Uuid::from_bytes([2; 16])),
                seq: Seq::new(3),
                id: Uuid::from_bytes([4; 16]),
                original_id: None,
                event_type: "quiz.submitted.v1",
                event_version: 1,
                source: "kiosk",
                occurred_at: Timestamp::from_micros(5).unwrap(),
                clock: Stamp {
                    wall: Timestamp::from_micros(6).unwrap(),
                    sync: ClockSync::Yes,
                    boot_id: Uuid::from_bytes([7; 16]),
                    boottime_us: 8,
                },
                prev: Digest::ZERO,
                private_digest: Digest::ZERO,
            },
            digest: Digest::ZERO,
            private: None,
            signature: Signature([9; 64]),
            leaf: 0,
            size: 64,
            path: Path::from_nodes(path).unwrap(),
        }
    }

    /// The same envelope, and those that differ from it in one thing that is kept.
    fn variants() -> Vec<Record<'static>> {
        let node = |of: u8| Digest([of; 32]);
        let paths = [
            vec![],
            vec![Digest::ZERO; 6],
            vec![node(1), node(2), node(3)],
            vec![node(2), node(2)],
        ];
        let mut all: Vec<_> = paths.iter().map(|path| record(path)).collect();
        let mut but = |change: fn(&mut Record<'static>)| {
            let mut other = record(&[node(1)]);
            change(&mut other);
            all.push(other);
        };
        but(|it| it.signature = Signature([10; 64]));
        but(|it| it.statement.key_id = KeyId([10; 32]));
        but(|it| it.statement.device = "kiosk-8");
        but(|it| it.statement.epoch = Epoch::from_uuid(Uuid::nil()));
        but(|it| it.statement.clock.wall = Timestamp::from_micros(10).unwrap());
        but(|it| it.statement.clock.sync = ClockSync::No);
        but(|it| it.statement.clock.boot_id = Uuid::nil());
        but(|it| it.statement.clock.boottime_us = 10);
        all
    }

    #[test]
    fn what_is_kept_never_stands_in_another_envelope() {
        let (all, mut common) = (variants(), Common::default());
        let pairs = all
            .iter()
            .flat_map(|one| all.iter().map(move |next| [one, next]));
        let mut distinct = std::collections::BTreeSet::new();
        for record in pairs.flatten() {
            let (mut alone, mut after) = (Vec::new(), Vec::new());
            record.render(false, false, &mut alone);
            record.render_with(&mut common, false, false, &mut after);
            assert_eq!(after, alone);
            distinct.insert(alone);
        }
        assert_eq!(distinct.len(), all.len());
    }
}
