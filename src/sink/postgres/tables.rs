//! The tables, by the names that statements use, and what to do about them.

use crate::sink::{SinkError, postgres::options::Address};

/// The version of `config/postgres.sql` that this sink writes to.
pub const SCHEMA_VERSION: i32 = 1;

/// Names as statements use them, and the way to make the tables.
pub(super) struct Tables {
    /// `device_events`, with its schema where one is set.
    pub(super) events: String,
    /// `edge_outbox_schema`, likewise.
    pub(super) schema: String,
    create: String,
    /// What else is to be known about it.
    place: &'static str,
}

impl Tables {
    pub(super) fn new(schema: Option<&str>, address: &Address) -> Self {
        let name = |table: &str| match schema {
            Some(schema) => format!("{}.{table}", quoted(schema)),
            None => table.to_owned(),
        };
        let path = schema.map(|schema| {
            let path = format!("--search_path={}", quoted(schema));
            format!("PGOPTIONS={} ", word(&path))
        });
        Self {
            events: name("device_events"),
            schema: name("edge_outbox_schema"),
            create: format!(
                "edge-outbox config sql | {}psql -v ON_ERROR_STOP=1 {}",
                path.unwrap_or_default(),
                word(&address.to_string()),
            ),
            place: match schema {
                Some(_) => "`schema` says where they are, and has to be there",
                None => "`schema` says where they are",
            },
        }
    }

    /// What makes the tables, or brings them up to date.
    pub(super) fn how_to_create(&self) -> String {
        format!(
            "run `{}` as the role that shall own the tables; {}",
            self.create, self.place
        )
    }

    /// The tables are of another version than this sink's.
    pub(super) fn wrong_version(&self, server: &str, found: i32) -> SinkError {
        let message = format!(
            "the tables at {server} are of schema version {found}, and this edge-outbox writes \
             version {SCHEMA_VERSION}"
        );
        let hint = if found < SCHEMA_VERSION {
            self.how_to_create()
        } else {
            "update edge-outbox on this device, or name another database in `url`".into()
        };
        SinkError::halt("schema_version", message).with_hint(hint)
    }

    /// The role may not do what a device has to.
    pub(super) fn not_permitted(&self, message: String) -> SinkError {
        SinkError::halt("not_permitted", message).with_hint(format!(
            "grant the user in `url` what it needs: `grant insert on {0} to USER; grant select \
             (device, epoch, seq, digest) on {0} to USER; grant select on {1} to USER`",
            self.events, self.schema
        ))
    }

    /// Rows that were handed over are not in the table, and no error said so.
    pub(super) fn left_out(&self, message: String) -> SinkError {
        SinkError::halt("left_out", message).with_hint(format!(
            "remove the trigger on `{}` that throws rows away or changes their key, or the policy \
             that hides them from the user in `url`; nothing is lost meanwhile",
            self.events
        ))
    }
}

/// A text as one word of a shell, where `'` cannot be escaped but by leaving the quotes.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A name as it stands in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
