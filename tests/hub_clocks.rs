//! When events occurred, as the hub finds it: never further from the truth than it says.

#![cfg(feature = "hub")]
mod support;

use std::collections::BTreeMap;

use edge_outbox::{
    clock::{Clock as _, ClockSync, Stamp, SystemClock, Timestamp},
    hub::SCHEMA_SQL,
};
use serde_json::json;
use support::{
    chained_device::{ChainedDevice, Draft, Sealed},
    hub::{connect, database, intake, lines, messages, register},
    postgres_server::PostgresServer,
    random::Random,
};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn now() -> i64 {
    Timestamp::now().as_micros()
}

/// What the kernel calls set without a word from a time server: 16 s at 500 millionths.
const SET_FOR: i64 = 32_000 * SECOND;

/// A device's clocks, beside the true time.
struct Clocks {
    truth: i64,
    since: i64,
    /// The wall clock less the time since boot.
    offset: i64,
    is_set: bool,
    /// In this true moment a time server was heard last.
    heard: i64,
    /// It is heard all the time while the clock is set: then it runs as the true time does.
    hears: bool,
    /// The kernel does not say whether the clock is set.
    is_silent: bool,
    /// How far it is off where it runs free.
    millionths: i64,
    boot_id: Uuid,
}

impl Clocks {
    /// At the beginning of a boot, in this true moment.
    fn boot(truth: i64) -> Self {
        Self {
            truth,
            since: 0,
            offset: 0,
            is_set: false,
            heard: truth,
            hears: false,
            is_silent: false,
            millionths: 0,
            boot_id: Uuid::new_v4(),
        }
    }

    fn pass(&mut self, us: i64) {
        let runs_free = !(self.is_set && self.hears);
        self.truth += us;
        self.since += us + us / SECOND * if runs_free { self.millionths } else { 0 };
        self.is_set &= !runs_free || self.truth - self.heard <= SET_FOR;
    }

    fn wall(&self) -> i64 {
        self.offset + self.since
    }

    /// Sets the wall clock, this much off the truth.
    fn set(&mut self, off: i64) {
        self.offset = self.truth + off - self.since;
        self.is_set = true;
        self.heard = self.truth;
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            wall: Timestamp::from_micros(self.wall()).unwrap(),
            sync: match (self.is_silent, self.is_set) {
                (true, _) => ClockSync::Unknown,
                (_, true) => ClockSync::Yes,
                (_, false) => ClockSync::No,
            },
            boot_id: self.boot_id,
            boottime_us: self.since as u64,
        }
    }

    fn event(&self, device: &mut ChainedDevice) -> Sealed {
        device.stamp = Some(self.stamp());
        device.event(&Draft::quiz())
    }

    fn synced(&self, device: &mut ChainedDevice) -> Sealed {
        let stamp = self.stamp();
        device.stamp = Some(stamp);
        let payload = json!({
            "boot_id": stamp.boot_id.to_string(),
            "boottime_us": stamp.boottime_us,
            "wall": stamp.wall.to_string(),
        });
        device.ledger("outbox.clock_synced.v1", &payload)
    }
}

/// What the view says of an event.
#[derive(Clone, Debug)]
struct Found {
    at: i64,
    uncertainty: i64,
    how: String,
    received: i64,
}

impl Found {
    fn holds(&self, truth: i64) -> bool {
        (self.at - truth).abs() <= self.uncertainty && self.at <= self.received
    }
}

type Place = (String, Uuid, u64);

/// The analyst's way.
async fn found(server: &PostgresServer) -> BTreeMap<Place, Found> {
    let us = |column: &str| format!("(extract(epoch from {column}) * 1000000)::bigint");
    let question = format!(
        "select device, epoch, seq, {}, {}, occurred_at_found, {} from edge_outbox_hub.events",
        us("occurred_at_corrected"),
        us("occurred_at_uncertainty"),
        us("received_at"),
    );
    let analyst = connect(server, "analyst").await;
    let lines = lines(&analyst, &question).await;
    let found = lines.iter().map(|line| {
        let columns: Vec<&str> = line.split(' ').collect();
        let place = (
            columns[0].to_owned(),
            columns[1].parse().unwrap(),
            columns[2].parse().unwrap(),
        );
        let found = Found {
            at: columns[3].parse().unwrap(),
            uncertainty: columns[4].parse().unwrap(),
            how: columns[5].to_owned(),
            received: columns[6].parse().unwrap(),
        };
        (place, found)
    });
    found.collect()
}

