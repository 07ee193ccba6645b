//! What the world was told, and what therefore has to be true of a journal at any later moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;
use uuid::Uuid;

use super::{far_side::FarSide, hub::Hub, tally::Tally};
use crate::{
    envelope::{Digest, EPOCH_STARTED, Epoch},
    journal::{
        DeadLetter, SinkName,
        tests::scribe::{Draft, ERASE_REQUEST, Entry, Scribe, Seen, person_of},
    },
    outbox::RetryState,
    seq::{Seq, SeqRange},
};

/// What every payload begins with; the number of its event follows.
pub(super) const MARK: &str = "\"number\":";

/// One request of the program's.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) drafts: Vec<Draft>,
    /// The program's own row, where it is a transaction.
    pub(super) key: Option<u64>,
}

/// That somebody is to be erased.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) person: Uuid,
    pub(super) upto: Seq,
    /// Not before every required sink has what it is about.
    pub(super) once_delivered: bool,
}

impl Wish {
    /// What a request appended as this event asks for: what came before it at once, and the request
    /// itself once everybody has heard of it.
    fn of_request(number: u64, seq: Seq) -> [Self; 2] {
        [(seq.prev(), false), (seq, true)].map(|(upto, once_delivered)| Self {
            person: person_of(number),
            upto,
            once_delivered,
        })
    }

    const fn key(&self) -> (Uuid, Seq) {
        (self.person, self.upto)
    }

    fn covers(&self, number: u64, seq: Seq) -> bool {
        self.person == person_of(number) && seq <= self.upto
    }
}

/// An event that is durable.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) epoch: Epoch,
    pub(super) digest: Digest,
}

/// What the world knows of a sink's place in the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Whether its registration was answered. Before, it may be there or not.
    pub(super) is_sure: bool,
    /// Forgetting it was begun, and not answered.
    pub(super) may_be_gone: bool,
    pub(super) required: bool,
    /// Durable and seen so: neither goes back.
    pub(super) acked: Seq,
    pub(super) claimed: Seq,
    /// Handed to the network, in whatever process.
    pub(super) handed: BTreeMap<Seq, Digest>,
    /// Where it began: nothing up to here is owed.
    pub(super) begins_after: Seq,
}

/// What the ledger says of losses.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    skipped: Vec<(String, SeqRange)>,
    /// What is a dead letter.
    rejected: BTreeMap<(String, Seq), Digest>,
    /// What was one, and is given up.
    discarded: BTreeMap<(String, Seq), Digest>,
    /// What was one, and was taken after all.
    delivered: BTreeMap<(String, Seq), Digest>,
    /// Given up before every required sink had it.
    dropped: Vec<SeqRange>,
    /// Events whose personal part is gone.
    erased: BTreeMap<Seq, Digest>,
}

impl Ledger {
    fn take(&mut self, entry: &Entry) {
        let Ok(payload) = serde_json::from_str::<Value>(&entry.payload) else {
            panic!("{}: {}", entry.seq, entry.payload);
        };
        self.take_said(&entry.event_type, &payload);
    }

