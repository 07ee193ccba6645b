use super::*;
use crate::{clock::ClockSync, seq::SeqRange, signing::DeviceKey};

/// One event before it is signed.
#[derive(Clone)]
struct Draft {
    original_id: Option<&'static str>,
    event_type: &'static str,
    source: &'static str,
    subject_id: &'static str,
    payload: Vec<u8>,
}

impl Draft {
    fn new(payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        Self {
            original_id: None,
            event_type: "quiz.submitted.v1",
            source: "kiosk",
            subject_id: "pupil-7",
            payload,
        }
    }

    fn private(&self) -> Private<'_> {
        Private {
            salt: [7; 16],
            aggregate_id: Uuid::from_u128(0xabcd),
            subject_id: self.subject_id,
            payload: &self.payload,
        }
    }
}

/// A device that makes envelopes.
struct Device {
    key: DeviceKey,
    name: &'static str,
    epoch: Epoch,
    seq: Seq,
    prev: Digest,
}

impl Device {
    fn new() -> Self {
        let key = DeviceKey::generate().unwrap();
        Self {
            key,
            name: "kiosk-1",
            epoch: Epoch::random(),
            seq: Seq::FIRST,
            prev: Digest::ZERO,
        }
    }

    fn verifier(&self) -> Verifier {
        let mut verifier = Verifier::new();
        verifier.trust(self.key.public_key());
        verifier
    }

    /// The wire bytes of a group.
    fn group(&mut self, drafts: &[Draft]) -> Vec<Vec<u8>> {
        let mut scratch = Vec::new();
        let mut statements = Vec::new();
        for draft in drafts {
            let statement = Statement {
                kind: if draft.event_type == EPOCH_STARTED {
                    Kind::Ledger
                } else {
                    Kind::Program
                },
                key_id: self.key.public_key().id(),
                device: self.name,
                epoch: self.epoch,
                seq: self.seq,
                id: Uuid::from_u128(self.seq.get().into()),
                original_id: draft.original_id,
                event_type: draft.event_type,
                event_version: 1,
                source: draft.source,
                occurred_at: "2026-03-01T08:00:00.000001Z".parse().unwrap(),
                clock: Stamp {
                    wall: "1970-01-01T00:01:00Z".parse().unwrap(),
                    sync: ClockSync::No,
                    boot_id: Uuid::from_u128(1),
                    boottime_us: 60_000_000,
                },
                prev: self.prev,
                private_digest: draft.private().digest(),
            };
            self.prev = statement.digest(&mut scratch);
            self.seq = self.seq.next();
            statements.push((statement, self.prev));
        }
        let digests: Vec<_> = statements.iter().map(|&(_, digest)| digest).collect();
        let tree = Tree::new(&digests);
        let signature = self.key.sign_group(digests.len() as u8, &tree.root());
        let mut wires = Vec::new();
        for (leaf, (draft, (statement, digest))) in drafts.iter().zip(statements).enumerate() {
            let record = Record {
                statement,
                digest,
                private: Some(draft.private()),
                signature,
                leaf: leaf as u8,
                size: digests.len() as u8,
                path: tree.path(leaf as u8),
            };
            let mut wire = Vec::new();
            record.render(false, false, &mut wire);
            wires.push(wire);
        }
        wires
    }
}

fn envelope(wire: &[u8]) -> Envelope<Unverified> {
    Envelope::parse(wire).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(wire)))
}

