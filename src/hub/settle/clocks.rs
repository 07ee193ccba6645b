//! What clocks say of boots. For each boot of a device: the moment at which it began, as its wall clock
//! has it while that is set, and the latest that it can have begun by what had arrived. Merging is the
//! same in any order, so it does not matter which hub has what first. The view `events` makes of it when
//! things occurred; no event is touched.

use std::collections::BTreeMap;

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use crate::{
    clock::{BEFORE_THIS_SOFTWARE_US, ClockSync, Stamp},
    hub::{
        error::{HubError, Tried as _},
        plan::{ByDevice, Stored},
        rows::number,
    },
};

/// A clock that is further ahead of the database's is not believed: the view has the same.
const MAX_AHEAD_US: i64 = 10_000_000;

/// A boot by its place in the table: device, boot and epoch.
type Place<'a> = (&'a str, Uuid, Uuid);

/// An event in its boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    seq: u64,
    /// Microseconds since boot.
    since_us: i64,
}

/// The first and the last of some events, and when the boot began by their clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: Mark,
    last: Mark,
    earliest_us: i64,
    latest_us: i64,
}

impl Span {
    const fn of(mark: Mark, began_us: i64) -> Self {
        Self {
            first: mark,
            last: mark,
            earliest_us: began_us,
            latest_us: began_us,
        }
    }

    fn with(self, mark: Mark, began_us: i64) -> Self {
        Self {
            first: self.first.min(mark),
            last: self.last.max(mark),
            earliest_us: self.earliest_us.min(began_us),
            latest_us: self.latest_us.max(began_us),
        }
    }
}

/// A boot as a batch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Boot {
    all: Span,
    set: Option<Span>,
    unset: Option<Span>,
    /// The time since boot goes back somewhere: these are two boots under one name.
    is_reused: bool,
}

impl Boot {
    fn of(events: &mut [(Mark, Stamp)], now_us: i64) -> Option<Self> {
        events.sort_unstable_by_key(|(mark, _)| *mark);
        let is_reused = events
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.0.seq < b.0.seq && a.0.since_us > b.0.since_us));
        let (mut all, mut set, mut unset) = (None, None, None);
        for (mark, stamp) in &*events {
            let began_us = stamp.wall.as_micros() - mark.since_us;
            let of_kind = match is_set(stamp, now_us) {
                true => &mut set,
                false => &mut unset,
            };
            for span in [&mut all, of_kind] {
                let longer = span.map(|span: Span| span.with(*mark, began_us));
                *span = longer.or_else(|| Some(Span::of(*mark, began_us)));
            }
        }
        Some(Self {
            all: all?,
            set,
            unset,
            is_reused,
        })
    }
}

/// Whether a wall clock can be believed. One that says what has not come yet cannot.
fn is_set(stamp: &Stamp, now_us: i64) -> bool {
    stamp.sync == ClockSync::Yes
        && stamp.is_plausible()
        && stamp.wall.as_micros() <= now_us.saturating_add(MAX_AHEAD_US)
}

/// The boots of what was stored. Where a device has no name for its boots, nothing ties its events
/// together.
fn boots(stored: &ByDevice<Stored>, now_us: i64) -> BTreeMap<Place<'_>, Boot> {
    let mut events: BTreeMap<Place<'_>, Vec<(Mark, Stamp)>> = BTreeMap::new();
    for (device, stored) in stored {
        for event in stored.iter().filter(|event| !event.clock.boot_id.is_nil()) {
            let mark = Mark {
                seq: event.seq,
                since_us: number(event.clock.boottime_us),
            };
            let place = (&**device, event.clock.boot_id, event.epoch);
            events.entry(place).or_default().push((mark, event.clock));
        }
    }
    let boots = events.into_iter();
    boots
        .filter_map(|(place, mut events)| Some((place, Boot::of(&mut events, now_us)?)))
        .collect()
}