    fn take_said(&mut self, event_type: &str, payload: &Value) {
        let sink = || payload["sink"].as_str().unwrap_or_default().to_owned();
        let seq = || Seq::new(payload["seq"].as_u64().unwrap());
        let digest = |of: &Value| of["digest"].as_str().unwrap().parse().unwrap();
        let range = |of: &Value| serde_json::from_value(of["range"].clone()).unwrap();
        let members = |name: &str| payload[name].as_array().cloned().unwrap_or_default();
        match event_type {
            "outbox.sink_skipped.v1" => self.skipped.push((sink(), range(payload))),
            "outbox.event_rejected.v1" => {
                self.rejected.insert((sink(), seq()), digest(payload));
            }
            "outbox.dead_letter_delivered.v1" => {
                let letter = (sink(), seq());
                // One that is discarded while it is on its way may arrive all the same.
                let rejected = self.rejected.remove(&letter);
                let rejected = rejected.or_else(|| self.discarded.remove(&letter));
                let rejected = rejected.expect("what is delivered late was a dead letter");
                if !payload["digest"].is_null() {
                    assert_eq!(digest(payload), rejected, "{letter:?} is another event");
                }
                self.delivered.insert(letter, rejected);
            }
            "outbox.dead_letters_discarded.v1" => {
                for seq in members("seqs") {
                    let letter = (sink(), Seq::new(seq.as_u64().unwrap()));
                    let Some(known) = self.rejected.remove(&letter) else {
                        panic!("{letter:?} is no dead letter, and discarded");
                    };
                    self.discarded.insert(letter, known);
                }
            }
            "outbox.events_dropped.v1" => {
                self.dropped.extend(members("ranges").iter().map(range));
            }
            "outbox.events_erased.v1" => {
                for event in members("events") {
                    let seq = Seq::new(event["seq"].as_u64().unwrap());
                    self.erased.insert(seq, digest(&event));
                }
            }
            // What comes back under the name is a new sink.
            "outbox.sink_forgotten.v1" => {
                self.skipped.retain(|(name, _)| *name != sink());
                self.rejected.retain(|(name, _), _| *name != sink());
                self.discarded.retain(|(name, _), _| *name != sink());
                self.delivered.retain(|(name, _), _| *name != sink());
            }
            _ => {}
        }
    }

    /// Whether it says that this sink was moved past events that come after this one.
    fn skips_beyond(&self, sink: &SinkName, seq: Seq) -> bool {
        let mut skipped = self.skipped.iter();
        skipped.any(|(name, range)| name == sink.as_str() && range.last() > seq)
    }

    /// Whether it says that this sink will not get the event.
    pub(super) fn excuses(&self, sink: &SinkName, seq: Seq) -> bool {
        let sink = sink.as_str();
        let letter = (sink.to_owned(), seq);
        self.rejected.contains_key(&letter)
            || self.discarded.contains_key(&letter)
            || self.is_dropped(seq)
            || self
                .skipped
                .iter()
                .any(|(name, range)| name == sink && range.contains(seq))
    }
}

impl Ledger {
    /// Whether this was a dead letter of the sink's and is given up.
    pub(super) fn is_discarded(&self, sink: &SinkName, seq: Seq) -> bool {
        self.discarded
            .contains_key(&(sink.as_str().to_owned(), seq))
    }

    /// Whether a hub need not have this from the sink: the sink will not bring it, or it was a dead
    /// letter, and was taken after all. The hub had it declared lost by then, and asks for it no more.
    fn releases(&self, sink: &SinkName, seq: Seq) -> bool {
        let letter = (sink.as_str().to_owned(), seq);
        self.excuses(sink, seq) || self.delivered.contains_key(&letter)
    }

    /// What it came to.
    pub(super) fn count(&self, tally: &mut Tally) {
        let dropped: BTreeSet<u64> = self
            .dropped
            .iter()
            .flat_map(|range| range.first().get()..=range.last().get())
            .collect();
        tally.dropped = dropped.len() as u64;
        tally.delivered_late = self.delivered.len() as u64;
        tally.discarded = self.discarded.len() as u64;
        tally.erased = self.erased.len() as u64;
    }