#[test]
fn what_was_rendered_verifies_and_renders_the_same() {
    let mut device = Device::new();
    for size in [1, 2, 3, 5, 64] {
        let mut verifier = device.verifier();
        for wire in device.group(&vec![Draft::new(b" {\"a\":1.0e400}\n"); size]) {
            let verified = verifier.verify(envelope(&wire)).unwrap();
            let mut again = Vec::new();
            verified.record().render(false, false, &mut again);
            assert_eq!(again, wire);
            let mut line = Vec::new();
            verified.record().render(true, true, &mut line);
            assert!(!line.contains(&b'\n'));
            let verified = verifier.verify(envelope(&line)).unwrap();
            assert!(verified.redelivered());
            assert_eq!(verified.private().unwrap().payload, b" {\"a\":1.0e400}\n");
        }
    }
}

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[test]
fn any_envelope_that_is_rendered_is_read_back_as_it_was() {
    let sources = [
        "k",
        "\"",
        "\\",
        "\\\"\\",
        ",",
        ",\"payload\":",
        "Zoë 💡",
        "\",\"seq\":1",
    ];
    let subjects = [
        "",
        "pupil",
        "\\u0041",
        "\"}",
        "}",
        "a/b",
        "\u{2028}",
        ",\"payload_b64\":",
    ];
    let payloads: [&[u8]; 8] = [
        b"{}",
        b"null",
        b" [1,\r\n2] ",
        br#"{"payload":{"payload":1},"a":"}"}"#,
        b"1e999999",
        br#""\ud800""#,
        br#"{"a":1,"a":2}"#,
        "\"\u{2028}ä\"".as_bytes(),
    ];
    let originals = [
        None,
        Some("order-7"),
        Some("\\\""),
        Some("\",\"device\":\"other"),
        Some(",\"payload\":"),
        Some("00000000-0000-0000-0000-000000000001"),
        Some("é💡"),
    ];
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut device = Device::new();
        device.seq = Seq::new(random.pick(&[1, 9, 10, (1 << 53) - 70]));
        let drafts: Vec<_> = (0..=random.below(64))
            .map(|_| Draft {
                original_id: random.pick(&originals),
                event_type: random.pick(&["a", "quiz.submitted.v1", EPOCH_STARTED]),
                source: random.pick(&sources),
                subject_id: random.pick(&subjects),
                payload: random.pick(&payloads).to_vec(),
            })
            .collect();
        let mut verifier = device.verifier();
        for (wire, draft) in device.group(&drafts).iter().zip(&drafts) {
            let verified = verifier.verify(envelope(wire)).unwrap();
            let private = verified.private().unwrap();
            assert_eq!(verified.statement().source, draft.source);
            assert_eq!(verified.statement().original_id, draft.original_id);
            assert_eq!(
                (private.subject_id, private.payload),
                (draft.subject_id, &*draft.payload)
            );
            let (redelivered, one_line) = (random.below(2) == 1, random.below(2) == 1);
            let mut again = Vec::new();
            verified.record().render(redelivered, one_line, &mut again);
            let reread = verifier.verify(envelope(&again)).unwrap();
            assert_eq!(reread.digest(), verified.digest());
            assert_eq!(reread.redelivered(), redelivered);
            let mut plain = Vec::new();
            reread.record().render(false, false, &mut plain);
            assert_eq!(&plain, wire, "seed {seed}");
        }
    }
}

#[test]
fn whatever_single_byte_is_changed_the_envelope_is_refused() {
    let mut device = Device::new();
    let drafts = vec![Draft::new(br#"{"a":[1,"x \" y"]}"#); 5];
    let alone = device.group(&drafts[..1]).remove(0);
    let grouped = device.group(&drafts).remove(4);
    let mut named = drafts;
    named[2].original_id = Some("or\"der\\ é");
    let named = device.group(&named).remove(2);
    for wire in [alone, grouped, named] {
        // A verifier that knows the group already must be no easier to deceive.
        let mut warm = device.verifier();
        warm.verify(envelope(&wire)).unwrap();
        for (at, &byte) in wire.iter().enumerate() {
            // Every bit of it, and whatever means something in JSON.
            let flips = (0..8).map(|bit| byte ^ 1 << bit);
            for other in flips
                .chain(*b"\"\\,:{}[] 01")
                .filter(|&other| other != byte)
            {
                let mut changed = wire.clone();
                changed[at] = other;
                if let Ok(envelope) = Envelope::parse(&changed) {
                    let answer = warm.verify(envelope);
                    assert!(answer.is_err(), "byte {at} from {byte:#x} to {other:#x}");
                }
            }
        }
    }
}

#[test]
fn a_byte_missing_or_too_much_anywhere_is_refused() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"{\"a\":1}");
    draft.original_id = Some("a\\b");
    let wire = device.group(&[draft]).remove(0);
    let mut verifier = device.verifier();
    let mut refused = |bytes: &[u8]| match Envelope::parse(bytes) {
        Ok(envelope) => verifier.verify(envelope).is_err(),
        Err(_) => true,
    };
    for at in 0..wire.len() {
        assert!(refused(&wire[..at]), "broken off at byte {at}");
        let mut without = wire.clone();
        without.remove(at);
        assert!(refused(&without), "without byte {at}");
        for more in b" \"\\,0{}\n" {
            let mut longer = wire.clone();
            longer.insert(at, *more);
            assert!(
                refused(&longer),
                "with {:?} at byte {at}",
                char::from(*more)
            );
        }
    }
    assert!(refused(&[&wire[..], b"\n"].concat()));
}