/// What it says of one device's events in its epoch, in their order.
async fn of(server: &PostgresServer, device: &ChainedDevice) -> Vec<Found> {
    let found = found(server).await.into_iter();
    let epoch = *device.epoch.as_uuid();
    found
        .filter(|((name, it, _), _)| name == device.name.as_str() && *it == epoch)
        .map(|(_, found)| found)
        .collect()
}

/// A device whose life of some weeks is made up.
struct Life {
    device: ChainedDevice,
    events: Vec<Sealed>,
    truth: BTreeMap<Place, i64>,
    /// What a program has read off the wall clock, and when that was: it keeps a queue of its own.
    readings: Vec<(i64, i64)>,
    is_silent: bool,
    /// Its boots have no names.
    is_nameless: bool,
    /// Its clock was set to a wrong time for a while.
    is_misled: bool,
}

impl Life {
    fn new(n: u64, random: &mut Random) -> Self {
        let mut life = Self {
            device: ChainedDevice::new(&format!("kiosk-{n}")),
            events: Vec::new(),
            truth: BTreeMap::new(),
            readings: Vec::new(),
            is_silent: n % 8 == 7,
            is_nameless: n % 16 == 5,
            is_misled: false,
        };
        let until = now();
        let mut truth = until - random.between(5, 20) as i64 * DAY;
        let mut wall = truth;
        while truth < until - 2 * DAY {
            let clocks = life.boot(truth, None, wall, random);
            wall = clocks.wall();
            truth = clocks.truth + random.between(10, 960) as i64 * MINUTE;
        }
        // Every other one is at work when its events arrive.
        if n.is_multiple_of(2) {
            life.boot(until - 3 * HOUR, Some(until), wall, random);
        }
        life
    }

    /// A boot that begins in this moment. `wall` is what its clock said when it was last on.
    fn boot(&mut self, began: i64, until: Option<i64>, wall: i64, random: &mut Random) -> Clocks {
        let mut clocks = Clocks {
            is_silent: self.is_silent,
            millionths: random.between(0, 380) as i64 - 190,
            hears: random.between(0, 1) == 0,
            ..Clocks::boot(began)
        };
        if self.is_nameless {
            clocks.boot_id = Uuid::nil();
        }
        clocks.offset = match random.between(0, 3) {
            0 => 0,
            1 => wall,
            _ => began + random.between(0, 20) as i64 * MINUTE - 10 * MINUTE,
        };
        let (mut waits, mut is_wrong, mut was_wrong) = (false, false, false);
        let can_be_set = random.between(0, 9) < 6;
        let actions = random.between(3, 12);
        for _ in 0..actions {
            let most = until.map_or(2 * HOUR, |until| (until - began) / actions as i64);
            clocks.pass(random.between(SECOND as u64, most as u64) as i64);
            self.readings.push((clocks.wall(), clocks.truth));
            match random.between(0, 19) {
                0..=2 if can_be_set => {
                    // Where nothing ties a boot together, a wrong time shows nowhere.
                    is_wrong = random.between(0, 9) == 0 && !self.is_nameless;
                    was_wrong |= is_wrong;
                    self.is_misled |= is_wrong;
                    let off = if is_wrong { 7 * MINUTE } else { SECOND / 2 };
                    clocks.set(random.between(0, 2 * off as u64) as i64 - off);
                }
                3 if !is_wrong => clocks.is_set = false,
                // Hours without an event.
                4 if until.is_none() => clocks.pass(random.between(0, 9) as i64 * HOUR),
                5 if random.between(0, 4) == 0 => {
                    self.device.stamp = Some(clocks.stamp());
                    let start = self.device.new_epoch("recovered", 5);
                    self.keep(start, clocks.truth);
                }
                _ => self.store(&clocks, &mut waits, random),
            }
        }
        if let Some(until) = until {
            clocks.pass(until - clocks.truth);
        }
        if was_wrong {
            clocks.set(0);
            waits = true;
        }
        self.store(&clocks, &mut waits, random);
        clocks
    }

