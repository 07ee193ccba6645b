//! The formats as they were frozen, in both directions: made from their parts and read back.

#[path = "support/vectors.rs"]
mod vectors;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{
    clock::{ClockSync, Stamp},
    envelope::{Chain, Envelope, Epoch, Kind, Private, Record, Statement, Tree, Verifier},
    event::{ORIGINAL_ID_NAMESPACE, original_uuid},
    seq::Seq,
    signing::{DeviceKey, PublicKey, Rotation},
};
use vectors::{Event, Group, Input};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn private(input: &Input) -> Private<'_> {
    Private {
        salt: STANDARD.decode(&input.salt).unwrap().try_into().unwrap(),
        aggregate_id: input.aggregate_id.parse().unwrap(),
        subject_id: &input.subject_id,
        payload: input.payload.as_bytes(),
    }
}

fn statement<'a>(group: &Group, input: &'a Input) -> Statement<'a> {
    Statement {
        kind: match input.kind.as_str() {
            "program" => Kind::Program,
            "ledger" => Kind::Ledger,
            other => panic!("{other}"),
        },
        key_id: group.key.key_id.parse().unwrap(),
        device: &input.device,
        epoch: input.epoch.parse().unwrap(),
        seq: Seq::new(input.seq),
        id: input.id.parse().unwrap(),
        original_id: input.original_id.as_deref(),
        event_type: &input.event_type,
        event_version: input.event_version,
        source: &input.source,
        occurred_at: input.occurred_at.parse().unwrap(),
        clock: Stamp {
            wall: input.wall.parse().unwrap(),
            sync: match input.sync.as_str() {
                "no" => ClockSync::No,
                "yes" => ClockSync::Yes,
                "unknown" => ClockSync::Unknown,
                other => panic!("{other}"),
            },
            boot_id: input.boot_id.parse().unwrap(),
            boottime_us: input.boottime_us,
        },
        prev: input.prev.parse().unwrap(),
        private_digest: private(input).digest(),
    }
}