#[test]
fn there_is_one_spelling_and_two_readers_cannot_differ() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"{\"a\":1}");
    draft.source = "A\"";
    draft.original_id = Some("No. \\7");
    let drafts = vec![draft; 3];
    let wire = String::from_utf8(device.group(&drafts).remove(0)).unwrap();
    assert!(Envelope::parse(wire.as_bytes()).is_ok());
    for (from, to) in [
        // Numbers.
        ("\"seq\":1,", "\"seq\":1.0,"),
        ("\"seq\":1,", "\"seq\":1e0,"),
        ("\"seq\":1,", "\"seq\":01,"),
        ("\"seq\":1,", "\"seq\":+1,"),
        ("\"seq\":1,", "\"seq\":-0,"),
        ("\"seq\":1,", "\"seq\":0,"),
        ("\"seq\":1,", "\"seq\":\"1\","),
        ("\"seq\":1,", "\"seq\":true,"),
        ("\"seq\":1,", "\"seq\":9007199254740992,"),
        ("\"seq\":1,", "\"seq\":18446744073709551617,"),
        ("\"event_version\":1,", "\"event_version\":0,"),
        ("\"event_version\":1,", "\"event_version\":65537,"),
        ("\"leaf\":0,", "\"leaf\":-0,"),
        ("\"leaf\":0,\"size\":3", "\"leaf\":3,\"size\":3"),
        ("\"size\":3", "\"size\":0"),
        ("\"size\":3", "\"size\":65"),
        ("\"size\":3", "\"size\":259"),
        // Members: doubled, unknown, in another place, renamed, with white space.
        ("\"seq\":1,", "\"seq\":1,\"seq\":1,"),
        (
            "\"redelivered\":false",
            "\"redelivered\":false,\"redelivered\":false",
        ),
        ("\"redelivered\":false", "\"redelivered\":0"),
        ("\"redelivered\":false", "\"redelivered\":False"),
        (
            "\"redelivered\":false",
            "\"redelivered\":false,\"version\":1",
        ),
        ("\"salt\"", "\"sal\\u0074\""),
        (
            "\"seq\":1,\"event_type\":\"quiz.submitted.v1\"",
            "\"event_type\":\"quiz.submitted.v1\",\"seq\":1",
        ),
        ("\"seq\":1", "\"seq\": 1"),
        ("{\"id\"", " {\"id\""),
        ("{\"id\"", "\u{feff}{\"id\""),
        // The original id: empty, absent in another way, doubled, elsewhere, needlessly escaped.
        ("No. \\\\7", ""),
        ("\"No. \\\\7\"", "null"),
        ("\"No. \\\\7\"", "7"),
        ("No. \\\\7", "No\\u002e \\\\7"),
        ("No. \\\\7", "No. \\7"),
        ("No. \\\\7", "No.\t\\\\7"),
        ("No. \\\\7", "No. \\/7"),
        ("No. \\\\7\",", "No. \\\\7\",\"original_id\":\"No. \\\\7\","),
        (
            "\"original_id\":\"No. \\\\7\",\"device\":\"kiosk-1\"",
            "\"device\":\"kiosk-1\",\"original_id\":\"No. \\\\7\"",
        ),
        // Texts.
        ("A\\\"", "\\u0041\\\""),
        ("A\\\"", "A\\u0022"),
        ("A\\\"", "A\\\"\\/"),
        ("A\\\"", "A\\\"\\ud800"),
        ("A\\\"", "A\\\"\u{7f}"),
        ("A\\\"", "A\\\"\n"),
        ("A\\\"", ""),
        ("pupil-7", "pupil-7\t"),
        ("kiosk-1", "kiosk.1"),
        ("kiosk-1", ""),
        ("quiz.submitted.v1", "quiz.*.v1"),
        ("quiz.submitted.v1", "outbox.submitted.v1"),
        ("\"program\"", "\"ledger\""),
        // UUIDs.
        ("000000abcd", "000000ABCD"),
        (
            "00000000-0000-0000-0000-00000000abcd",
            "0000000000000000000000000000abcd",
        ),
        (
            "00000000-0000-0000-0000-00000000abcd",
            "{00000000-0000-0000-0000-0000abcd}",
        ),
        // Times.
        ("08:00:00.000001Z", "08:00:00.000001z"),
        ("08:00:00.000001Z", "08:00:00.0000010Z"),
        ("00:01:00.000000Z", "00:01:00Z"),
        ("00:01:00.000000Z", "00:00:60.000000Z"),
        ("1970-01-01T00:01", "1970-01-01 00:01"),
        ("1970-01-01T00:01", "1970-01-01t00:01"),
        ("1970-01-01T00:01:00.000000Z", "1970-01-01T00:01:00+00:00"),
        ("1970-01-01", "1970-02-30"),
        ("1970-01-01", "0000-01-01"),
        ("1970-01-01", "9999-01-01"),
        ("\"no\"", "\"No\""),
        // Base64: the last digit of 16 bytes has four bits that stand for nothing.
        ("BwcHBwcHBwcHBwcHBwcHBw==", "BwcHBwcHBwcHBwcHBwcHBx=="),
        ("BwcHBwcHBwcHBwcHBwcHBw==", "BwcHBwcHBwcHBwcHBwcHBw"),
        ("BwcHBwcHBwcHBwcHBwcHBw==", "BwcHBwcHBwcHBwcHBwcHBw=\\u003d"),
        ("BwcHBwcHBwcHBwcHBwcHBw==", "BwcHBwcHBwcH\\nBwcHBwcHBw=="),
        // The path: one too few, one too many.
        ("\"path\":[\"", "\"path\":[],\"x\":[\""),
        (
            "\"],\"redelivered\"",
            "\",\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"],\"redelivered\"",
        ),
        // The payload: a second member in its wake, and what is no JSON.
        ("{\"a\":1}}", "{\"a\":1},\"device\":\"other\"}"),
        ("{\"a\":1}}", "{\"a\":NaN}}"),
        ("{\"a\":1}}", "}"),
        (
            "\"payload\":{\"a\":1}}",
            "\"payload_b64\":\"eyJhIjoxfR==\"}",
        ),
        (
            "\"payload\":{\"a\":1}}",
            "\"payload_b64\":\"eyJhIjoxfQ==\",\"payload\":{}}",
        ),
        // Not all of the personal part.
        (",\"payload\":{\"a\":1}", ""),
        (",\"salt\":\"BwcHBwcHBwcHBwcHBwcHBw==\"", ""),
        ("\"subject_id\":\"pupil-7\",", ""),
        ("\"subject_id\":\"pupil-7\",", "\"subject_id\":null,"),
    ] {
        assert!(wire.contains(from), "{from} is not in {wire}");
        let changed = wire.replacen(from, to, 1);
        assert!(
            Envelope::parse(changed.as_bytes()).is_err(),
            "{from} to {to} is taken"
        );
    }
    let same = wire.replace(
        "\"payload\":{\"a\":1}}",
        "\"payload_b64\":\"eyJhIjoxfQ==\"}",
    );
    let verified = device.verifier().verify(envelope(same.as_bytes())).unwrap();
    assert_eq!(verified.private().unwrap().payload, b"{\"a\":1}");
}