/// Notes what the clocks of these events say. Their devices are locked.
pub(super) async fn note(
    transaction: &Transaction<'_>,
    stored: &ByDevice<Stored>,
    now_us: i64,
) -> Result<(), HubError> {
    let boots = boots(stored, now_us);
    if boots.is_empty() {
        return Ok(());
    }
    let all = |value: fn(&Boot) -> i64| -> Vec<i64> { boots.values().map(value).collect() };
    let set = |value: fn(&Span) -> i64| -> Vec<Option<i64>> {
        boots
            .values()
            .map(|boot| boot.set.as_ref().map(value))
            .collect()
    };
    let device: Vec<&str> = boots.keys().map(|(device, ..)| *device).collect();
    let boot_id: Vec<Uuid> = boots.keys().map(|(_, boot_id, _)| *boot_id).collect();
    let epoch: Vec<Uuid> = boots.keys().map(|(.., epoch)| *epoch).collect();
    let first_seq = all(|boot| number(boot.all.first.seq));
    let first_us = all(|boot| boot.all.first.since_us);
    let last_seq = all(|boot| number(boot.all.last.seq));
    let last_us = all(|boot| boot.all.last.since_us);
    let set_first_seq = set(|span| number(span.first.seq));
    let set_first_us = set(|span| span.first.since_us);
    let set_last_seq = set(|span| number(span.last.seq));
    let set_last_us = set(|span| span.last.since_us);
    let set_earliest = set(|span| span.earliest_us);
    let set_latest = set(|span| span.latest_us);
    // They have all arrived in this moment: the last of them says most about when the boot began. Where
    // the database's own clock is not set, no arrival is noted.
    let arrived = boots.values();
    let arrived: Vec<Option<i64>> = arrived
        .map(|boot| boot.unset.as_ref().map(|span| span.last.since_us))
        .collect();
    let is_reused: Vec<bool> = boots.values().map(|boot| boot.is_reused).collect();
    transaction
        .query_typed(
            NOTE,
            &[
                (&device, Type::TEXT_ARRAY),
                (&boot_id, Type::UUID_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&first_seq, Type::INT8_ARRAY),
                (&first_us, Type::INT8_ARRAY),
                (&last_seq, Type::INT8_ARRAY),
                (&last_us, Type::INT8_ARRAY),
                (&set_first_seq, Type::INT8_ARRAY),
                (&set_first_us, Type::INT8_ARRAY),
                (&set_last_seq, Type::INT8_ARRAY),
                (&set_last_us, Type::INT8_ARRAY),
                (&set_earliest, Type::INT8_ARRAY),
                (&set_latest, Type::INT8_ARRAY),
                (&arrived, Type::INT8_ARRAY),
                (&is_reused, Type::BOOL_ARRAY),
                (&now_us, Type::INT8),
                (&BEFORE_THIS_SOFTWARE_US, Type::INT8),
            ],
        )
        .await
        .tried("noting what clocks say")?;
    Ok(())
}

