//! Random bytes for ids and salts.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

/// Fills a buffer with random bytes. Handed in, so that a simulation can replay them.
pub(crate) type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// The operating system's randomness, fetched for some twenty events at a time: a call for each
/// salt and each id was a quarter of what an append costs its caller.
pub(crate) fn system_entropy() -> Entropy {
    Box::new(|buffer| FETCHED.with_borrow_mut(|fetched| fetched.fill(buffer)))
}

/// As [`system_entropy`], for an outbox that is being opened: nothing that was fetched before is given
/// out any more. A process that was forked has a copy of what its parent had fetched, and only an
/// outbox that it opens itself has a writer there: so no salt is stored twice, and no append has to
/// ask which process it is in.
pub(crate) fn opening_entropy() -> Entropy {
    OPENED.fetch_add(1, Ordering::Relaxed);
    system_entropy()
}

/// How many outboxes this process has opened, with those of the process it was forked from.
static OPENED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static FETCHED: RefCell<Fetched> = const { RefCell::new(Fetched::none()) };
}

/// Random bytes, each given out once.
struct Fetched {
    /// Those that were given out are zero: a salt must not outlive its event here.
    bytes: [u8; 512],
    /// How many of them have been given out.
    given: usize,
    /// What [`OPENED`] was when they were fetched.
    opened: u64,
}

impl Fetched {
    const fn none() -> Self {
        Self {
            bytes: [0; 512],
            given: 512,
            opened: 0,
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        // A salt that is not random would let an erased payload be guessed from its digest, so
        // there is nothing to fall back to.
        #[expect(clippy::expect_used, reason = "no kernel this runs on fails here")]
        let fetch = |bytes: &mut [u8]| {
            getrandom::fill(bytes).expect("the operating system gives randomness");
        };
        if buffer.len() > self.bytes.len() {
            return fetch(buffer);
        }
        let opened = OPENED.load(Ordering::Relaxed);
        if buffer.len() > self.bytes.len() - self.given || self.opened != opened {
            // Given out before it is there: what a panic leaves is not used.
            self.given = self.bytes.len();
            fetch(&mut self.bytes);
            (self.given, self.opened) = (0, opened);
        }
        let end = self.given + buffer.len();
        let given = &mut self.bytes[self.given..end];
        buffer.copy_from_slice(given);
        given.fill(0);
        self.given = end;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn random_bytes_are_given_out_once_whatever_is_asked_for() {
        let (mut entropy, mut seen) = (system_entropy(), BTreeSet::new());
        for length in [16, 10, 512, 32, 513, 2_000, 16].repeat(50) {
            let mut bytes = vec![0; length];
            entropy(&mut bytes);
            assert!(bytes.windows(8).all(|part| seen.insert(part.to_vec())));
        }
    }

    #[test]
    fn an_outbox_uses_nothing_that_was_fetched_before_it_was_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut one = [0; 16];
        system_entropy()(&mut one);
        // What a process that was forked here would have, too.
        let fetched = FETCHED.with_borrow(|fetched| fetched.bytes);
        let is_there = |one: &[u8]| fetched.windows(16).any(|there| there == one);
        assert!(!is_there(&one) && fetched != [0; 512]);
        let outbox = crate::Outbox::builder(dir.path()).open().expect("it opens");
        system_entropy()(&mut one);
        assert!(!is_there(&one));
        outbox.blocking().close();
    }
}
