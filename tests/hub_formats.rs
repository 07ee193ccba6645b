//! Tails and receipts as they were frozen, in both directions, and read by another hand; and what
//! the command line says of the hub.

#![cfg(all(feature = "hub", feature = "cli"))]
#[path = "support/python.rs"]
mod python;
#[path = "support/vectors.rs"]
mod vectors;

use std::process::Command;

use edge_outbox::{
    Seq,
    receipt::{MAX_MISSING, MAX_RECEIPT_BYTES, Receipt, SignedError},
    seq::SeqRange,
    signing::{DeviceKey, PublicKey},
    tail::{MAX_TAIL_BYTES, Tail},
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct TailVector {
    key: vectors::Key,
    #[serde(flatten)]
    message: Message,
}

#[derive(Deserialize)]
struct ReceiptVectors {
    key: vectors::Key,
    receipts: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    input: Value,
    /// In hexadecimal.
    message: String,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        let digits = self.message.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn text(&self, member: &str) -> &str {
        self.input[member].as_str().unwrap()
    }

    fn number(&self, member: &str) -> u64 {
        self.input[member].as_u64().unwrap()
    }

    fn tail(&self) -> Tail {
        let nonce = u128::from_str_radix(self.text("nonce"), 16).unwrap();
        Tail {
            device: self.text("device").parse().unwrap(),
            epoch: self.text("epoch").parse().unwrap(),
            seq: Seq::new(self.number("seq")),
            digest: self.text("digest").parse().unwrap(),
            boot_id: self.text("boot_id").parse().unwrap(),
            boottime_us: self.number("boottime_us"),
            nonce: nonce.to_be_bytes(),
        }
    }

    fn receipt(&self) -> Receipt {
        let missing = self.input["missing"].as_array().unwrap().iter();
        Receipt {
            hub: self.text("hub").parse().unwrap(),
            generation: self.number("generation"),
            device: self.text("device").parse().unwrap(),
            epoch: self.text("epoch").parse().unwrap(),
            accounted_to: Seq::new(self.number("accounted_to")),
            digest: self.text("digest").parse().unwrap(),
            quarantined: self.number("quarantined"),
            missing: missing
                .map(|pair| range(pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
                .collect(),
        }
    }
}

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange::new(Seq::new(first), Seq::new(last)).unwrap()
}

fn keys(key: &vectors::Key) -> (DeviceKey, PublicKey) {
    let private = DeviceKey::from_pkcs8_base64(&key.private_key_pkcs8).unwrap();
    (private, key.public_key.parse().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_tail_is_made_and_read_as_it_was_frozen() {
    let vector: TailVector = vectors::read("tail.json");
    let (private, public) = keys(&vector.key);
    let tail = vector.message.tail();
    assert_eq!(hex(&tail.sign(&private)), vector.message.message);
    let message = vector.message.bytes();
    assert_eq!(Tail::verify(&message, &public), Ok(tail.clone()));
    assert_eq!(Tail::key_id(&message), Ok(public.id()));
    let long = Tail {
        device: "k".repeat(64).parse().unwrap(),
        ..tail.clone()
    };
    assert_eq!(long.sign(&private).len(), MAX_TAIL_BYTES);
    let nothing = Tail {
        seq: Seq::NONE,
        ..tail
    };
    let refused = Tail::verify(&nothing.sign(&private), &public);
    assert_eq!(refused, Err(SignedError::Value("seq")));
}

#[test]
fn receipts_are_made_and_read_as_they_were_frozen() {
    let vectors: ReceiptVectors = vectors::read("receipt.json");
    let (private, public) = keys(&vectors.key);
    for vector in &vectors.receipts {
        let receipt = vector.receipt();
        assert_eq!(hex(&receipt.sign(&private).unwrap()), vector.message);
        assert_eq!(Receipt::verify(&vector.bytes(), &public), Ok(receipt));
        assert_eq!(Receipt::key_id(&vector.bytes()), Ok(public.id()));
    }
    let longest = vectors.receipts.last().unwrap().bytes();
    assert_eq!(longest.len(), MAX_RECEIPT_BYTES);
}

/// The message holds; changed in any byte, cut off or longer it does not.
fn assert_no_other_holds(message: &[u8], holds: impl Fn(&[u8]) -> bool) {
    assert!(holds(message));
    for at in 0..message.len() {
        let mut other = message.to_vec();
        other[at] ^= 1;
        assert!(!holds(&other), "byte {at} changed");
        assert!(!holds(&message[..at]), "cut at {at}");
    }
    assert!(!holds(&[message, &[0]].concat()));
    assert!(!holds(&[]));
}

#[test]
fn no_byte_of_them_can_be_changed_added_or_left_out() {
    let tail: TailVector = vectors::read("tail.json");
    let receipts: ReceiptVectors = vectors::read("receipt.json");
    let tail_key = keys(&tail.key).1;
    let hub_key = keys(&receipts.key).1;
    let is_tail = |message: &[u8]| Tail::verify(message, &tail_key).is_ok();
    let is_receipt = |message: &[u8]| Receipt::verify(message, &hub_key).is_ok();
    assert_no_other_holds(&tail.message.bytes(), is_tail);
    assert_no_other_holds(&receipts.receipts[1].bytes(), is_receipt);
    // Each kind under its own key alone, and neither for the other.
    assert!(!is_tail(&receipts.receipts[0].bytes()) && !is_receipt(&tail.message.bytes()));
    let another = Tail::verify(&tail.message.bytes(), &hub_key);
    assert_eq!(another, Err(SignedError::Key(tail_key.id())));
}

#[test]
fn a_receipt_cannot_say_what_makes_no_sense() {
    let vectors: ReceiptVectors = vectors::read("receipt.json");
    let (private, _) = keys(&vectors.key);
    let receipt = vectors.receipts[0].receipt();
    let missing = |ranges: Vec<SeqRange>| Receipt {
        missing: ranges,
        ..receipt.clone()
    };
    let many = (0..=MAX_MISSING as u64).map(|n| range(30 + 2 * n, 30 + 2 * n));
    for (wrong, what) in [
        (missing(vec![range(21, 22)]), "missing"),
        (missing(vec![range(23, 24), range(25, 26)]), "missing"),
        (missing(vec![range(30, 31), range(24, 26)]), "missing"),
        (missing(many.collect()), "missing"),
        (
            Receipt {
                accounted_to: Seq::NONE,
                ..receipt.clone()
            },
            "digest",
        ),
    ] {
        assert_eq!(
            wrong.sign(&private),
            Err(SignedError::Value(what)),
            "{wrong:?}"
        );
    }
    assert!(
        missing(vec![range(22, 22), range(24, 24)])
            .sign(&private)
            .is_ok()
    );
}

#[test]
fn another_hand_reads_the_same_in_them() {
    let tail: TailVector = vectors::read("tail.json");
    let receipts: ReceiptVectors = vectors::read("receipt.json");
    let tails = [tail.message];
    for (key, messages) in [(&tail.key, &tails[..]), (&receipts.key, &receipts.receipts)] {
        let lines: String = messages
            .iter()
            .map(|it| format!("{}\n", it.message))
            .collect();
        let said = python::script("tail_receipt.py", &[&key.public_key], &lines).unwrap();
        let said: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let inputs: Vec<Value> = messages.iter().map(|it| it.input.clone()).collect();
        assert_eq!(said, inputs);
    }
    let mut altered = tails[0].message.clone();
    altered.replace_range(
        altered.len() - 1..,
        if altered.ends_with('0') { "1" } else { "0" },
    );
    let said = python::script("tail_receipt.py", &[&tail.key.public_key], &altered);
    assert!(said.unwrap_err().contains("signature"));
}

#[test]
fn the_command_line_prints_the_hubs_tables_when_it_is_asked_for_them() {
    let print = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_edge-outbox"))
            .args(args)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        print(&["config", "sql", "--hub"]),
        edge_outbox::hub::SCHEMA_SQL
    );
    let sink = edge_outbox::sink::postgres::SCHEMA_SQL;
    assert_eq!(print(&["config", "sql"]), sink);
}
