//! What the outbox says of itself: the words behind `status`, `GET /v1/status` and the page.

use std::{collections::BTreeMap, path::PathBuf};

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
    /// The oldest event still held; 0 when none is.
    pub first_held: Seq,
    /// Whether appends are taken at the moment.
    pub state: JournalState,
    /// Durable commits since the start of the process.
    pub commits: u64,
    /// Times the journal had to be reopened after a failed write, since the start of the process.
    pub reopened: u64,
    /// The last fault of the disk, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
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
    /// Events this sink rejected for good.
    pub dead_letters: u64,
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
