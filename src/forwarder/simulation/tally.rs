//! What a run came to, in figures.

/// What a run came to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    /// Power cuts, each followed by a recovery that was checked.
    pub(super) crash_points: u64,
    /// Those among them that came in a recovery, or in the recovery of a recovery.
    pub(super) in_recovery: u64,
    /// Processes that were killed with the power on.
    pub(super) kills: u64,
    /// Failed calls after which the journal was reopened by the same process.
    pub(super) reopened: u64,
    /// Events that the program heard were durable.
    pub(super) acknowledged: u64,
    /// Events handed to a sink.
    pub(super) handed: u64,
    /// Events trimmed.
    pub(super) trimmed: u64,
    /// Of these, events given up for newer ones.
    pub(super) dropped: u64,
    /// Dead letters that were sent once more, delivered after all, and discarded.
    pub(super) sent_late: u64,
    pub(super) delivered_late: u64,
    pub(super) discarded: u64,
    /// Events erased.
    pub(super) erased: u64,
    /// Persons whose erasure went through to the last free page.
    pub(super) scrubbed: u64,
    /// Compactions.
    pub(super) compacted: u64,
    /// Events that a hub missed and was sent again, and its lives that were believed.
    pub(super) sent_again: u64,
    pub(super) lives: u64,
    /// Epochs that began under another key.
    pub(super) keys_changed: u64,
    /// Events that a card which was set back took into a new epoch.
    pub(super) taken_back: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.crash_points += other.crash_points;
        self.in_recovery += other.in_recovery;
        self.kills += other.kills;
        self.reopened += other.reopened;
        self.acknowledged += other.acknowledged;
        self.handed += other.handed;
        self.trimmed += other.trimmed;
        self.dropped += other.dropped;
        self.sent_late += other.sent_late;
        self.delivered_late += other.delivered_late;
        self.discarded += other.discarded;
        self.erased += other.erased;
        self.scrubbed += other.scrubbed;
        self.compacted += other.compacted;
        self.sent_again += other.sent_again;
        self.lives += other.lives;
        self.keys_changed += other.keys_changed;
        self.taken_back += other.taken_back;
    }
}