#[test]
fn the_largest_envelope_is_taken_and_anything_larger_is_refused_unread() {
    let mut payload = vec![b' '; crate::event::MAX_PAYLOAD_BYTES];
    payload[0] = b'1';
    payload[1] = b'\n';
    let mut draft = Draft::new(&payload);
    let long: &str = Box::leak("\"".repeat(255).into_boxed_str());
    (draft.source, draft.subject_id) = (long, long);
    draft.original_id = Some(long);
    draft.event_type = Box::leak("t".repeat(128).into_boxed_str());
    let mut device = Device::new();
    device.name = Box::leak("d".repeat(64).into_boxed_str());
    let wire = device.group(&vec![draft; 64]).remove(0);
    let verified = device.verifier().verify(envelope(&wire)).unwrap();
    let mut statement = Vec::new();
    verified.statement().encode(&mut statement);
    assert_eq!(statement.len(), MAX_STATEMENT_BYTES);
    let mut line = Vec::new();
    verified.record().render(true, true, &mut line);
    assert!(line.len() <= MAX_ENVELOPE_BYTES);
    assert!(Envelope::parse(&line).is_ok());
    let error = Envelope::parse(&vec![b'{'; MAX_ENVELOPE_BYTES + 1]).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { .. }));
}

#[test]
fn an_original_id_of_256_bytes_is_refused_and_one_of_255_is_taken() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"1");
    draft.original_id = Some("#");
    let wire = String::from_utf8(device.group(&[draft]).remove(0)).unwrap();
    let with = |text: &str| wire.replacen("\"#\"", &format!("\"{text}\""), 1);
    assert!(Envelope::parse(with(&"\\\\".repeat(255)).as_bytes()).is_ok());
    assert!(Envelope::parse(with(&"\\\\".repeat(256)).as_bytes()).is_err());
    assert!(Envelope::parse(with(&"é".repeat(128)).as_bytes()).is_err());
}

