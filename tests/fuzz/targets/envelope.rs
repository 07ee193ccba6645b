//! Any bytes as an envelope.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    edge_outbox::fuzz::envelope(bytes);
});
