//! A store-and-forward outbox for devices that are often offline and lose power without warning.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

pub mod clock;
mod digest;
mod encoding;
pub mod envelope;
pub mod event;
mod identity;
pub mod seq;
pub mod signing;

pub use self::{
    clock::Timestamp,
    envelope::{Chain, DeviceName, Envelope, Epoch, Verifier},
    event::{
        DomainEvent, Event, EventBuilder, EventError, LearningPulseCreated, LessonPublished,
        QuizSubmitted, UserEraseRequested,
    },
    seq::Seq,
    signing::{DeviceKey, PublicKey},
};