fn rendered(record: &Record<'_>, redelivered: bool, one_line: bool) -> String {
    let mut out = Vec::new();
    record.render(redelivered, one_line, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_group_is_made_byte_for_byte_as_it_was_frozen() {
    for group in vectors::groups() {
        let key = DeviceKey::from_pkcs8_base64(&group.key.private_key_pkcs8).unwrap();
        assert_eq!(key.public_key().to_string(), group.key.public_key);
        assert_eq!(key.public_key().id().to_string(), group.key.key_id);

        let mut scratch = Vec::new();
        let mut digests = Vec::new();
        for Event {
            input,
            statement: bytes,
            private_digest,
            digest,
            ..
        } in &group.events
        {
            let statement = statement(&group, input);
            let mut encoded = Vec::new();
            statement.encode(&mut encoded);
            assert_eq!(hex(&encoded), *bytes);
            assert_eq!(statement.private_digest.to_string(), *private_digest);
            digests.push(statement.digest(&mut scratch));
            assert_eq!(digests.last().unwrap().to_string(), *digest);
        }

        let tree = Tree::new(&digests);
        let size = digests.len() as u8;
        let signature = key.sign_group(size, &tree.root());
        assert_eq!(tree.root().to_string(), group.root);
        assert_eq!(signature.to_string(), group.signature);

        for (leaf, event) in (0..).zip(&group.events) {
            let record = Record {
                statement: statement(&group, &event.input),
                digest: digests[usize::from(leaf)],
                private: Some(private(&event.input)),
                signature,
                leaf,
                size,
                path: tree.path(leaf),
            };
            assert_eq!(rendered(&record, false, false), event.wire);
            let one_line = event.wire_one_line.as_ref().unwrap_or(&event.wire);
            assert_eq!(rendered(&record, false, true), *one_line);
            if let Some(redelivered) = &event.wire_redelivered {
                assert_eq!(rendered(&record, true, false), *redelivered);
            }
            if let Some(erased) = &event.wire_erased {
                let record = Record {
                    private: None,
                    ..record
                };
                assert_eq!(rendered(&record, false, false), *erased);
            }
        }
    }
}

#[test]
fn every_frozen_envelope_verifies_and_is_read_as_what_it_was_made_of() {
    let mut chain = Chain::new();
    for group in vectors::groups() {
        let mut verifier = Verifier::new();
        verifier.trust(group.key.public_key.parse().unwrap());
        for event in &group.events {
            let mut verified = |wire: &str| {
                verifier
                    .verify(Envelope::parse(wire.as_bytes()).unwrap())
                    .unwrap()
            };
            let whole = verified(&event.wire);
            assert_eq!(whole.digest().to_string(), event.digest);
            assert!(whole.statement() == statement(&group, &event.input));
            assert!(whole.private() == Some(private(&event.input)));
            assert!(!whole.redelivered());
            chain.extend(&whole).unwrap();

            if let Some(one_line) = &event.wire_one_line {
                assert!(verified(one_line).private() == whole.private());
            }
            if let Some(redelivered) = &event.wire_redelivered {
                assert!(verified(redelivered).redelivered());
            }
            if let Some(erased) = &event.wire_erased {
                let erased = verified(erased);
                assert!(erased.is_erased());
                assert_eq!(erased.digest(), whole.digest());
            }
        }
    }
    assert_eq!(chain.end().unwrap().seq, Seq::new(21));
}

#[test]
fn a_rotation_is_signed_as_it_was_frozen() {
    let vector: vectors::Rotation = vectors::read("rotation.json");
    let old = DeviceKey::from_pkcs8_base64(&vector.old_key.private_key_pkcs8).unwrap();
    let new_key: PublicKey = vector.new_public_key.parse().unwrap();
    let rotation = Rotation {
        new_key: &new_key,
        device: &vector.device.parse().unwrap(),
        epoch: vector.epoch.parse::<Epoch>().unwrap(),
    };
    let signature = old.sign_rotation(&rotation);
    assert_eq!(signature.to_string(), vector.signature);
    assert!(old.public_key().verify_rotation(&rotation, &signature));
}

#[test]
fn the_example_in_the_documentation_is_the_frozen_one() {
    let page = include_str!("../docs/envelope.md");
    // Values are broken over lines and set apart by blanks there.
    let page: String = page.split_whitespace().collect();
    let group: Group = vectors::read("group_of_one.json");
    let event = &group.events[0];
    let base64 = |text: &str| hex(&STANDARD.decode(text).unwrap());
    for value in [
        base64(&group.key.public_key),
        base64(&group.key.key_id),
        base64(&event.input.salt),
        hex(event.input.payload.as_bytes()),
        base64(&event.private_digest),
        base64(&event.digest),
        base64(&group.root),
        group.group_message,
        base64(&group.signature),
        event.wire.clone(),
    ] {
        assert!(page.contains(&value), "{value}");
    }
    let (_, statement) = page.split_once("Thestatement:prefix").unwrap();
    let (statement, _) = statement.split_once("Whatbecomes").unwrap();
    let names = "version kind key_id device epoch seq id event_type event_version source \
                 occurred_at wall sync boot_id boottime_us prev private_digest extensions";
    let mut shown = String::new();
    let mut rest = statement;
    for name in names.split_whitespace() {
        let (value, after) = rest.split_once(name).unwrap();
        shown += value;
        rest = after;
    }
    assert_eq!(shown + rest, event.statement);

    let group: Group = vectors::read("original_ids.json");
    let event = &group.events[0];
    let (_, end) = page.rsplit_once("extensions").unwrap();
    let (extensions, _) = end.split_once("and").unwrap();
    let ending = base64(&event.private_digest) + extensions;
    assert!(event.statement.ends_with(&ending), "{ending}");
    for value in [base64(&event.digest), event.wire.clone()] {
        assert!(page.contains(&value), "{value}");
    }
    let Input { source, id, .. } = &event.input;
    let original_id = event.input.original_id.as_deref().unwrap();
    assert_eq!(original_uuid(source, original_id).to_string(), *id);
    assert!(page.contains(&ORIGINAL_ID_NAMESPACE.to_string()));
}
