//! What a check found: the words of `edge-outbox doctor`.
//!
//! Each check has an id that stays what it is from version to version; `docs/doctor.md` says what
//! each means and what to do. A check that could not be made has no finding.

use serde::{Serialize, Serializer};

use crate::sink::SinkError;

/// Declares the checks with their ids, in the order in which they are made.
macro_rules! checks {
    ($($(#[$meta:meta])* $check:ident = $id:literal,)+) => {
        /// What is looked at.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum Check { $($(#[$meta])* $check,)+ }

        impl Check {
            /// Every check.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$check,)+];

            /// Its stable id.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$check => $id,)+ }
            }
        }
    };
}

checks! {
    /// The configuration file, and everything that is set without a file.
    Config = "config",
    /// Files that hold what the listeners want to be shown.
    ConfigSecrets = "config.secrets",
    /// Whether there is anywhere to deliver to.
    ConfigSinks = "config.sinks",
    /// The daemon, over its socket.
    Daemon = "daemon",
    /// The data directory.
    DataDir = "data.dir",
    /// The signing key.
    DataKey = "data.key",
    /// The journal's file, or what the daemon says of the journal.
    DataJournal = "data.journal",
    /// The file system and its device.
    DiskKind = "disk.kind",
    /// Free space against the quota.
    DiskSpace = "disk.space",
    /// Free inodes.
    DiskInodes = "disk.inodes",
    /// How long a write takes until the disk says that it is safe.
    DiskSync = "disk.sync",
    /// The wall clock.
    Clock = "clock",
    /// The clock chip.
    ClockChip = "clock.chip",
    /// The files that a sink's section names.
    SinkOptions = "sink.options",
    /// What the daemon is doing at this sink.
    SinkDelivery = "sink.delivery",
    /// What the hub behind it says.
    SinkHub = "sink.hub",
    /// Names into addresses.
    SinkResolve = "sink.resolve",
    /// A connection to the port.
    SinkReach = "sink.reach",
    /// Encryption, and who the server is.
    SinkTls = "sink.tls",
    /// Being let in.
    SinkLogin = "sink.login",
    /// Room for the largest event.
    SinkSize = "sink.size",
    /// The stream that takes the events.
    NatsStream = "nats.stream",
    /// The subjects that the stream takes.
    NatsSubjects = "nats.subjects",
    /// What the stream keeps, and until when.
    NatsRetention = "nats.retention",
    /// What removes or refuses events.
    NatsLimits = "nats.limits",
    /// How long the stream knows a repeat.
    NatsDuplicates = "nats.duplicates",
    /// Where the stream keeps its events.
    NatsStorage = "nats.storage",
    /// Asking what arrived.
    NatsReadBack = "nats.read_back",
    /// The version of the protocol.
    MqttVersion = "mqtt.version",
    /// How an event is handed over.
    MqttQos = "mqtt.qos",
    /// How many may be unanswered.
    MqttWindow = "mqtt.window",
    /// The database.
    PostgresDatabase = "postgres.database",
    /// Whether it takes writes.
    PostgresWritable = "postgres.writable",
    /// The tables and their version.
    PostgresSchema = "postgres.schema",
    /// What the user may do.
    PostgresRights = "postgres.rights",
    /// The statement that stores events, up to its execution.
    PostgresInsert = "postgres.insert",
    /// Triggers, rules and row security.
    PostgresRows = "postgres.rows",
    /// Whether what is confirmed is kept.
    PostgresCommit = "postgres.commit",
    /// What stands between.
    PostgresPooler = "postgres.pooler",
    /// The right to publish events.
    SinkPublish = "sink.publish",
    /// Whether anybody gets them.
    MqttSubscribers = "mqtt.subscribers",
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or it may, and somebody should know.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found. It serialises as an element of `doctor --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    /// Whose check it is; none for the device's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sink: Option<String>,
    pub(crate) verdict: Verdict,
    /// The stable word of a sink's error, as in `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// What was found. Never a secret.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: Check, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, message.into(), None)
    }

    /// Something that somebody should know, with what to do about it.
    pub(crate) fn warn(
        check: Check,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self::new(check, Verdict::Warn, message.into(), hint.into())
    }

    /// Something that does not work, with what to do about it.
    pub(crate) fn fail(
        check: Check,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self::new(check, Verdict::Fail, message.into(), hint.into())
    }

    /// What a sink would tell in its status, in the same words.
    pub(crate) fn of_error(check: Check, error: SinkError) -> Self {
        Self {
            code: Some(error.code.to_owned()),
            ..Self::fail(check, error.message, error.hint)
        }
    }

    /// The same as a mere warning.
    pub(crate) fn into_warning(self) -> Self {
        Self {
            verdict: Verdict::Warn,
            ..self
        }
    }

    /// The same about one sink.
    pub(crate) fn of_sink(self, name: &str) -> Self {
        Self {
            sink: Some(name.to_owned()),
            ..self
        }
    }

    fn new(check: Check, verdict: Verdict, message: String, hint: Option<String>) -> Self {
        Self {
            check,
            sink: None,
            verdict,
            code: None,
            message,
            hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_a_row_for_each_check_in_the_order_they_are_made() {
        let document = include_str!("../docs/doctor.md");
        let rows = document.lines().filter_map(|line| {
            let id = line.strip_prefix("| `")?.split('`').next()?;
            id.contains(|c: char| c != '-').then_some(id)
        });
        let documented: Vec<&str> = rows.collect();
        let made: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(documented, made);
        let different: BTreeSet<&str> = made.iter().copied().collect();
        assert_eq!(different.len(), made.len());
    }
}