    fn store(&mut self, clocks: &Clocks, waits: &mut bool, random: &mut Random) {
        let is_set = clocks.stamp().sync == ClockSync::Yes;
        if is_set && *waits {
            let synced = clocks.synced(&mut self.device);
            self.keep(synced, clocks.truth);
        }
        *waits = !is_set;
        self.device.stamp = Some(clocks.stamp());
        let mut drafts = vec![Draft::quiz(); random.between(1, 3) as usize];
        let mut truth = vec![clocks.truth; drafts.len()];
        if random.between(0, 2) == 0 && !self.readings.is_empty() {
            let at = random.between(0, self.readings.len() as u64 - 1) as usize;
            let (wall, at) = self.readings[at];
            drafts[0].occurred_at = Some(Timestamp::from_micros(wall).unwrap());
            truth[0] = at;
        }
        let events = self.device.group(&drafts);
        for (event, truth) in events.into_iter().zip(truth) {
            self.keep(event, truth);
        }
    }

    fn keep(&mut self, event: Sealed, truth: i64) {
        let epoch = *self.device.epoch.as_uuid();
        let place = (self.device.name.to_string(), epoch, event.seq);
        self.truth.insert(place, truth);
        self.events.push(event);
    }
}

#[tokio::test]
async fn the_truth_is_always_within_what_is_said_in_whatever_order_events_arrive() {
    let server = database().await;
    let mut random = Random::seeded();
    let lives: Vec<Life> = (0..32).map(|n| Life::new(n, &mut random)).collect();
    let mut truth: BTreeMap<Place, (i64, bool)> = BTreeMap::new();
    let mut all = Vec::new();
    for life in &lives {
        register(&server, &life.device).await;
        all.extend(life.events.iter().cloned());
        let it = life.truth.iter();
        truth.extend(it.map(|(place, at)| (place.clone(), (*at, life.is_misled))));
    }
    random.shuffle(&mut all);
    let mut hubs = [intake(&server).await, intake(&server).await];
    let parts = all.len().div_ceil(4);
    for (part, events) in all.chunks(parts).enumerate() {
        let halves = events.split_at(events.len() / 2);
        let [one, two] = &mut hubs;
        let both = async |hub: &mut edge_outbox::hub::Intake, events: &[Sealed]| {
            for batch in events.chunks(61) {
                hub.take(messages(batch)).await.unwrap();
            }
        };
        tokio::join!(both(one, halves.0), both(two, halves.1));
        let is_last = (part + 1) * parts >= all.len();
        let mut exact: BTreeMap<String, (u32, u32, u32)> = BTreeMap::new();
        for (place, found) in found(&server).await {
            let (truth, is_misled) = truth[&place];
            // That a clock was set to a wrong time shows once it was corrected, and not before.
            if is_last || !is_misled {
                assert!(found.holds(truth), "{place:?} in truth {truth}: {found:?}");
            }
            let count = exact.entry(found.how).or_default();
            count.0 += 1;
            count.1 += u32::from((found.at - truth).abs() <= SECOND);
            count.2 += u32::from((found.at - truth).abs() <= MINUTE);
        }
        println!(
            "after {} events, how: all, within 1 s, within 1 min",
            events.len() * (part + 1)
        );
        for (how, (all, second, minute)) in &exact {
            println!("  {how:10} {all:5} {second:5} {minute:5}");
        }
        if is_last {
            assert_eq!(
                exact.values().map(|count| count.0).sum::<u32>() as usize,
                all.len()
            );
            for how in ["clock", "synced", "neighbours", "arrival", "program"] {
                assert!(exact[how].0 >= 20, "{how}: {exact:?}");
            }
            let (all, second, minute) = exact["synced"];
            assert!(
                10 * second >= 3 * all && 10 * minute >= 8 * all,
                "{exact:?}"
            );
        }
    }
}