    /// Whether it was given up for want of room.
    fn is_dropped(&self, seq: Seq) -> bool {
        self.dropped.iter().any(|range| range.contains(seq))
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Truth {
    /// How far a claim may run ahead of what is acked.
    window: u64,
    /// Whether a request to erase somebody is fulfilled.
    erases_on_request: bool,
    pub(super) epoch: Option<Epoch>,
    /// The process that begins signs with another key than the journal's: that begins an epoch.
    pub(super) has_other_key: bool,
    pub(super) tail: Seq,
    pub(super) first_held: Seq,
    /// Everything durable, from the first event on.
    pub(super) events: BTreeMap<Seq, Known>,
    /// Every program's event among them: its seq and its payload.
    pub(super) numbers: BTreeMap<u64, (Seq, String)>,
    pub(super) tally: BTreeMap<u64, u64>,
    /// Requests without an answer, or whose answer is that nobody knows.
    pub(super) open: Vec<Batch>,
    pub(super) places: BTreeMap<SinkName, Place>,
    pub(super) ledger: Ledger,
    /// Whether each dead letter is to be sent again.
    pub(super) letters: BTreeMap<(SinkName, Seq), RetryState>,
    /// Whom somebody asked to be erased.
    pub(super) wishes: Vec<Wish>,
    /// Those of them that are durable for certain, and not known to be fulfilled.
    pub(super) promised: BTreeSet<(Uuid, Seq)>,
    /// Who was erased to the last free page, and up to which seq.
    pub(super) gone: Vec<(Uuid, Seq)>,
    /// Dead letters that were sent once more.
    pub(super) sent_late: u64,
    /// Events that were sent once more because a hub missed them.
    pub(super) sent_again: u64,
    /// Of each hub, the life whose word counts.
    pub(super) lives: BTreeMap<SinkName, u64>,
    /// Which digest left under an epoch and seq.
    left: HashMap<(Epoch, Seq), Digest>,
}

impl Truth {
    pub(super) fn new(window: u64, erases_on_request: bool) -> Self {
        Self {
            window,
            erases_on_request,
            ..Self::default()
        }
    }

    /// An event leaves the device.
    pub(super) fn leaves(&mut self, epoch: Epoch, seq: Seq, digest: Digest) {
        let before = *self.left.entry((epoch, seq)).or_insert(digest);
        assert_eq!(before, digest, "two events left under {seq} of one epoch");
    }

    /// Holds what a journal says of itself against what was told.
    pub(super) fn check(
        &self,
        scribe: &Scribe,
        seen: &Seen,
        far_sides: &BTreeMap<SinkName, FarSide>,
    ) {
        if let Some(epoch) = self.epoch {
            assert_eq!(
                seen.epoch != epoch,
                self.has_other_key,
                "an epoch begins where, and only where, the key is another"
            );
        }
        assert!(
            seen.tail >= self.tail,
            "{} was durable, and the end is {}",
            self.tail,
            seen.tail
        );
        assert!(
            seen.first_held >= self.first_held,
            "what was trimmed came back"
        );
        self.check_chain(seen);
        let ledger = self.check_new(seen);
        self.check_content(seen, &ledger);
        self.check_wishes(seen);
        self.check_erased(seen, &ledger);
        self.check_given_up(seen, &ledger);
        for (number, (seq, _)) in &self.numbers {
            assert_eq!(
                scribe.find(*number),
                Some(*seq),
                "the id of event {number} at {seq}"
            );
        }
        for (key, events) in &self.tally {
            assert_eq!(
                seen.tally.get(key),
                Some(events),
                "the row of transaction {key}"
            );
        }
        self.check_cursors(seen, &ledger, far_sides);
        self.check_hubs(seen, &ledger, far_sides);
        self.check_dead_letters(seen, &ledger);
    }

    /// Without a hole, each event after the one before, and what was durable as it was.
    fn check_chain(&self, seen: &Seen) {
        let mut expected = seen.first_held;
        let mut prev = None;
        for entry in &seen.entries {
            assert_eq!(entry.seq, expected, "a hole");
            let before = expected.prev();
            let digest = prev.or_else(|| self.events.get(&before).map(|known| known.digest));
            if entry.event_type == EPOCH_STARTED {
                assert_eq!(entry.prev, Digest::ZERO);
            } else if let Some(digest) = digest {
                assert_eq!(entry.prev, digest, "{expected} does not follow {before}");
            }
            prev = Some(entry.digest);
            if let Some(known) = self.events.get(&entry.seq) {
                assert_eq!(
                    known.digest, entry.digest,
                    "{expected} was durable, and is another"
                );
                assert_eq!(known.epoch, entry.epoch);
            }
            if let Some(digest) = self.left.get(&(entry.epoch, entry.seq)) {
                assert_eq!(*digest, entry.digest, "another event left as {expected}");
            }
            expected = expected.next();
        }
        assert_eq!(expected, seen.tail.next(), "the end is not held");
    }

    /// What is there beyond what was known: whole requests, each once. Gives the ledger with it.
    fn check_new(&self, seen: &Seen) -> Ledger {
        let mut ledger = self.ledger.clone();
        let mut found: BTreeMap<u64, &Entry> = BTreeMap::new();
        for entry in seen.entries.iter().filter(|entry| entry.seq > self.tail) {
            match entry.number {
                Some(number) => {
                    assert!(
                        !self.numbers.contains_key(&number),
                        "event {number} is there twice"
                    );
                    assert!(
                        found.insert(number, entry).is_none(),
                        "event {number} is there twice"
                    );
                }
                None => ledger.take(entry),
            }
        }
        for batch in &self.open {
            let is_new = |draft: &&Draft| !self.numbers.contains_key(&draft.number);
            let new: Vec<&Draft> = batch.drafts.iter().filter(is_new).collect();
            let there = new
                .iter()
                .filter(|draft| found.contains_key(&draft.number))
                .count();
            assert!(
                there == 0 || there == new.len(),
                "half of {batch:?} is there: {there}"
            );
            if let Some(key) = batch.key {
                let row = seen.tally.contains_key(&key);
                assert_eq!(row, there > 0, "a transaction is half there: {batch:?}");
            }
        }
        for (number, entry) in found {
            let draft = self
                .draft(number)
                .unwrap_or_else(|| panic!("nobody appended {number}"));
            assert_eq!(draft.payload, entry.payload, "event {number} was altered");
        }
        for key in seen
            .tally
            .keys()
            .filter(|key| !self.tally.contains_key(key))
        {
            let open = self.open.iter().any(|batch| batch.key == Some(*key));
            assert!(open, "transaction {key} was rolled back and left a row");
        }
        ledger
    }

    /// What is held of a program's event is what was acknowledged, or was erased because somebody
    /// asked for it; and the ledger names what was erased, and nothing else.
    fn check_content(&self, seen: &Seen, ledger: &Ledger) {
        for entry in seen.entries.iter().filter(|entry| entry.seq <= self.tail) {
            let (seq, said) = (entry.seq, ledger.erased.get(&entry.seq));
            let Some(number) = entry.number else {
                assert!(
                    !entry.is_erased && said.is_none(),
                    "the ledger is erased at {seq}"
                );
                continue;
            };
            if entry.is_erased {
                assert_eq!(
                    said,
                    Some(&entry.digest),
                    "{seq} is erased, and nothing says so"
                );
                assert!(self.is_unwanted(number, seq), "nobody asked to erase {seq}");
            } else {
                assert_eq!(said, None, "{seq} is said to be erased");
                let acknowledged = &self.numbers[&number].1;
                assert_eq!(*acknowledged, entry.payload, "{seq} was altered");
            }
        }
    }

    /// Whether somebody asked for this event to be erased.
    pub(super) fn is_unwanted(&self, number: u64, seq: Seq) -> bool {
        self.wishes.iter().any(|wish| wish.covers(number, seq))
    }

    /// Whether somebody asked for this person to be erased up to this seq.
    pub(super) fn is_asked(&self, wish: (Uuid, Seq)) -> bool {
        self.wishes.iter().any(|asked| asked.key() == wish)
    }

    /// What the events that were not known before ask for.
    fn new_wishes(&self, seen: &Seen) -> Vec<Wish> {
        let is_request = |entry: &&Arc<Entry>| entry.event_type == ERASE_REQUEST;
        let new = seen.entries.iter().filter(|entry| entry.seq > self.tail);
        let requests = new.filter(|_| self.erases_on_request).filter(is_request);
        requests
            .filter_map(|entry| Some(Wish::of_request(entry.number?, entry.seq)))
            .flatten()
            .collect()
    }

    /// A request and what it asks for are durable together, nobody else is to be erased, and where
    /// nobody is any more, somebody was.
    fn check_wishes(&self, seen: &Seen) {
        let new = self.new_wishes(seen);
        for wish in &new {
            let is_there = seen.wishes.contains(&wish.key());
            assert!(is_there, "{wish:?} was appended, and nothing comes of it");
        }
        for wish in &seen.wishes {
            let mut asked = self.wishes.iter().chain(&new);
            assert!(asked.any(|it| it.key() == *wish), "nobody asked: {wish:?}");
        }
        for (person, upto) in self.promised.difference(&seen.wishes) {
            let theirs = |entry: &&Arc<Entry>| {
                entry.seq <= *upto && entry.number.map(person_of) == Some(*person)
            };
            for entry in seen.entries.iter().filter(theirs) {
                assert!(
                    entry.is_erased,
                    "{} is held, and is no longer to be erased",
                    entry.seq
                );
            }
        }
    }

    /// A request was not erased before every required sink had it.
    fn check_erased(&self, seen: &Seen, ledger: &Ledger) {
        let required = seen.cursors.values().filter(|cursor| cursor.required);
        let delivered = required.map(|cursor| cursor.confirmed).min();
        let is_due = |wish: &Wish| {
            !wish.once_delivered
                || delivered.is_some_and(|delivered| wish.upto <= delivered)
                || wish.upto < seen.first_held
        };
        for entry in &seen.entries {
            let is_new = ledger.erased.contains_key(&entry.seq)
                && !self.ledger.erased.contains_key(&entry.seq);
            if let Some(number) = entry.number.filter(|_| is_new) {
                let mut wishes = self.wishes.iter();
                assert!(
                    wishes.any(|wish| wish.covers(number, entry.seq) && is_due(wish)),
                    "{} is erased, and not everybody has heard of it",
                    entry.seq
                );
            }
        }
    }

    /// Takes over that whoever is no longer to be erased was; gives how many that are.
    pub(super) fn through(&mut self, seen: &Seen) -> u64 {
        let left = self.promised.len();
        let through: Vec<_> = self.promised.difference(&seen.wishes).copied().collect();
        self.promised.retain(|wish| seen.wishes.contains(wish));
        self.gone.extend(through);
        (left - self.promised.len()) as u64
    }

    /// Searches the file for what is to be gone from it.
    pub(super) fn check_gone(&self, files: &[Vec<u8>]) {
        if self.gone.is_empty() {
            return;
        }
        for bytes in files {
            for (at, _) in bytes
                .windows(MARK.len())
                .enumerate()
                .filter(|(_, window)| *window == MARK.as_bytes())
            {
                let after = bytes[at + MARK.len()..].split(|byte| *byte == b',');
                let number = after.map(str::from_utf8).next();
                let number = number.and_then(Result::ok).and_then(|it| it.parse().ok());
                let Some((number, seq)) = number.and_then(|number: u64| {
                    let (seq, _) = self.numbers.get(&number)?;
                    Some((number, seq))
                }) else {
                    continue;
                };
                let mut gone = self.gone.iter();
                let is_gone =
                    gone.any(|(person, upto)| *person == person_of(number) && seq <= upto);
                assert!(!is_gone, "{seq} was erased, and its payload is in the file");
            }
        }
    }

    /// What is gone and was not for a sink that has confirmed it is named by the ledger.
    fn check_given_up(&self, seen: &Seen, ledger: &Ledger) {
        if seen.cursors.values().any(|cursor| cursor.required) {
            return;
        }
        let mut seq = self.first_held.max(Seq::FIRST);
        while seq < seen.first_held {
            assert!(ledger.is_dropped(seq), "{seq} is trimmed for nobody");
            seq = seq.next();
        }
    }

    fn draft(&self, number: u64) -> Option<&Draft> {
        let mut drafts = self.open.iter().flat_map(|batch| &batch.drafts);
        drafts.find(|draft| draft.number == number)
    }

    fn check_cursors(&self, seen: &Seen, ledger: &Ledger, far_sides: &BTreeMap<SinkName, FarSide>) {
        for (name, place) in &self.places {
            let Some(cursor) = seen.cursors.get(name) else {
                assert!(
                    !place.is_sure || place.may_be_gone,
                    "the place of {name} is gone"
                );
                continue;
            };
            assert!(
                cursor.confirmed <= cursor.acked
                    && cursor.acked <= cursor.claimed
                    && cursor.claimed <= seen.tail,
                "{name}: {cursor:?}, and the end is {}",
                seen.tail
            );
            assert!(
                cursor.acked >= place.acked,
                "{name} was at {}: {cursor:?}",
                place.acked
            );
            assert!(
                cursor.claimed >= place.claimed,
                "{name} claimed {}",
                place.claimed
            );
            assert!(
                cursor.claimed <= cursor.acked.plus(self.window),
                "{name} claims more than its window: {cursor:?}"
            );
            if let Some((last, _)) = place.handed.last_key_value() {
                assert!(
                    cursor.claimed >= *last,
                    "{last} left for {name}, which claims no more"
                );
            }
            // Trimming waits for it, so the ledger has nothing to excuse; but a hub that lost what
            // it had confirmed is told that it is trimmed.
            let has_hub = far_sides[name].hub.is_some();
            let may_be_moved = !place.is_sure || !place.required || has_hub;
            assert!(
                may_be_moved || !ledger.skips_beyond(name, place.begins_after),
                "{name} is required, and was moved past events"
            );
            let far_side = &far_sides[name];
            let mut seq = place.acked.next();
            while seq <= cursor.acked {
                self.check_settled(name, seq, ledger, far_side, seen);
                seq = seq.next();
            }
        }
        for name in seen.cursors.keys() {
            assert!(
                self.places.contains_key(name),
                "a sink that nobody knows: {name}"
            );
        }
        // What is no longer held has been confirmed by every sink that it was kept for, or the
        // sink was moved past it; then `check_settled` finds the ledger's word for that.
        for (name, cursor) in seen.cursors.iter().filter(|(_, cursor)| cursor.required) {
            assert!(
                seen.first_held <= cursor.confirmed.next(),
                "trimmed before {name} had it"
            );
        }
    }

    /// What a hub's receipts confirm is what they cover, in the life that is believed; and what is
    /// trimmed is, or was when it was trimmed.
    fn check_hubs(&self, seen: &Seen, ledger: &Ledger, far_sides: &BTreeMap<SinkName, FarSide>) {
        for (name, place) in &self.places {
            let hub = far_sides[name].hub.as_ref();
            let (Some(hub), Some(cursor)) = (hub, seen.cursors.get(name)) else {
                continue;
            };
            let life = seen.lives.get(name).copied();
            let lives = [life, self.lives.get(name).copied()];
            let covers = |life: Option<u64>, epoch, seq| {
                life.is_some_and(|life| seq <= hub.covered(life, epoch))
            };
            let confirmed = seen
                .entries
                .iter()
                .take_while(|it| it.seq <= cursor.confirmed);
            for entry in confirmed.filter(|it| it.seq > place.begins_after) {
                assert!(
                    covers(life, entry.epoch, entry.seq) || ledger.releases(name, entry.seq),
                    "{} is confirmed at {name}, and no receipt of life {life:x?} covers it",
                    entry.seq
                );
            }
            let from = self.first_held.max(place.begins_after.next());
            let is_owed = place.is_sure && place.required && from < seen.first_held;
            for (seq, known) in self.events.range(from..).filter(|_| is_owed) {
                if *seq >= seen.first_held {
                    break;
                }
                let is_covered = lives.iter().any(|life| covers(*life, known.epoch, *seq));
                assert!(
                    is_covered || ledger.releases(name, *seq),
                    "{seq} is trimmed, and no receipt for {name} covers it"
                );
            }
        }
    }

    /// The event reached the sink, or the ledger says why not.
    fn check_settled(
        &self,
        name: &SinkName,
        seq: Seq,
        ledger: &Ledger,
        far_side: &FarSide,
        seen: &Seen,
    ) {
        let known = self.events.get(&seq).map(|known| known.digest);
        let there = || seen.entries.iter().find(|entry| entry.seq == seq);
        let digest = known.or_else(|| there().map(|entry| entry.digest));
        assert!(
            digest.is_some_and(|digest| far_side.has_taken(digest)) || ledger.excuses(name, seq),
            "{seq} counts as delivered to {name}, which never got it"
        );
    }

    fn check_dead_letters(&self, seen: &Seen, ledger: &Ledger) {
        for (name, cursor) in &seen.cursors {
            let letters = seen.dead_letters.keys().filter(|(sink, _)| sink == name);
            assert_eq!(
                letters.count() as u64,
                cursor.dead_letters,
                "dead letters of {name}"
            );
        }
        for (name, seq) in seen.dead_letters.keys() {
            assert!(
                seen.cursors.contains_key(name),
                "a dead letter of {name}, which is gone"
            );
            let rejected = ledger.rejected.get(&(name.as_str().to_owned(), *seq));
            assert!(
                rejected.is_some(),
                "a dead letter that the ledger does not know: {seq}"
            );
            if let Some(known) = self.events.get(seq) {
                assert_eq!(rejected, Some(&known.digest));
            }
        }
        for (name, seq) in ledger.rejected.keys() {
            let name = SinkName::new(name).unwrap();
            let letter = (name, *seq);
            assert!(
                seen.dead_letters.contains_key(&letter),
                "the dead letter of {seq} is gone"
            );
        }
    }

    /// Takes over what was checked and is durable: from here on it has to stay. Gives the requests
    /// that were open.
    pub(super) fn learn(&mut self, seen: &Seen) -> Vec<Batch> {
        self.epoch = Some(seen.epoch);
        self.has_other_key = false;
        self.lives.clone_from(&seen.lives);
        let new = self.new_wishes(seen);
        self.promised.extend(new.iter().map(Wish::key));
        self.wishes.extend(new);
        for entry in seen.entries.iter().filter(|entry| entry.seq > self.tail) {
            let known = Known {
                epoch: entry.epoch,
                digest: entry.digest,
            };
            self.events.insert(entry.seq, known);
            match entry.number {
                Some(number) => {
                    self.numbers
                        .insert(number, (entry.seq, entry.payload.clone()));
                }
                None => self.ledger.take(entry),
            }
        }
        let state = |letter: &DeadLetter| letter.retry;
        let letters = seen.dead_letters.iter();
        self.letters = letters.map(|(key, it)| (key.clone(), state(it))).collect();
        self.tail = seen.tail;
        self.first_held = seen.first_held;
        let open = std::mem::take(&mut self.open);
        let held: Vec<&Batch> = open.iter().filter(|batch| self.holds(batch)).collect();
        for batch in held {
            if let Some(key) = batch.key {
                self.tally.insert(key, batch.drafts.len() as u64);
            }
        }
        self.places.retain(|name, place| {
            let Some(cursor) = seen.cursors.get(name) else {
                return false;
            };
            if !place.is_sure {
                place.begins_after = cursor.acked;
            }
            place.is_sure = true;
            place.may_be_gone = false;
            place.required = cursor.required;
            place.acked = cursor.acked;
            place.claimed = cursor.claimed;
            true
        });
        open
    }

    /// Whether everything in the request is durable.
    pub(super) fn holds(&self, batch: &Batch) -> bool {
        let mut drafts = batch.drafts.iter();
        drafts.all(|draft| self.numbers.contains_key(&draft.number))
    }

    /// Whether everything that this sink was to get reached it, or is excused by the ledger.
    pub(super) fn check_delivered(&self, name: &SinkName, far_side: &FarSide) {
        let after = self.places[name].begins_after;
        for (seq, known) in self.events.range(after.next()..) {
            assert!(
                far_side.has_taken(known.digest) || self.ledger.excuses(name, *seq),
                "{seq} never reached {name}, and the ledger does not say why"
            );
        }
    }

    /// Whether everything that this sink was to get is at the hub behind it, or is excused by the
    /// ledger.
    pub(super) fn check_at_hub(&self, name: &SinkName, hub: &Hub) {
        let after = self.places[name].begins_after;
        for (seq, known) in self.events.range(after.next()..) {
            assert!(
                hub.holds(*seq, known.digest) || self.ledger.releases(name, *seq),
                "{seq} is not at the hub of {name}, and the ledger does not say why"
            );
        }
    }
}