#[test]
fn an_original_id_that_is_added_taken_away_or_changed_breaks_the_signature() {
    let mut device = Device::new();
    let mut named = Draft::new(b"1");
    named.original_id = Some("order-7");
    let wires = device.group(&[named, Draft::new(b"2")]);
    let mut verifier = device.verifier();
    let mut with = |wire: &[u8], original_id: Option<&str>| {
        let mut changed = envelope(wire);
        changed.fields.original_id = original_id.map(Into::into);
        verifier.verify(changed).map(|_| ())
    };
    assert_eq!(with(&wires[0], Some("order-7")), Ok(()));
    assert_eq!(with(&wires[1], None), Ok(()));
    for (wire, original_id) in [
        (&wires[0], None),
        (&wires[0], Some("order-8")),
        (&wires[0], Some("order-7 ")),
        (&wires[1], Some("order-7")),
        (&wires[1], Some("\0")),
    ] {
        assert_eq!(with(wire, original_id), Err(VerifyError::Signature));
    }
}

/// What the statement says, read from its bytes as the specification lays them out, so that a
/// statement which could be read in two ways or not at all fails.
fn texts_of(statement: &[u8]) -> Option<[Option<&str>; 4]> {
    fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
        let (taken, after) = rest.split_at_checked(bytes)?;
        *rest = after;
        Some(taken)
    }
    fn length(rest: &mut &[u8]) -> Option<usize> {
        let bytes = take(rest, 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes).into())
    }
    fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
        let bytes = length(rest)?;
        std::str::from_utf8(take(rest, bytes)?).ok()
    }
    let mut rest = statement.strip_prefix(EVENT_PREFIX)?;
    take(&mut rest, 1 + 1 + 32)?;
    let device = text(&mut rest)?;
    take(&mut rest, 16 + 8 + 16)?;
    let event_type = text(&mut rest)?;
    take(&mut rest, 2)?;
    let source = text(&mut rest)?;
    take(&mut rest, 8 + 8 + 1 + 16 + 8 + 32 + 32)?;
    let extensions = length(&mut rest)?;
    if rest.len() != extensions {
        return None;
    }
    let original_id = match rest.split_first() {
        None => None,
        Some((1, mut entry)) => Some(text(&mut entry).filter(|_| entry.is_empty())?),
        Some(_) => return None,
    };
    Some([Some(device), Some(event_type), Some(source), original_id])
}

#[test]
fn no_two_statements_have_the_same_bytes() {
    let texts = ["a", "aa", "\0", "\0\u{1}\0\u{1}a", "\u{1}\0\u{1}a", "é"];
    let originals = texts.into_iter().map(Some).chain([None]);
    let mut seen = std::collections::HashMap::new();
    for original_id in originals {
        for source in texts {
            for end in [[0; 32], [1; 32], [0xff; 32]] {
                let statement = Statement {
                    kind: Kind::Program,
                    key_id: KeyId([0; 32]),
                    device: "a",
                    epoch: Epoch::from_uuid(Uuid::nil()),
                    seq: Seq::FIRST,
                    id: Uuid::nil(),
                    original_id,
                    event_type: "a",
                    event_version: 1,
                    source,
                    occurred_at: Timestamp::from_micros(0).unwrap(),
                    clock: Stamp {
                        wall: Timestamp::from_micros(0).unwrap(),
                        sync: ClockSync::No,
                        boot_id: Uuid::nil(),
                        boottime_us: 0,
                    },
                    prev: Digest::ZERO,
                    private_digest: Digest(end),
                };
                let mut bytes = Vec::new();
                statement.encode(&mut bytes);
                assert!(bytes.len() <= MAX_STATEMENT_BYTES);
                let expected = [Some("a"), Some("a"), Some(source), original_id];
                assert_eq!(texts_of(&bytes), Some(expected));
                let other = seen.insert(bytes, (original_id, source, end));
                assert_eq!(other, None, "{original_id:?} {source:?}");
            }
        }
    }
}