/// Hours later, and first: it corrects what is there, and what is not there yet.
#[tokio::test]
async fn events_of_a_clock_that_was_not_set_are_corrected_when_it_is_whichever_comes_first() {
    let server = database().await;
    let mut random = Random::seeded();
    for late in [true, false] {
        let mut device = ChainedDevice::new(if late { "late" } else { "early" });
        register(&server, &device).await;
        let mut clocks = Clocks::boot(now() - 5 * HOUR);
        clocks.millionths = random.between(0, 200) as i64 - 100;
        let mut truth = Vec::new();
        device.stamp = Some(clocks.stamp());
        let mut events = vec![device.start()];
        truth.push(clocks.truth);
        for _ in 0..4 {
            clocks.pass(10 * MINUTE);
            truth.push(clocks.truth);
            events.push(clocks.event(&mut device));
        }
        clocks.pass(3 * HOUR);
        clocks.set(SECOND / 5);
        events.push(clocks.synced(&mut device));
        truth.push(clocks.truth);
        let mut hub = intake(&server).await;
        let (first, second) = if late {
            events.split_at(5)
        } else {
            (&events[5..], &events[..5])
        };
        hub.take(messages(first)).await.unwrap();
        if late {
            let before = of(&server, &device).await;
            assert_eq!(before[1].how, "arrival");
            assert!(before[1].holds(truth[1]), "{before:?}");
        }
        let mut other = intake(&server).await;
        other.take(messages(second)).await.unwrap();
        let after = of(&server, &device).await;
        for (n, found) in after.iter().enumerate().skip(1) {
            assert!(found.holds(truth[n]), "{n}: {found:?}");
            assert_eq!(found.how, if n < 5 { "synced" } else { "clock" });
            assert!(found.uncertainty < 12 * SECOND, "{n}: {found:?}");
        }
    }
    // Run again, the script keeps what it found; so does a month of its own.
    let before = found(&server).await;
    server.execute(SCHEMA_SQL).await;
    let month = "alter table edge_outbox_hub.event_rows detach partition edge_outbox_hub.event_rows_default";
    server.execute(month).await;
    assert_eq!(format!("{before:?}"), format!("{:?}", found(&server).await));
}

#[tokio::test]
async fn a_clock_that_is_set_twice_to_different_times_leaves_both_possible() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - 8 * HOUR);
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start()];
    let mut truth = vec![0];
    for off in [20 * MINUTE, 0] {
        clocks.pass(HOUR);
        events.push(clocks.event(&mut device));
        truth.push(clocks.truth);
        clocks.pass(HOUR);
        clocks.set(off);
        events.push(clocks.synced(&mut device));
        truth.push(clocks.truth);
        clocks.pass(HOUR);
        clocks.is_set = off == 0;
    }
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    let found = of(&server, &device).await;
    for (n, found) in found.iter().enumerate().skip(1) {
        assert!(found.holds(truth[n]), "{n}: {found:?}");
        let half = found.uncertainty / MINUTE;
        assert!((10..=20).contains(&half), "{n}: {found:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_have_occurred_after_it_arrived_whatever_a_device_says() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - HOUR);
    clocks.pass(HOUR);
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start(), clocks.event(&mut device)];
    clocks.set(90 * MINUTE);
    events.push(clocks.synced(&mut device));
    // Numbers as large as an envelope may hold.
    let far = Timestamp::from_micros(253_370_764_799_999_999).unwrap();
    for boottime_us in [0, (1 << 53) - 1] {
        for sync in [ClockSync::Yes, ClockSync::No] {
            device.stamp = Some(Stamp {
                wall: far,
                sync,
                boot_id: Uuid::new_v4(),
                boottime_us,
            });
            let mut draft = Draft::quiz();
            events.push(device.event(&draft));
            draft.occurred_at = Some(Timestamp::from_micros(-62_135_596_800_000_000).unwrap());
            events.push(device.event(&draft));
        }
    }
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    for (n, found) in of(&server, &device).await.iter().enumerate().skip(1) {
        assert!(found.at <= found.received, "{n}: {found:?}");
        assert!(found.holds(now() - MINUTE), "{n}: {found:?}");
        // Every other one's time is a program's.
        let is_programs = n >= 4 && n % 2 == 0;
        let how = if is_programs { "program" } else { "arrival" };
        assert_eq!(found.how, how, "{n}");
    }
}

#[tokio::test]
async fn between_two_boots_whose_clock_was_set_a_third_is_bounded_by_both() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let began = now() - 3 * DAY;
    let mut events = vec![device.start()];
    let mut boot = |began: i64, is_set: bool, events: &mut Vec<Sealed>| {
        let mut clocks = Clocks::boot(began);
        clocks.pass(MINUTE);
        if is_set {
            clocks.set(0);
        }
        events.push(clocks.event(&mut device));
        clocks.pass(8 * HOUR);
        events.push(clocks.event(&mut device));
    };
    boot(began, true, &mut events);
    boot(began + DAY, false, &mut events);
    boot(began + 2 * DAY, true, &mut events);
    let mut hub = intake(&server).await;
    events.reverse();
    hub.take(messages(&events[..3])).await.unwrap();
    hub.take(messages(&events[3..])).await.unwrap();
    let found = of(&server, &device).await;
    // From the end of the first to the beginning of the third, less what the second lasted.
    for (n, truth) in [
        (3, began + DAY + MINUTE),
        (4, began + DAY + MINUTE + 8 * HOUR),
    ] {
        assert_eq!(found[n].how, "neighbours");
        assert!(found[n].holds(truth), "{n}: {:?}", found[n]);
        let uncertainty = (DAY - 8 * HOUR - MINUTE + DAY - 8 * HOUR - MINUTE) / 2;
        let off = (found[n].uncertainty - uncertainty).abs();
        assert!(off < 30 * SECOND, "{n}: {off} {:?}", found[n]);
    }
    // Where two may have written the chain, its order says nothing.
    let forked = "insert into edge_outbox_hub.tampering (device, epoch, seq, code, digest) \
                  select device, epoch, 1, 'fork', '' from edge_outbox_hub.epochs";
    server.execute(forked).await;
    assert_eq!(of(&server, &device).await[3].how, "arrival");
}

