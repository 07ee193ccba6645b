//! The groups that edge-outbox would make, for a bare store that is to have the same.

/// Events in one of them at most: as many as are signed together.
const MOST_EVENTS: usize = 64;
/// What edge-outbox stores for an event beside its payload, about, in bytes.
const EVENT_BYTES: usize = 90;
/// What it reckons with when it makes a group, of an event of the benches' type.
const RECKONED_BYTES: usize = 108;
/// What its row takes beside its events, at most, in bytes.
const ROW_BYTES: usize = 320;
/// Bytes that are worth a group more.
const WORTH_A_GROUP: usize = 12 * 1024;

/// The rows of so many events with payloads of so many bytes: how many events each has.
pub fn groups(mut events: usize, payload_bytes: usize) -> impl Iterator<Item = usize> {
    let event_bytes = payload_bytes + RECKONED_BYTES;
    std::iter::from_fn(move || {
        let group = group(events, event_bytes);
        events -= group;
        (group > 0).then_some(group)
    })
}

/// The bytes of a row of so many events.
pub const fn row_bytes(events: usize, payload_bytes: usize) -> usize {
    events * (payload_bytes + EVENT_BYTES)
}

/// redb gives a row a power of two of pages. A group ends where half of them are full, if that saves enough.
fn group(events: usize, event_bytes: usize) -> usize {
    let bytes = |events: usize| ROW_BYTES + events * event_bytes;
    let all = events.min(MOST_EVENTS);
    let pages = bytes(all).next_power_of_two();
    let some = (pages / 2).saturating_sub(ROW_BYTES) / event_bytes;
    let apart = bytes(some).next_power_of_two() + bytes(all - some).next_power_of_two();
    let saved = pages.saturating_sub(apart);
    let is_followed = all < events && saved >= pages / 4;
    match some > 0 && (saved >= WORTH_A_GROUP || is_followed) {
        true => some,
        false => all,
    }
}
