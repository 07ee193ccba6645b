use uuid::Uuid;

use super::statement::text_len;
use crate::digest::Digest;

/// What precedes the personal part when it is digested.
pub const PRIVATE_PREFIX: &[u8] = b"edge-outbox/private\0";

/// What is personal. The statement holds only its digest, and the salt makes that digest say
/// nothing once salt and data are gone: without it, a pupil's id could be guessed back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Private<'a> {
    /// 16 random bytes, fresh for every event.
    pub salt: [u8; 16],
    /// What the event is about.
    pub aggregate_id: Uuid,
    /// The person whose data this is, up to 255 bytes; empty: nobody.
    pub subject_id: &'a str,
    /// The payload's exact bytes.
    pub payload: &'a [u8],
}

impl Private<'_> {
    /// The `private_digest` of the statement.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&[
            PRIVATE_PREFIX,
            &self.salt,
            self.aggregate_id.as_bytes(),
            &text_len(self.subject_id),
            self.subject_id.as_bytes(),
            self.payload,
        ])
    }
}
