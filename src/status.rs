//! What the outbox says of itself: the words behind `status`, `GET /v1/status` and the page.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{ClockSync, Timestamp},
    seq::Seq,
};

/// A snapshot of the whole outbox. It serialises as the answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The device's name.
    pub device: String,
    /// The id of the key that signs, base64.
    pub key_id: String,
    /// That key's public half, base64.
    pub public_key: String,
    /// The current epoch.
    pub epoch: String,
    /// The last committed event; 0 in an empty journal.
    pub tail: Seq,
    /// The journal.
    pub journal: JournalStatus,
    /// The clock.
    pub clock: ClockStatus,
    /// Every sink with a place in the journal, by name.
    pub sinks: BTreeMap<String, SinkStatus>,
    /// Where the process listens, `127.0.0.1:7411` or a socket's path; empty for a library.
    pub listening: Vec<String>,
    /// The version of edge-outbox that runs.
    pub version: String,
}

/// The journal's part of [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// The data directory.
    pub dir: PathBuf,
    /// Bytes of events held.
    pub bytes: u64,
    /// The most bytes of events it may hold.
    pub quota_bytes: u64,
    /// The disk that it is on, as `GET /v1/status` finds it when it is asked; left out where the
    /// system would not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disk: Option<DiskStatus>,
    /// The oldest event still held; 0 when none is.
    pub first_held: Seq,
    /// Whether appends are taken at the moment.
    pub state: JournalState,
    /// Durable commits since the start of the process.
    pub commits: u64,
    /// Times the journal had to be reopened after a failed read or write, since the start of the process.
    pub reopened: u64,
    /// Events that were given up to make room, before every required sink had them, since the
    /// start of the process. The loss ledger says which, and those before.
    #[serde(default)]
    pub dropped: u64,
    /// What an erasure that is under way is at; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub erasing: Option<Erasing>,
    /// The last fault of the disk, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
}

/// The disk's part of [`JournalStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Bytes that this process may still write to it.
    pub free_bytes: u64,
    /// Its size in bytes.
    pub total_bytes: u64,
}

/// Whether appends are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Appends are taken.
    Open,
    /// The quota or the disk is full; forwarding goes on.
    Full,
    /// A write failed; the journal is being reopened.
    Reopening,
    /// The outbox was closed.
    Closed,
}

/// What an erasure is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erasing {
    /// Events are being erased.
    Rows,
    /// They are; what is free in the journal's file is being written over.
    FreePages,
    /// They are; it will be, once the disk has room for that.
    WaitingForRoom,
}

/// The clock's part of [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// The wall clock at the last commit.
    pub wall: Timestamp,
    /// Whether it was set.
    pub sync: ClockSync,
}

/// One sink's part of [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// `nats`, `mqtt`, `postgres`, `stdout`; empty for a sink that is no longer configured.
    pub kind: String,
    /// What it is doing.
    pub state: SinkState,
    /// Whether trimming waits for it.
    pub required: bool,
    /// Nothing beyond this was ever handed to the network.
    pub claimed: Seq,
    /// Everything up to here is confirmed, or is a dead letter.
    pub acked: Seq,
    /// Events after `acked`.
    pub pending: u64,
    /// The wall clock, set or not, when the oldest of them was taken in; none when there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oldest_pending: Option<Timestamp>,
    /// What the hub behind it says, where the hub's key is configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hub: Option<HubStatus>,
    /// Events this sink rejected for good, those not counted that it took later or that somebody
    /// discarded.
    pub dead_letters: u64,
    /// How many of them by reason code; absent where there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub dead_letter_reasons: BTreeMap<String, u64>,
    /// How many were discarded since the journal was opened: they were not delivered either.
    #[serde(skip)]
    pub discarded: u64,
    /// The promise in force.
    pub guarantee: Guarantee,
    /// The last trouble, kept after it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<SinkTrouble>,
    /// When the last event was confirmed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_delivery: Option<Timestamp>,
    /// When the next attempt is due, while waiting.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_attempt: Option<Timestamp>,
}

impl SinkStatus {
    /// A sink with a place in the journal and no task.
    pub(crate) fn absent() -> Self {
        Self {
            kind: String::new(),
            state: SinkState::Absent,
            required: false,
            claimed: Seq::NONE,
            acked: Seq::NONE,
            pending: 0,
            oldest_pending: None,
            hub: None,
            dead_letters: 0,
            dead_letter_reasons: BTreeMap::new(),
            discarded: 0,
            guarantee: Guarantee {
                level: GuaranteeLevel::Unknown,
                unmet: Vec::new(),
            },
            last_error: None,
            last_delivery: None,
            next_attempt: None,
        }
    }
}