/// The wire bytes without the personal part, as after an erasure.
fn erased(wire: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(wire).unwrap();
    let (head, _) = text.split_once(",\"aggregate_id\":").unwrap();
    format!("{head}}}").into()
}

#[test]
fn an_erased_envelope_still_verifies_and_says_that_it_is_erased() {
    let mut device = Device::new();
    let wire = device.group(&[Draft::new(b"{}")]).remove(0);
    let mut verifier = device.verifier();
    let whole = verifier.verify(envelope(&wire)).unwrap();
    let erased = verifier.verify(envelope(&erased(&wire))).unwrap();
    assert!(erased.is_erased() && erased.private().is_none());
    assert!(!whole.is_erased());
    assert_eq!(erased.digest(), whole.digest());
    let mut again = Vec::new();
    erased.record().render(false, true, &mut again);
    assert_eq!(again, self::erased(&wire));
}

#[test]
fn nothing_of_one_envelope_passes_in_another() {
    let mut device = Device::new();
    let first = device.group(&[Draft::new(b"1"), Draft::new(b"2"), Draft::new(b"3")]);
    let second = device.group(&[Draft::new(b"4"), Draft::new(b"5"), Draft::new(b"6")]);
    let mut verifier = device.verifier();
    for wire in first.iter().chain(&second) {
        verifier.verify(envelope(wire)).unwrap();
    }
    let mut swapped = |change: &dyn Fn(&mut Fields, &Fields), one: &[u8], other: &[u8]| {
        let mut changed = envelope(one);
        change(&mut changed.fields, &envelope(other).fields);
        verifier.verify(changed).map(|_| ())
    };
    use VerifyError::{Private, Signature};
    let swap_signature: &dyn Fn(&mut Fields, &Fields) = &|to, from| to.signature = from.signature;
    let swap_path: &dyn Fn(&mut Fields, &Fields) = &|to, from| to.path = from.path;
    let swap_place: &dyn Fn(&mut Fields, &Fields) = &|to, from| to.leaf = from.leaf;
    let swap_private: &dyn Fn(&mut Fields, &Fields) = &|to, from| to.private = from.private.clone();
    let swap_proof: &dyn Fn(&mut Fields, &Fields) = &|to, from| {
        (to.path, to.leaf, to.signature) = (from.path, from.leaf, from.signature);
    };
    let swap_seq: &dyn Fn(&mut Fields, &Fields) = &|to, from| to.seq = from.seq;
    assert_eq!(
        swapped(swap_signature, &first[0], &second[0]),
        Err(Signature)
    );
    assert_eq!(swapped(swap_path, &first[0], &second[0]), Err(Signature));
    assert_eq!(swapped(swap_path, &first[0], &first[1]), Err(Signature));
    assert_eq!(swapped(swap_place, &first[0], &first[1]), Err(Signature));
    assert_eq!(swapped(swap_proof, &first[0], &first[1]), Err(Signature));
    assert_eq!(swapped(swap_seq, &first[0], &first[1]), Err(Signature));
    assert_eq!(swapped(swap_private, &first[0], &first[1]), Err(Private));
}

#[test]
fn a_key_speaks_for_nobody_it_is_not_trusted_for() {
    let mut device = Device::new();
    let wire = device.group(&[Draft::new(b"1")]).remove(0);
    let mut stranger = Verifier::new();
    stranger.trust(DeviceKey::generate().unwrap().public_key());
    let error = stranger.verify(envelope(&wire)).unwrap_err();
    assert_eq!(error, VerifyError::UnknownKey(device.key.public_key().id()));

    let mut registry = Verifier::new();
    registry.trust_for(device.key.public_key(), "kiosk-1".parse().unwrap());
    assert!(registry.verify(envelope(&wire)).is_ok());
    device.name = "kiosk-2";
    let wire = device.group(&[Draft::new(b"1")]).remove(0);
    let error = registry.verify(envelope(&wire)).unwrap_err();
    assert!(matches!(error, VerifyError::WrongDevice { .. }), "{error}");
}

