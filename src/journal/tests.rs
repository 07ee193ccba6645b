//! The synchronous core, over storage that fails on purpose.

mod attack;
mod behaviour;
mod cost;
mod crash;
mod damage;
mod erase;
mod every_table;
mod full;
mod gathering;
mod left_behind;
mod letters;
mod receipts;
mod retention;
pub(crate) mod scribe;
pub(crate) mod storage;
mod unreadable;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use uuid::Uuid;

use self::storage::FaultyStorage;
use super::{
    Appended, Limits,
    core::{Core, Identity, NewBoard, Wanted},
    cursor::{SinkName, Start},
    entropy::Entropy,
    error::{AppendError, Fault},
    retention::Retention,
    sealed::Sealed,
};
use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    event::Event,
    signing::DeviceKey,
};

/// PKCS#8 of a key whose seed is 32 times the byte 7.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// The same of the byte 9.
const OTHER_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

const LIMITS: Limits = Limits {
    max_bytes: 64 << 20,
    max_payload_bytes: 64 << 10,
    retention: Retention::DEFAULT,
    low_disk: None,
};

/// A clock that steps a microsecond a reading.
fn stamp() -> Stamp {
    static NOW: AtomicU64 = AtomicU64::new(1);
    let now = NOW.fetch_add(1, Ordering::Relaxed);
    Stamp {
        wall: Timestamp::from_micros(1_700_000_000_000_000 + now as i64).unwrap(),
        sync: ClockSync::Yes,
        boot_id: Uuid::from_u128(0xB007),
        boottime_us: now,
    }
}

/// Randomness that a seed replays.
fn entropy(seed: u64) -> Entropy {
    let mut state = seed;
    Box::new(move |buffer| {
        buffer
            .iter_mut()
            .for_each(|byte| *byte = next_random(&mut state) as u8)
    })
}

/// splitmix64.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn identity() -> Identity {
    Identity {
        device: Some("kiosk-1".parse().unwrap()),
        key: DeviceKey::from_pkcs8_base64(KEY).unwrap(),
        previous_key: None,
        source: "tests".into(),
        may_begin_epoch: true,
        new_board: NewBoard::No,
    }
}

fn open(storage: &FaultyStorage, limits: Limits) -> Result<Core<FaultyStorage>, Fault> {
    Core::open(
        storage.clone(),
        identity(),
        limits,
        1 << 20,
        entropy(1),
        stamp(),
    )
}

fn sealed(number: u64, payload: &str) -> Sealed {
    let event = Event::builder("quiz.submitted.v1", Uuid::from_u128(7))
        .id(Uuid::from_u64_pair(number, 1))
        .payload(payload)
        .build()
        .unwrap();
    Sealed::seal(event, 0, LIMITS.max_payload_bytes, &mut entropy(number)).unwrap()
}

fn append(
    core: &mut Core<FaultyStorage>,
    request: Vec<Sealed>,
) -> Result<Result<Vec<Appended>, AppendError>, Fault> {
    let mut staging = core.stage(stamp());
    let places = core.append(&mut staging, request);
    core.commit(staging)?;
    Ok(places)
}

fn wanted(required: bool, window: u64) -> Wanted {
    Wanted {
        required,
        window,
        start: Start::Oldest,
    }
}

fn nats() -> SinkName {
    SinkName::new("nats").unwrap()
}
