//! Any bytes as a stored row.

use super::row::{self, Group, GroupV1, RowError};
use crate::{
    envelope::{Envelope, MAX_GROUP_EVENTS, MAX_NUMBER},
    seq::Seq,
};

/// The most that reading a row may hold beside the row itself, in bytes of its list of events: what
/// is said of its length is not believed before the events are there.
const MAX_LIST_BYTES: usize = 2 * 1024 * 1024;

/// Reads the seq (eight bytes, big-endian) and the row that stands under it, without its checksum,
/// which is added: by chance none would fit.
pub fn row(bytes: &[u8]) -> bool {
    let Some((first, covered)) = bytes.split_first_chunk() else {
        return false;
    };
    let first = Seq::new(u64::from_be_bytes(*first));
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.get().to_be_bytes());
    hasher.update(covered);
    let row = [covered, &hasher.finalize().to_le_bytes()].concat();
    a_changed_bit_is_found(first, &row);
    match Group::decode(first, &row) {
        Ok(group) => {
            // Beyond are seqs that no envelope has room for.
            if first <= Seq::new(MAX_NUMBER) {
                as_it_says(first, &row, &group);
            }
            true
        }
        Err(error) => {
            assert!(error != RowError::Checksum || covered.is_empty());
            false
        }
    }
}

/// In the row, or in the seq that it stands under.
fn a_changed_bit_is_found(first: Seq, row: &[u8]) {
    let bit = first.get() as usize % (8 * row.len());
    let mut changed = row.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    let other = Seq::new(first.get() ^ 1 << (bit % 64));
    for found in [Group::decode(first, &changed), Group::decode(other, row)] {
        assert_eq!(found.err(), Some(RowError::Checksum));
    }
}

fn as_it_says(first: Seq, row: &[u8], group: &Group<'_>) {
    let (last, count) = (group.last(), group.last().next().since(first));
    assert!((1..=MAX_GROUP_EVENTS as u64).contains(&count), "{count}");
    assert_eq!(row::taken_in(first, row).map(|(last, _)| last), Ok(last));
    let ids = row::ids_of(first, row).unwrap_or_default();
    assert_eq!(ids.len() as u64, count);
    assert!(
        group
            .record(first.prev())
            .is_none_or(|_| first == Seq::NONE)
    );
    assert!(group.record(last.next()).is_none());

    let (mut prev, mut scratch) = (None, Vec::new());
    for (offset, id) in ids.iter().enumerate() {
        let seq = first.plus(offset as u64);
        let Some(record) = group.record(seq) else {
            panic!("{seq} is not in the row of {first} to {last}");
        };
        assert_eq!((record.statement.seq, record.statement.id), (seq, *id));
        assert_eq!(record.digest, record.statement.digest(&mut scratch));
        assert!(prev.is_none_or(|prev| prev == record.statement.prev));
        prev = Some(record.digest);
        if let Some(private) = &record.private {
            assert_eq!(private.digest(), record.statement.private_digest);
        }
        // What a program never wrote makes no envelope, or one that says the same.
        let mut wire = Vec::new();
        record.render(false, true, &mut wire);
        if let Ok(envelope) = Envelope::parse(&wire) {
            assert!(envelope.private_matches());
            assert_eq!(envelope.claims().digest(&mut scratch), record.digest);
        }
    }
    assert_eq!(prev, Some(group.head()));
    written_again(first, row, group);
}

/// The same group written anew is not longer, and reads the same.
fn written_again(first: Seq, row: &[u8], group: &Group<'_>) {
    let body = row.get(1..).map(postcard::take_from_bytes::<GroupV1<'_>>);
    let Some(Ok((body, _crc))) = body else {
        panic!("what was read does not decode");
    };
    let list = body.events.capacity() * size_of::<row::EventV1<'_>>();
    assert!(
        list <= MAX_LIST_BYTES,
        "{list} bytes for {} events",
        body.events.len()
    );
    let mut again = Vec::new();
    let encoded = row::encode(first, &body, &mut again);
    assert!(encoded.is_ok() && again.len() <= row.len());
    let Ok(other) = Group::decode(first, &again) else {
        panic!("what was written anew does not read");
    };
    assert_eq!(
        (other.seal(), other.head(), other.last(), other.checkpoint()),
        (group.seal(), group.head(), group.last(), group.checkpoint())
    );
}