/// Its clock was set to a wrong time in one epoch, and right in another.
#[tokio::test]
async fn what_a_boot_says_in_another_epoch_bounds_its_neighbours_as_well() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let mut before = ChainedDevice::new("before");
    register(&server, &before).await;
    let mut clocks = Clocks::boot(now() - 3 * HOUR);
    clocks.pass(10 * MINUTE);
    clocks.set(0);
    before.stamp = Some(clocks.stamp());
    let mut events = vec![before.start()];
    clocks.pass(10 * MINUTE);
    clocks.set(7 * MINUTE);
    before.stamp = Some(clocks.stamp());
    events.push(before.new_epoch("recovered", 0));
    let mut unset = Clocks::boot(clocks.truth + MINUTE);
    unset.pass(MINUTE);
    events.push(unset.event(&mut before));
    hub.take(messages(&events)).await.unwrap();
    let found = of(&server, &before).await;
    assert!(found[1].holds(unset.truth), "{}, {found:?}", unset.truth);

    let mut after = ChainedDevice::new("after");
    register(&server, &after).await;
    let mut unset = Clocks::boot(now() - HOUR);
    unset.pass(MINUTE);
    after.stamp = Some(unset.stamp());
    let mut events = vec![after.start(), unset.event(&mut after)];
    let mut clocks = Clocks::boot(unset.truth + MINUTE);
    clocks.pass(MINUTE);
    clocks.set(-7 * MINUTE);
    events.push(clocks.event(&mut after));
    let first = after.clone();
    clocks.pass(10 * MINUTE);
    clocks.set(0);
    after.stamp = Some(clocks.stamp());
    events.push(after.new_epoch("recovered", 0));
    hub.take(messages(&events)).await.unwrap();
    let found = of(&server, &first).await;
    assert!(found[1].holds(unset.truth), "{}, {found:?}", unset.truth);
}

#[tokio::test]
async fn a_backlog_of_a_clock_that_is_never_set_is_timed_by_what_arrives_at_once() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - 5 * HOUR);
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start()];
    for _ in 0..5 {
        clocks.pass(50 * MINUTE);
        events.push(clocks.event(&mut device));
    }
    let truth = clocks.truth;
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    // It is back on the network, and what it stores arrives within the second.
    clocks.pass(now() - truth);
    let prompt = clocks.event(&mut device);
    hub.take(messages([&prompt])).await.unwrap();
    let found = of(&server, &device).await;
    assert_eq!(found[5].how, "arrival");
    assert!(found[5].holds(truth), "{:?}", found[5]);
    assert!((found[5].at - truth).abs() < 10 * SECOND, "{:?}", found[5]);
}

/// As most programs do, for the case that they have to repeat it.
#[tokio::test]
async fn a_time_that_a_program_reads_off_the_clock_is_put_right_with_it_and_not_vouched_for() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - 2 * HOUR);
    // Three hours behind, as it was when the board was last on.
    clocks.offset = clocks.truth - 3 * HOUR;
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start()];
    clocks.pass(HOUR);
    for ago in [SECOND / 50, 10 * MINUTE, DAY] {
        let mut draft = Draft::quiz();
        draft.occurred_at = Some(Timestamp::from_micros(clocks.wall() - ago).unwrap());
        device.stamp = Some(clocks.stamp());
        events.push(device.event(&draft));
    }
    let (stored, wall) = (clocks.truth, clocks.wall());
    clocks.pass(MINUTE);
    clocks.set(0);
    events.push(clocks.synced(&mut device));
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    let found = of(&server, &device).await;
    // A day before, this boot had not begun.
    let likely = [stored - SECOND / 50, stored - 10 * MINUTE, wall - DAY];
    for (found, likely) in found[1..4].iter().zip(likely) {
        assert_eq!(found.how, "program", "{found:?}");
        assert!((found.at - likely).abs() < SECOND, "{likely}: {found:?}");
        assert!(found.holds(stored - 30 * DAY), "{found:?}");
    }
}