/// A boot whose clock is set costs one row, written again every quarter of an hour that it lasts and
/// whenever its clock is set anew. What it is short of by that is on the safe side.
const NOTE: &str = "\
insert into edge_outbox_hub.boots as b (device, boot_id, epoch, first_seq, first_us, last_seq, last_us, \
set_first_seq, set_first_us, set_last_seq, set_last_us, set_earliest, set_latest, arrived_us, \
arrived_latest, is_reused) \
select device, boot_id, epoch, first_seq, first_us, last_seq, last_us, set_first_seq, set_first_us, \
set_last_seq, set_last_us, set_earliest, set_latest, arrived_us, \
case when $16 >= $17 then $16 - arrived_us end, is_reused \
from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) as batch \
(device, boot_id, epoch, first_seq, first_us, last_seq, last_us, set_first_seq, set_first_us, \
set_last_seq, set_last_us, set_earliest, set_latest, arrived_us, is_reused) \
on conflict (device, boot_id, epoch) do update set \
first_seq = least(b.first_seq, excluded.first_seq), \
first_us = case when excluded.first_seq < b.first_seq then excluded.first_us else b.first_us end, \
last_seq = greatest(b.last_seq, excluded.last_seq), \
last_us = case when excluded.last_seq > b.last_seq then excluded.last_us else b.last_us end, \
set_first_seq = least(b.set_first_seq, excluded.set_first_seq), \
set_first_us = case when b.set_first_seq is null or excluded.set_first_seq < b.set_first_seq \
then excluded.set_first_us else b.set_first_us end, \
set_last_seq = greatest(b.set_last_seq, excluded.set_last_seq), \
set_last_us = case when b.set_last_seq is null or excluded.set_last_seq > b.set_last_seq \
then excluded.set_last_us else b.set_last_us end, \
set_earliest = least(b.set_earliest, excluded.set_earliest), \
set_latest = greatest(b.set_latest, excluded.set_latest), \
arrived_us = case when b.arrived_latest is null or excluded.arrived_latest < b.arrived_latest \
then excluded.arrived_us else b.arrived_us end, \
arrived_latest = least(b.arrived_latest, excluded.arrived_latest), \
is_reused = b.is_reused or excluded.is_reused \
or excluded.first_seq < b.first_seq and excluded.first_us > b.first_us \
or excluded.last_seq > b.last_seq and excluded.last_us < b.last_us \
or excluded.first_seq > b.last_seq and excluded.first_us < b.last_us \
or excluded.last_seq < b.first_seq and excluded.last_us > b.first_us \
where excluded.arrived_us is not null or excluded.is_reused and not b.is_reused \
or excluded.first_seq < b.first_seq \
or excluded.last_seq > b.last_seq and excluded.first_us < b.last_us \
or excluded.last_us > b.last_us + 900000000 \
or b.set_earliest is null or excluded.set_earliest < b.set_earliest - 1000 \
or excluded.set_latest > b.set_latest + 1000 or excluded.set_first_seq < b.set_first_seq \
or excluded.set_last_us > b.set_last_us + 900000000 \
or excluded.set_last_seq > b.last_seq and b.last_seq > b.set_last_seq";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, digest::Digest, signing::KeyId};

    /// 2026-03-01T08:00:00Z.
    const NOW: i64 = 1_772_352_000_000_000;
    const SECOND: i64 = 1_000_000;

    fn event(seq: u64, since: i64, wall: i64, sync: ClockSync) -> Stored {
        Stored {
            epoch: Uuid::from_u128(1),
            seq,
            digest: Digest::ZERO,
            key_id: KeyId([0; 32]),
            clock: Stamp {
                wall: Timestamp::from_micros(wall).unwrap(),
                sync,
                boot_id: Uuid::from_u128(2),
                boottime_us: since as u64,
            },
            start: None,
            unreadable: false,
        }
    }

    fn boot(events: &[Stored]) -> Boot {
        let stored = ByDevice::from([("kiosk-1".to_owned(), events.to_vec())]);
        let boots = boots(&stored, NOW);
        boots[&("kiosk-1", Uuid::from_u128(2), Uuid::from_u128(1))].clone()
    }

    #[test]
    fn a_boot_is_what_its_clock_says_set_and_not_set_in_any_order() {
        let mut events = vec![
            event(1, 10 * SECOND, 10 * SECOND, ClockSync::No),
            event(2, 20 * SECOND, 20 * SECOND, ClockSync::Unknown),
            event(3, 30 * SECOND, NOW - 70 * SECOND, ClockSync::Yes),
            event(4, 90 * SECOND, NOW - 9 * SECOND, ClockSync::Yes),
        ];
        let there = boot(&events);
        events.reverse();
        assert_eq!(there, boot(&events));
        assert!(!there.is_reused);
        let unset = there.unset.unwrap();
        assert_eq!((unset.earliest_us, unset.latest_us), (0, 0));
        assert_eq!((unset.first.seq, unset.last.seq), (1, 2));
        let set = there.set.unwrap();
        assert_eq!(set.earliest_us, NOW - 100 * SECOND);
        assert_eq!(set.latest_us, NOW - 99 * SECOND);
        assert_eq!((set.first.seq, set.last.seq), (3, 4));
    }

    #[test]
    fn a_clock_that_says_what_has_not_come_yet_or_was_long_ago_is_not_set() {
        let there = boot(&[
            event(1, SECOND, NOW + MAX_AHEAD_US, ClockSync::Yes),
            event(2, SECOND, NOW + MAX_AHEAD_US + 1, ClockSync::Yes),
            event(3, SECOND, SECOND, ClockSync::Yes),
        ]);
        assert_eq!(there.set.unwrap().last.seq, 1);
        let unset = there.unset.unwrap();
        assert_eq!((unset.first.seq, unset.last.seq), (2, 3));
    }

    #[test]
    fn a_time_since_boot_that_goes_back_is_that_of_another_boot() {
        let yes = |seq, since| event(seq, since, NOW, ClockSync::Yes);
        assert!(boot(&[yes(1, 9), yes(2, 8)]).is_reused);
        assert!(boot(&[yes(2, 8), yes(1, 9)]).is_reused);
        assert!(!boot(&[yes(1, 8), yes(2, 8), yes(3, 9)]).is_reused);
    }

    #[test]
    fn events_of_no_boot_are_not_tied_together() {
        let mut nobodys = event(1, 1, NOW, ClockSync::Yes);
        nobodys.clock.boot_id = Uuid::nil();
        let stored = ByDevice::from([("kiosk-1".to_owned(), vec![nobodys])]);
        assert!(boots(&stored, NOW).is_empty());
    }
}