#[test]
fn the_memory_of_verified_groups_is_bounded_and_forgetting_does_no_harm() {
    let mut device = Device::new();
    let wires: Vec<_> = (0..1100)
        .map(|_| device.group(&[Draft::new(b"1")]).remove(0))
        .collect();
    let mut verifier = device.verifier();
    for wire in wires.iter().chain(&wires[..3]) {
        verifier.verify(envelope(wire)).unwrap();
    }
    assert_eq!(verifier.remembered_groups(), 1024);
}

mod cloud_events;

mod chains {
    use super::*;

    fn started(device: &Device, previous: Option<EpochEnd>) -> Draft {
        let payload = serde_json::json!({"reason": "test", "previous": previous});
        assert_eq!(device.prev, Digest::ZERO);
        let mut draft = Draft::new(payload.to_string().as_bytes());
        draft.event_type = EPOCH_STARTED;
        draft
    }

    fn begin(device: &mut Device) -> Vec<Vec<u8>> {
        let start = started(device, None);
        device.group(&[start, Draft::new(b"2"), Draft::new(b"3"), Draft::new(b"4")])
    }

    fn verified(device: &Device, wires: &[Vec<u8>]) -> Vec<Envelope<Verified>> {
        let mut verifier = device.verifier();
        wires
            .iter()
            .map(|wire| verifier.verify(envelope(wire)).unwrap())
            .collect()
    }

    fn extend(chain: &mut Chain, device: &Device, wires: &[Vec<u8>]) -> Result<(), ChainError> {
        verified(device, wires)
            .iter()
            .try_for_each(|envelope| chain.extend(envelope))
    }

    #[test]
    fn a_run_without_a_gap_is_a_chain_wherever_it_begins() {
        let mut device = Device::new();
        let wires = begin(&mut device);
        for from in 0..4 {
            let mut chain = Chain::new();
            extend(&mut chain, &device, &wires[from..]).unwrap();
            let end = EpochEnd {
                epoch: device.epoch,
                seq: Seq::new(4),
                digest: device.prev,
            };
            assert_eq!(chain.end(), Some(end));
        }
        let mut bare = Vec::new();
        for wire in &wires[1..] {
            bare.push(erased(wire));
        }
        extend(&mut Chain::new(), &device, &bare).unwrap();
    }

    #[test]
    fn gaps_repeats_and_what_came_before_are_told_apart_and_leave_the_chain_alone() {
        let mut device = Device::new();
        let wires = begin(&mut device);
        let wires = verified(&device, &wires);
        let mut chain = Chain::new();
        chain.extend(&wires[0]).unwrap();
        let missing = SeqRange::new(Seq::new(2), Seq::new(3)).unwrap();
        assert_eq!(chain.extend(&wires[3]), Err(ChainError::Gap { missing }));
        chain.extend(&wires[1]).unwrap();
        let seq = Seq::new(2);
        assert_eq!(chain.extend(&wires[1]), Err(ChainError::Repeat { seq }));
        let earlier = ChainError::Earlier {
            seq: Seq::FIRST,
            end: seq,
        };
        assert_eq!(chain.extend(&wires[0]), Err(earlier));
        chain.extend(&wires[2]).unwrap();
        chain.extend(&wires[3]).unwrap();
    }

    #[test]
    fn a_fork_is_seen_at_the_seq_itself_and_at_the_one_after() {
        let mut device = Device::new();
        let wires = begin(&mut device);
        let (seq, prev) = (device.seq, device.prev);
        let ours = device.group(&[Draft::new(b"5"), Draft::new(b"6")]);
        (device.seq, device.prev) = (seq, prev);
        let theirs = device.group(&[Draft::new(b"50"), Draft::new(b"60")]);
        let fork = Err(ChainError::Fork { seq });
        for other in &theirs {
            let mut chain = Chain::new();
            extend(&mut chain, &device, &wires).unwrap();
            extend(&mut chain, &device, &ours[..1]).unwrap();
            assert_eq!(
                extend(&mut chain, &device, std::slice::from_ref(other)),
                fork
            );
        }
    }