/// The database's clock was not set when this arrived.
#[tokio::test]
async fn an_arrival_before_there_was_an_edge_outbox_says_nothing() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - 2 * HOUR);
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start()];
    clocks.pass(HOUR);
    events.push(clocks.event(&mut device));
    let truth = clocks.truth;
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    let then = "update edge_outbox_hub.event_rows set received_at = '1970-01-02 00:00Z'; \
                update edge_outbox_hub.boots set arrived_us = null, arrived_latest = null";
    server.execute(then).await;
    let holds = |found: &Found| (found.at - truth).abs() <= found.uncertainty;
    let early = of(&server, &device).await;
    assert!(holds(&early[1]), "{early:?}");
    assert_eq!(early[1].how, "arrival");
    // What arrives afterwards counts.
    clocks.pass(30 * MINUTE);
    clocks.set(0);
    hub.take(messages([&clocks.synced(&mut device)]))
        .await
        .unwrap();
    let late = of(&server, &device).await;
    assert!(holds(&late[1]), "{late:?}");
    assert_eq!(late[1].how, "synced");
    assert!(late[1].uncertainty < 10 * SECOND, "{late:?}");
}

#[tokio::test]
async fn a_boot_whose_time_goes_back_is_several_and_ties_nothing_together() {
    let server = database().await;
    for batches in [1, 2] {
        let mut device = ChainedDevice::new(&format!("kiosk-{batches}"));
        register(&server, &device).await;
        let mut clocks = Clocks::boot(now() - 2 * DAY);
        clocks.pass(HOUR);
        device.stamp = Some(clocks.stamp());
        let mut events = vec![device.start(), clocks.event(&mut device)];
        let truth = clocks.truth;
        let mut again = Clocks::boot(now() - HOUR);
        again.boot_id = clocks.boot_id;
        again.pass(MINUTE);
        again.set(0);
        events.push(again.synced(&mut device));
        let mut hub = intake(&server).await;
        for batch in events.chunks(events.len().div_ceil(batches)) {
            hub.take(messages(batch)).await.unwrap();
        }
        let found = of(&server, &device).await;
        assert_eq!(found[1].how, "arrival", "{batches}: {found:?}");
        assert!(found[1].holds(truth), "{batches}: {found:?}");
        assert_eq!(found[2].how, "clock");
    }
}

/// What is found stands on nothing that is personal.
#[tokio::test]
async fn who_is_erased_leaves_the_times_as_they_were() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut clocks = Clocks::boot(now() - HOUR);
    device.stamp = Some(clocks.stamp());
    let mut events = vec![device.start()];
    clocks.pass(MINUTE);
    device.stamp = Some(clocks.stamp());
    events.push(device.event(&Draft::about("ada")));
    clocks.set(0);
    events.push(clocks.synced(&mut device));
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    let before = format!("{:?}", found(&server).await);
    assert_eq!(hub.erase("ada", "a letter").await.unwrap(), 1);
    assert_eq!(before, format!("{:?}", found(&server).await));
}

/// A clock that is set costs nothing but its boot's row, now and then.
#[tokio::test]
async fn a_boot_whose_clock_is_set_is_written_once_and_then_seldom() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut hub = intake(&server).await;
    hub.take(messages([&device.start()])).await.unwrap();
    let clock = SystemClock::new();
    let version = "select xmin from edge_outbox_hub.boots where boot_id <> '00000000-0000-0000-0000-000000000001'";
    let client = server.connect().await;
    let mut versions = std::collections::BTreeSet::new();
    let real = clock.stamp();
    for n in 0..20 {
        device.stamp = Some(Stamp {
            wall: Timestamp::from_micros(real.wall.as_micros() - DAY + n * MINUTE).unwrap(),
            sync: ClockSync::Yes,
            boottime_us: (n * MINUTE) as u64,
            ..real
        });
        let event = device.event(&Draft::quiz());
        hub.take(messages([&event])).await.unwrap();
        versions.extend(lines(&client, version).await);
    }
    assert_eq!(versions.len(), 2, "{versions:?}");
}
