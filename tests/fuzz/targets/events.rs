//! Any bytes as a body with events.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    edge_outbox::fuzz::events(bytes);
});
