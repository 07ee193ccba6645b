//! The events of every table: a class answers a quiz.

use std::{
    fmt::Write as _,
    ops::Range,
    sync::{Arc, LazyLock},
};

use edge_outbox::Event;
use uuid::Uuid;

/// What every event is.
pub const EVENT_TYPE: &str = "quiz.submitted.v1";
/// The device that made it.
pub const DEVICE: &str = "kiosk-1";
/// Whose answers they are: one pupil after the other.
const PUPILS: u64 = 28;

/// Digits of an event's number in its payload.
const DIGITS: usize = 10;
/// What stands before them.
const NUMBER: &str = "{\"n\":\"";
const QUIZ: &str = "\",\"quiz\":\"fractions-4\",\"answers\":[";
const NOTE: &str = "],\"note\":\"";
const END: &str = "\"}";
/// Bytes of everything but the answers and the note.
const FRAME: usize = NUMBER.len() + DIGITS + QUIZ.len() + NOTE.len() + END.len();

/// Bytes of payload for which there are answers.
const MOST: usize = 64 * 1024;
const ANSWER_BYTES: usize = ANSWER[0].len();
/// One after the other, all of the same size.
const ANSWER: [&str; 3] = [
    "{\"question\":1,\"choice\":\"b\",\"ms\":4217,\"right\":true },",
    "{\"question\":2,\"choice\":\"d\",\"ms\":9380,\"right\":false},",
    "{\"question\":3,\"choice\":\"a\",\"ms\":2651,\"right\":true },",
];
static ANSWERS: LazyLock<String> = LazyLock::new(|| ANSWER.concat().repeat(MOST / ANSWER_BYTES));
/// What fills the rest up, of which there is less than an answer.
const WORDS: &str = "three quarters is more than a half, and a half is more than a third";

/// The payload of the event of this number: JSON of exactly so many bytes.
///
/// # Panics
/// There is none of so few bytes, or none of so many.
pub fn payload(number: u64, bytes: usize) -> String {
    assert!(
        (FRAME..MOST).contains(&bytes),
        "{bytes} bytes of payload: {FRAME} to {MOST} can be had"
    );
    let left = bytes - FRAME;
    let answers = &ANSWERS[..left / ANSWER_BYTES * ANSWER_BYTES];
    let answers = answers.strip_suffix(',').unwrap_or(answers);
    let note = &WORDS[..left - answers.len()];
    format!("{NUMBER}{number:0DIGITS$}{QUIZ}{answers}{NOTE}{note}{END}")
}

/// Whose event the one of this number is.
pub fn aggregate(number: u64) -> Uuid {
    Uuid::from_u64_pair(
        0x0198_7b2e_4c1d_7e55,
        0x9a3f_60d2_17c8_4b00 + number % PUPILS,
    )
}

/// The event of this number, with a payload of so many bytes.
pub fn event(number: u64, bytes: usize) -> Event {
    Event::builder(EVENT_TYPE, aggregate(number))
        .payload(payload(number, bytes))
        .build()
        .expect("an event")
}

/// A class's payloads, made before a clock starts.
#[derive(Clone)]
pub struct Class(Arc<[String]>);

impl Class {
    /// With payloads of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self((0..PUPILS).map(|number| payload(number, bytes)).collect())
    }

    /// The next pupil's event.
    pub fn event(&self, number: u64) -> Event {
        let pupil = (number % PUPILS) as usize;
        Event::builder(EVENT_TYPE, aggregate(number))
            .payload(self.0[pupil].as_str())
            .build()
            .expect("an event")
    }
}

/// The events of these numbers as the lines of a request, each with a payload of so many bytes.
pub fn lines(numbers: Range<u64>, bytes: usize) -> String {
    let mut lines = String::new();
    for number in numbers {
        let (aggregate, payload) = (aggregate(number), payload(number, bytes));
        let _ = writeln!(
            lines,
            "{{\"event_type\":\"{EVENT_TYPE}\",\"aggregate_id\":\"{aggregate}\",\"payload\":{payload}}}"
        );
    }
    lines
}

/// The number in a payload, or in a message that holds one as it is; `None` for an event that is not
/// one of these.
pub fn number(message: &[u8]) -> Option<u64> {
    let mut places = message.windows(NUMBER.len());
    let at = places.position(|bytes| bytes == NUMBER.as_bytes())?;
    let digits = message.get(at + NUMBER.len()..)?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
