//! Any bytes as an envelope.

use std::cell::RefCell;

use super::{Digest, Envelope, MAX_ENVELOPE_BYTES, Record, Unverified, Verifier};
use crate::{encoding::push_base64, signing::PublicKey};

/// The key of the frozen vectors, which the corpus is made of.
const PUBLIC_KEY: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

/// Reads an envelope in its own format, or else in that of a CloudEvent.
pub fn envelope(bytes: &[u8]) -> bool {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert!(spellings(&envelope).iter().any(|each| each == bytes));
    }
    let Ok(envelope) = Envelope::from_message(bytes) else {
        return false;
    };
    same_in_every_form(&envelope);
    let mut digest = Vec::new();
    let proven = proven_of(&envelope);
    assert!(proven.is_none_or(|it| it == envelope.claims().digest(&mut digest)));
    true
}

/// The digest of an envelope that verifies under the key of the vectors.
#[cfg(test)]
pub(crate) fn proven(bytes: &[u8]) -> Option<Digest> {
    proven_of(&Envelope::from_message(bytes).ok()?)
}

thread_local! {
    /// Has seen everything so far.
    static VERIFIER: RefCell<Verifier> = RefCell::new(verifier());
}

fn verifier() -> Verifier {
    let mut verifier = Verifier::new();
    match PUBLIC_KEY.parse::<PublicKey>() {
        Ok(key) => verifier.trust(key),
        Err(error) => panic!("{error}"),
    }
    verifier
}

/// Whoever verified other envelopes before is of the same opinion as who sees the first one.
fn proven_of(envelope: &Envelope<Unverified>) -> Option<Digest> {
    let one = verifier().verify(envelope.clone());
    let other = VERIFIER.with_borrow_mut(|verifier| verifier.verify(envelope.clone()));
    let digest = |verified: super::Envelope<super::Verified>| verified.digest();
    let (one, other) = (one.map(digest), other.map(digest));
    assert_eq!(one, other);
    one.ok()
}

fn record(envelope: &Envelope<Unverified>) -> Record<'_> {
    let fields = &envelope.fields;
    Record {
        statement: fields.statement(),
        digest: Digest::ZERO,
        private: fields.private(),
        signature: fields.signature,
        leaf: fields.leaf,
        size: fields.size,
        path: fields.path,
    }
}

/// The envelope as it is written, with the payload as it is, and in base64.
fn spellings(envelope: &Envelope<Unverified>) -> [Vec<u8>; 2] {
    let mut plain = Vec::new();
    record(envelope).render(envelope.fields.redelivered, false, &mut plain);
    let mut encoded = plain.clone();
    if let Some(private) = envelope.fields.private() {
        encoded.truncate(plain.len() - private.payload.len() - ",\"payload\":}".len());
        encoded.extend_from_slice(b",\"payload_b64\":\"");
        push_base64(&mut encoded, private.payload);
        encoded.extend_from_slice(b"\"}");
    }
    assert!(plain.len() <= MAX_ENVELOPE_BYTES, "{}", plain.len());
    [plain, encoded]
}

/// Written as a CloudEvent, in either mode, and read back, it is the same envelope.
fn same_in_every_form(envelope: &Envelope<Unverified>) {
    let redelivered = envelope.fields.redelivered;
    let record = record(envelope);
    let mut json = Vec::new();
    record.render_cloud_event(redelivered, &mut json);
    let attributes = record.attributes(redelivered);
    let attributes = attributes.iter().map(|(name, text)| (*name, text.as_str()));
    let data = record.private.map_or(&[][..], |private| private.payload);
    for back in [
        Envelope::from_cloud_event(&json),
        Envelope::from_binary_cloud_event(attributes, data),
    ] {
        match back {
            Ok(back) => assert_eq!(spellings(&back), spellings(envelope)),
            Err(error) => panic!("{error}"),
        }
    }
}