    #[test]
    fn another_device_another_key_and_a_false_start_are_refused() {
        let mut device = Device::new();
        let mut chain = Chain::new();
        let wires = begin(&mut device);
        extend(&mut chain, &device, &wires).unwrap();
        let mut other = Device::new();
        other.key = DeviceKey::from_pkcs8_pem(&device_pem(&device)).unwrap();
        (other.name, other.epoch) = ("kiosk-2", device.epoch);
        (other.seq, other.prev) = (device.seq, device.prev);
        let next = other.group(&[Draft::new(b"5")]);
        let error = extend(&mut chain, &other, &next).unwrap_err();
        assert!(matches!(error, ChainError::Device { .. }), "{error}");

        let mut thief = Device::new();
        (thief.epoch, thief.seq, thief.prev) = (device.epoch, device.seq, device.prev);
        let next = thief.group(&[Draft::new(b"5")]);
        let error = extend(&mut chain, &thief, &next).unwrap_err();
        assert!(matches!(error, ChainError::Key { .. }), "{error}");

        let seq = device.seq;
        device.prev = Digest::ZERO;
        let next = device.group(&[Draft::new(b"5")]);
        for chain in [&mut chain, &mut Chain::new()] {
            assert_eq!(
                extend(chain, &device, &next),
                Err(ChainError::Start { seq })
            );
        }
        let mut draft = Draft::new(b"{\"previous\":null}");
        draft.event_type = EPOCH_STARTED;
        let (seq, next) = (device.seq, device.group(&[draft]));
        assert_eq!(
            extend(&mut chain, &device, &next),
            Err(ChainError::Start { seq })
        );
    }

    fn device_pem(device: &Device) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        device.key.store(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_epoch_follows_another_only_where_it_names_the_last_event_of_it() {
        let mut device = Device::new();
        let wires = begin(&mut device);
        let mut chain = Chain::new();
        extend(&mut chain, &device, &wires).unwrap();
        let end = chain.end().unwrap();
        let (old, seq) = (device.epoch, device.seq);

        let mut begun = |previous: Option<EpochEnd>, at: Seq| {
            (device.seq, device.prev, device.epoch) = (at, Digest::ZERO, Epoch::random());
            let start = started(&device, previous);
            let wires = device.group(&[start, Draft::new(b"2")]);
            let mut chain = chain.clone();
            let answer = extend(&mut chain, &device, &wires);
            (device.epoch, answer)
        };
        assert_eq!(begun(Some(end), seq).1, Ok(()));
        assert_eq!(
            begun(Some(end), seq.plus(100)).1,
            Ok(()),
            "a recovered journal may leap"
        );

        let (found, answer) = begun(None, seq);
        let stranger = |found, seq| {
            Err(ChainError::Epoch {
                seq,
                expected: old,
                found,
            })
        };
        assert_eq!(answer, stranger(found, seq));
        let (found, answer) = begun(
            Some(EpochEnd {
                epoch: Epoch::random(),
                ..end
            }),
            seq,
        );
        assert_eq!(answer, stranger(found, seq));
        let (found, answer) = begun(Some(end), end.seq);
        assert_eq!(
            answer,
            stranger(found, end.seq),
            "a seq is never used again"
        );

        let (_, answer) = begun(
            Some(EpochEnd {
                seq: seq.next(),
                ..end
            }),
            seq.plus(2),
        );
        let missing = SeqRange::new(seq, seq.next()).unwrap();
        assert_eq!(answer, Err(ChainError::Gap { missing }));
        let (found, answer) = begun(
            Some(EpochEnd {
                seq: Seq::new(2),
                ..end
            }),
            seq,
        );
        let forgotten = ChainError::Forgotten {
            found,
            known: Seq::new(2),
            end: end.seq,
        };
        assert_eq!(answer, Err(forgotten));
        let (_, answer) = begun(
            Some(EpochEnd {
                digest: Digest([1; 32]),
                ..end
            }),
            seq,
        );
        assert_eq!(answer, Err(ChainError::Fork { seq: end.seq }));
    }
}
