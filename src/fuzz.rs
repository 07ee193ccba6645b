//! What becomes of bytes that nobody here has made: one function for each kind of them, to be called
//! with anything at all.
//!
//! Each reads its bytes as the program would, panics where a property does not hold, and says whether
//! they were taken. `tests/fuzz` lets libFuzzer call them; the tests beside this file call them with
//! the corpora in `tests/fuzz/corpora` and thousands of mutations of those. None of this is in a
//! program that is built in any other way.

#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;

#[cfg(feature = "cli")]
pub use crate::config::fuzz::configuration;
pub use crate::{
    envelope::fuzz::envelope,
    ingest::body::fuzz::{cloud_events, events},
    journal::fuzz::row,
};
