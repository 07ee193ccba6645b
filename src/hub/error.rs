use tokio_postgres::{
    Error,
    error::{DbError, SqlState},
};
use uuid::Uuid;

use crate::sink::{
    SinkError,
    postgres::{in_full, said},
};

/// Why the hub's database did not do what it was asked. Nothing of the batch is known to be stored;
/// to try it again does no harm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The server refused, or the connection to it ended.
    #[error("{tried}: {said}")]
    Database {
        /// What was tried.
        tried: &'static str,
        /// What the server said. Where that could quote an event, its SQLSTATE and the names of what
        /// it is about.
        said: String,
        /// What can be done about it.
        remedy: Remedy,
    },
    /// No partition takes what is to be stored: neither that of its month nor the default one is there.
    #[error("{tried}: no partition of {table} takes them")]
    Partition {
        /// What was tried.
        tried: &'static str,
        /// The table that should have one.
        table: String,
    },
    /// The tables are of another version than this program's.
    #[error(
        "the hub's tables are of schema version {found}, and this edge-outbox uses version {}",
        super::SCHEMA_VERSION
    )]
    SchemaVersion {
        /// Theirs.
        found: i32,
    },
    /// What should be there is not.
    #[error(
        "the hub's tables have no row in schema_version: run the script of `edge-outbox config sql --hub`"
    )]
    SchemaMissing,
    /// The erasure key is not the one under which the database knows who was erased.
    #[error(
        "the erasure key is not the one that this database was used with: all hubs of a database \
         need the same"
    )]
    ErasureKey,
    /// No hub has used the tables yet, so they know of no erasure key.
    #[error(
        "no hub has used this database yet: it holds nobody's events, and knows no erasure key"
    )]
    ErasureKeyMissing,
    /// The database's name in receipts is none by which devices know the later of two.
    #[error(
        "the hub's database is named {found} in its table schema_version, which is no UUID of version 7"
    )]
    Life {
        /// What it is.
        found: Uuid,
    },
    /// A value in the tables cannot be one.
    #[error("the hub's table {0} holds what cannot be read")]
    Table(&'static str),
}

/// What can be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt, on the same connection.
    Repeat,
    /// Another connection.
    Reconnect,
    /// One of the rows has to be left out.
    LeaveOut,
    /// Somebody has to see to it.
    Mend,
}

impl HubError {
    pub(super) fn new(tried: &'static str, error: &Error) -> Self {
        let (said, remedy) = match error.as_db_error() {
            Some(error) => {
                if let Some(table) = without_partition(error) {
                    let table = table.to_owned();
                    return Self::Partition { tried, table };
                }
                (
                    format!("the server says {}", said(error)),
                    remedy(error.code()),
                )
            }
            None => (in_full(error), Remedy::Reconnect),
        };
        Self::Database {
            tried,
            said,
            remedy,
        }
    }

    /// Whether it stays as it is until somebody has mended it.
    pub(super) const fn is_for_a_person(&self) -> bool {
        matches!(self.remedy(), Remedy::Mend)
    }

    /// What to do about it, where there is something to say.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Database {
                remedy: Remedy::Mend,
                ..
            } => Some(
                "make the tables with `edge-outbox config sql --hub`, and grant \
                 edge_outbox_hub_intake to the user in `url` of the section [database]",
            ),
            Self::Partition { .. } => Some(
                "run the script of `edge-outbox config sql --hub` again, as the owner of the tables: it \
                 makes what is missing",
            ),
            Self::Life { .. } => Some("give it another with `edge-outbox hub new-life`"),
            Self::ErasureKeyMissing => Some(
                "start `edge-outbox hub run` once: it notes the key that `erasure_key_file` in the \
                 section [intake] names",
            ),
            Self::ErasureKey => Some(
                "let `erasure_key_file` in the section [intake] name a copy of the file that the other hubs have",
            ),
            _ => None,
        }
    }

    /// What can be done about it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Database { remedy, .. } => *remedy,
            _ => Remedy::Mend,
        }
    }
}

impl From<HubError> for SinkError {
    fn from(error: HubError) -> Self {
        let same = match error.is_for_a_person() {
            true => Self::halt("database", error.to_string()),
            false => Self::retry("database", error.to_string()),
        };
        match error.hint() {
            Some(hint) => same.with_hint(hint),
            None => same,
        }
    }
}

/// The table no partition of which takes a row. The server has no SQLSTATE of its own for it; a check
/// names its constraint.
fn without_partition(error: &DbError) -> Option<&str> {
    let is_check = *error.code() == SqlState::CHECK_VIOLATION;
    error
        .table()
        .filter(|_| is_check && error.constraint().is_none())
}

fn remedy(code: &SqlState) -> Remedy {
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Remedy::Reconnect;
    }
    match code.code().get(..2).unwrap_or_default() {
        "40" | "55" => Remedy::Repeat,
        "22" | "23" | "44" | "54" => Remedy::LeaveOut,
        "08" | "53" | "57" | "58" | "XX" => Remedy::Reconnect,
        _ => Remedy::Mend,
    }
}

/// Says what was tried where the server refuses it.
pub(super) trait Tried<T> {
    fn tried(self, what: &'static str) -> Result<T, HubError>;
}

impl<T> Tried<T> for Result<T, Error> {
    fn tried(self, what: &'static str) -> Result<T, HubError> {
        self.map_err(|error| HubError::new(what, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_sqlstate_has_its_remedy() {
        for (code, expected) in [
            ("40P01", Remedy::Repeat),
            ("40001", Remedy::Repeat),
            ("55P03", Remedy::Repeat),
            ("57P01", Remedy::Reconnect),
            ("08006", Remedy::Reconnect),
            ("53100", Remedy::Reconnect),
            ("25006", Remedy::Reconnect),
            ("22P05", Remedy::LeaveOut),
            ("54000", Remedy::LeaveOut),
            ("42501", Remedy::Mend),
            ("42P01", Remedy::Mend),
        ] {
            assert_eq!(remedy(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