/// What a hub says of the events that it gets through a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubStatus {
    /// Whether trimming waits for it (`confirm = "hub"`).
    pub confirms: bool,
    /// Everything up to here is safe in its database, or it knows why not.
    pub confirmed: Seq,
    /// Since when something delivered waits for its word: since it was delivered, or since the
    /// last word that confirmed anything; none while nothing waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting_since: Option<Timestamp>,
    /// When the last receipt came that counted; none since the start of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_receipt: Option<Timestamp>,
    /// Events that it misses, by its last receipt for the epoch at hand.
    #[serde(default)]
    pub missing: u64,
    /// Messages that it has in quarantine, by the same receipt.
    #[serde(default)]
    pub quarantined: u64,
    /// Events that were sent again because it missed them, since the start of the process.
    #[serde(default)]
    pub resent: u64,
    /// That it follows another history than this journal's: a card was copied or set back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tampering: Option<String>,
}

/// What a sink is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Not configured any more; its place is kept.
    Absent,
    /// Opening a connection.
    Connecting,
    /// Asking the other side what of the in-doubt range arrived.
    ReadingBack,
    /// Sending what is pending.
    Draining,
    /// Connected, and everything is delivered.
    CaughtUp,
    /// Something passing went wrong; waiting to try again.
    Waiting,
    /// Configuration or rights are wrong; tried again at intervals, but somebody has to mend it.
    Halted,
    /// The process is stopping.
    Stopped,
    /// Somebody carries its events to the hub.
    ByHand,
}

/// The last trouble of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkTrouble {
    /// `retry`, `reject` or `halt`.
    pub kind: String,
    /// A stable word for it.
    pub code: String,
    /// What was tried, on what, and what the other side said.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// When it was last seen.
    pub at: Timestamp,
}

/// The promise in force at a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// How often an event may arrive.
    pub level: GuaranteeLevel,
    /// Every condition of the stronger promise that does not hold, in words that say what to change.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unmet: Vec<String>,
}

/// How often an event may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuaranteeLevel {
    /// Once.
    ExactlyOnce,
    /// Once or more; repeats are marked.
    AtLeastOnce,
    /// Perhaps not at all: the other side confirms nothing.
    AtMostOnce,
    /// Not known before the first connection.
    Unknown,
}

impl Status {
    /// Whether any sink is configured. Without one, events are kept and go nowhere.
    #[must_use]
    pub fn has_sinks(&self) -> bool {
        self.sinks
            .values()
            .any(|sink| sink.state != SinkState::Absent)
    }
}

impl fmt::Display for Status {
    /// In one line, without a word of what others said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, up to seq {}", self.journal.state, self.tail)?;
        if !self.has_sinks() {
            f.write_str("; no sink: events are kept")?;
        }
        for (name, sink) in &self.sinks {
            if sink.state == SinkState::Absent {
                continue;
            }
            write!(f, "; {name}: {}", sink.state)?;
            if sink.pending > 0 {
                write!(f, ", {} pending", sink.pending)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for JournalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "takes events",
            Self::Full => "full",
            Self::Reopening => "being reopened after a failed read or write",
            Self::Closed => "closed",
        })
    }
}

impl fmt::Display for Erasing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "events of a person are being erased",
            Self::FreePages => "what is left of erased events is being written over",
            Self::WaitingForRoom => {
                "waits for room on the disk to write over what is left of erased events"
            }
        })
    }
}

impl fmt::Display for SinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "not configured",
            Self::Connecting => "connecting",
            Self::ReadingBack => "asking what arrived",
            Self::Draining => "sending",
            Self::CaughtUp => "everything delivered",
            Self::Waiting => "waiting to try again",
            Self::Halted => "halted: somebody has to mend it",
            Self::Stopped => "stopped",
            Self::ByHand => "carried by hand",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_becomes_of_the_events_at_each_sink() {
        let sink = |state, pending| SinkStatus {
            kind: "nats".into(),
            state,
            required: true,
            pending,
            ..SinkStatus::absent()
        };
        let mut status = Status {
            device: "kiosk-07".into(),
            key_id: String::new(),
            public_key: String::new(),
            epoch: String::new(),
            tail: Seq::NONE,
            journal: JournalStatus {
                dir: PathBuf::new(),
                bytes: 0,
                quota_bytes: 0,
                disk: None,
                first_held: Seq::NONE,
                state: JournalState::Full,
                commits: 0,
                reopened: 0,
                dropped: 0,
                erasing: None,
                last_error: Some("a fault".into()),
            },
            clock: ClockStatus {
                wall: Timestamp::now(),
                sync: ClockSync::Unknown,
            },
            sinks: BTreeMap::from([("old".into(), sink(SinkState::Absent, 9))]),
            listening: Vec::new(),
            version: String::new(),
        };
        assert_eq!(
            status.to_string(),
            "full, up to seq 0; no sink: events are kept"
        );
        status
            .sinks
            .insert("hub".into(), sink(SinkState::CaughtUp, 0));
        status
            .sinks
            .insert("lab".into(), sink(SinkState::Waiting, 17));
        assert_eq!(
            status.to_string(),
            "full, up to seq 0; hub: everything delivered; lab: waiting to try again, 17 pending"
        );
    }
}
