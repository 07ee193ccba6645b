//! The table of unsent events: what it is called, and what is asked of it.
//!
//! Rows that are in hand are locked by a transaction of a connection, which others skip. What a relay
//! has in its journal while its sinks are away is not locked, for no transaction lasts that long: an
//! advisory lock of the session stands for each such row, which others look at before they take one.
//! Both end with the connection.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_postgres::{Client, Error, Transaction, types::Type};
use uuid::Uuid;

use super::{Options, row::Row};
use crate::sink::{
    SinkError,
    postgres::{Connection, Database, in_full, said},
};

/// The longest name of a schema, a table, a column or a channel, in bytes, as the server has it.
pub const MAX_NAME_BYTES: usize = 63;
/// How long the session may take for one statement.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// The salt of the advisory locks, so that they are not those of another program.
const KEEP_SALT: i64 = 0x6564_6765_6f75_7462;
/// What is set in the session for the server to find within a minute that a relay is gone whose machine
/// lost its power: until then what it keeps is kept.
const ALIVE: &str = "set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; \
                     set tcp_keepalives_count = 3; set tcp_user_timeout = 60000";
/// What the names of the columns and the table are.
const NAMES_HINT: &str = "`edge-outbox config sql --relay` shows the table and the grants that it needs; \
                          `table` and `[relay.columns]` say what yours are called, and `url` and \
                          `schema` of the section [database] where it is";

/// The names of the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// `uuid`: what the event is known by.
    pub id: String,
    /// `uuid`: what it is about.
    pub aggregate_id: String,
    /// `text`: its type.
    pub event_type: String,
    /// `jsonb`, `json` or `text`.
    pub payload: String,
    /// `timestamptz`: when it happened, and in which order rows are taken.
    pub occurred_at: String,
    /// `int`: the version of the payload's shape.
    pub version: String,
    /// `timestamptz`: when it was sent; null until then.
    pub sent_at: String,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            aggregate_id: "aggregate_id".into(),
            event_type: "event_type".into(),
            payload: "payload".into(),
            occurred_at: "occurred_at".into(),
            version: "version".into(),
            sent_at: "sent_at".into(),
        }
    }
}

/// Which rows are wanted.
pub(super) enum Wanted {
    /// The first that are free.
    Next {
        /// But for these.
        except: Vec<Uuid>,
        /// Behind this time and id.
        after: Option<(String, Uuid)>,
    },
    /// Those of these that are unsent and free.
    These(Vec<Uuid>),
}

/// A connection that hears of new rows.
pub(super) struct Session {
    connection: Connection,
    statements: Statements,
}

/// Rows that are locked.
pub(super) struct Taken<'a> {
    transaction: Transaction<'a>,
    statements: &'a Statements,
    pub(super) rows: Vec<Row>,
    /// What can be said to be no event without having been read.
    pub(super) refused: Vec<(Uuid, String)>,
    /// What another relay keeps.
    pub(super) elsewhere: Vec<Uuid>,
    /// Whether there may be more rows.
    pub(super) more: bool,
    /// Time and id of the last one.
    pub(super) last: Option<(String, Uuid)>,
}

/// What is asked, with the names filled in.
struct Statements {
    /// The columns, to be looked at.
    look: String,
    lock: String,
    lock_after: String,
    lock_these: String,
    /// Places alone, without a look into the rows.
    first: String,
    first_after: String,
    claim: &'static str,
    read: String,
    /// Whether rows can be read, without fetching them.
    probe: String,
    mark: String,
    may_mark: String,
    unsent: String,
    nameless: String,
}

/// A name as SQL has it, whatever it is.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Statements {
    fn new(options: &Options, schema: Option<&str>) -> Self {
        let schema = schema.map_or_else(String::new, |schema| format!("{}.", quoted(schema)));
        let table = format!("{schema}{}", quoted(&options.table));
        let Columns {
            id,
            aggregate_id,
            event_type,
            payload,
            occurred_at,
            version,
            sent_at,
        } = &options.columns;
        let [id, aggregate_id, event_type, payload, at, version, sent_at] = [
            id,
            aggregate_id,
            event_type,
            payload,
            occurred_at,
            version,
            sent_at,
        ]
        .map(|name| quoted(name));
        let unsent = format!("from {table} where {sent_at} is null and {id} is not null");
        // A row without a time comes last.
        let place = format!("{id}, coalesce({at}, 'infinity')::text");
        let places = format!("select {place}, octet_length({payload}::text)::int8 {unsent}");
        let next = format!("and {id} <> all($1)");
        let behind =
            format!("{next} and (coalesce({at}, 'infinity'), {id}) > ($3::text::timestamptz, $4)");
        let order = format!("order by {at}, {id}");
        let locked = format!("{order} limit $2 for update skip locked");
        let is_sendable = format!("({at} >= '0001-01-01' and {at} < '9999-01-01')");
        Self {
            look: format!(
                "select {id}, {aggregate_id}, {event_type}, {payload}, {at}, {version}, {sent_at} \
                 from {table}"
            ),
            lock: format!("{places} {next} {locked}"),
            lock_after: format!("{places} {behind} {locked}"),
            lock_these: format!("{places} and {id} = any($1) {locked}"),
            first: format!("select {place} {unsent} {next} {order} limit $2"),
            first_after: format!("select {place} {unsent} {behind} {order} limit $2"),
            claim: "select id from unnest($1) as id \
                    where pg_try_advisory_xact_lock(hashtextextended(id::text, $2))",
            read: format!(
                "select {id}, {aggregate_id}, {event_type}::text, {payload}::text, \
                 case when {is_sendable} then (extract(epoch from {at}) * 1000000)::int8 end, \
                 {at} is not null and not {is_sendable}, {version}::int8 \
                 from {table} where {id} = any($1) and {sent_at} is null {order}"
            ),
            probe: format!(
                "select octet_length({event_type}::text), octet_length({payload}::text), \
                 {aggregate_id}, {version}::int8, \
                 case when {is_sendable} then (extract(epoch from {at}) * 1000000)::int8 end \
                 from {table} where {id} = any($1) and {sent_at} is null"
            ),
            mark: format!(
                "update {table} set {sent_at} = clock_timestamp() \
                 where {id} = any($1) and {sent_at} is null"
            ),
            may_mark: format!("update {table} set {sent_at} = {sent_at} where false"),
            unsent: format!("select {id} {unsent} and {id} = any($1)"),
            nameless: format!(
                "select exists (select from {table} where {sent_at} is null and {id} is null)"
            ),
        }
    }
}

impl Session {
    /// Connects, looks at the table, and listens.
    pub(super) async fn open(
        database: &Database,
        options: &Options,
        notified: &Arc<Notify>,
    ) -> Result<Self, SinkError> {
        let name = "edge-outbox relay";
        let connection = database.connect_listening(name, notified).await?;
        let statements = Statements::new(options, database.schema());
        let client = &connection.client;
        // A relay that hangs has no rows locked for long.
        let idle = options.confirm_timeout + STATEMENT_LIMIT;
        let ready = format!(
            "set statement_timeout = {}; set idle_in_transaction_session_timeout = {}; \
             set client_min_messages = warning; set datestyle = 'ISO'; set timezone = 'UTC'; \
             set default_transaction_isolation = 'read committed'; {ALIVE}; listen {}",
            STATEMENT_LIMIT.as_millis(),
            idle.as_millis(),
            quoted(&options.channel)
        );
        let ready = client.batch_execute(&ready).await;
        ready.map_err(|error| failed("setting up the session", &error))?;
        look(client, &statements).await?;
        let may_mark = client.batch_execute(&statements.may_mark).await;
        may_mark.map_err(|error| failed("looking at the table", &error))?;
        Ok(Self {
            connection,
            statements,
        })
    }

    /// Locks rows and reads them. Dropped, what is given lets go of them.
    pub(super) async fn take(
        &mut self,
        options: &Options,
        wanted: Wanted,
        max_payload: usize,
    ) -> Result<Taken<'_>, SinkError> {
        let statements = &self.statements;
        let tried = |error: Error| failed("taking rows", &error);
        let transaction = self.connection.client.transaction().await.map_err(tried)?;
        let mut taken = Taken {
            transaction,
            statements,
            rows: Vec::new(),
            refused: Vec::new(),
            elsewhere: Vec::new(),
            more: false,
            last: None,
        };
        let limits = Limits {
            rows: options.batch,
            bytes: options.batch_bytes,
            payload: max_payload,
        };
        let Err(error) = taken.fill(&wanted, &limits).await else {
            return Ok(taken);
        };
        let is_of_a_row = error.code().is_some_and(|it| {
            // Data that do not fit, and what is beyond the server's limits.
            matches!(it.code().get(..2), Some("22" | "54"))
        });
        if !is_of_a_row {
            return Err(tried(error));
        }
        taken.blame(&wanted, &limits).await.map_err(tried)?;
        if taken.refused.is_empty() {
            return Err(tried(error));
        }
        Ok(taken)
    }

    /// Those of these rows that are unsent, whoever has them locked.
    pub(super) async fn unsent(&self, rows: &[Uuid]) -> Result<Vec<Uuid>, SinkError> {
        let rows = rows.to_vec();
        let given = [(&rows as _, Type::UUID_ARRAY)];
        let client = &self.connection.client;
        let found = client.query_typed(&self.statements.unsent, &given).await;
        let ids = found.and_then(|found| found.iter().map(|row| row.try_get(0)).collect());
        ids.map_err(|error| failed("looking at rows", &error))
    }

    /// Whether there is an unsent row without an id.
    pub(super) async fn has_nameless(&self) -> Result<bool, SinkError> {
        let client = &self.connection.client;
        let found = client.query_typed(&self.statements.nameless, &[]).await;
        let any = found.and_then(|found| match found.first() {
            Some(row) => row.try_get(0),
            None => Ok(false),
        });
        any.map_err(|error| failed("looking at rows", &error))
    }

    /// Keeps these rows from other relays until [`Self::let_go`], as far as none has them.
    pub(super) async fn keep(&self, rows: &[Uuid]) -> Result<(), SinkError> {
        keep(&self.connection.client, rows).await
    }

    /// Keeps no rows any more but these.
    pub(super) async fn let_go_but(&self, rows: &[Uuid]) -> Result<(), SinkError> {
        let client = &self.connection.client;
        let done = client
            .batch_execute("select pg_advisory_unlock_all()")
            .await;
        done.map_err(|error| failed("letting go of rows", &error))?;
        keep(client, rows).await
    }
}

/// How much is taken at a time.
struct Limits {
    rows: usize,
    bytes: usize,
    /// Bytes of one payload.
    payload: usize,
}

impl Limits {
    fn rows(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }
}

impl Taken<'_> {
    /// Locks rows and reads them. Only what is read stays locked: whatever is found to be too much, or
    /// to be kept by another relay, is let go of, for its relay may be about to mark it.
    async fn fill(&mut self, wanted: &Wanted, limits: &Limits) -> Result<(), Error> {
        let is_next = matches!(wanted, Wanted::Next { .. });
        let mut these: Option<Vec<Uuid>> = None;
        let ids = loop {
            let savepoint = self.transaction.savepoint("rows").await?;
            let found = match &these {
                Some(these) => lock(&savepoint, self.statements, these, limits).await?,
                None => find(&savepoint, self.statements, wanted, limits, true).await?,
            };
            let (mut ids, mut bytes, mut seen) = (Vec::new(), 0, 0);
            for row in &found {
                let id: Uuid = row.try_get(0)?;
                let size: Option<i64> = row.try_get(2)?;
                let size = usize::try_from(size.unwrap_or_default()).unwrap_or(usize::MAX);
                if size > limits.payload {
                    // Not a byte of it is fetched.
                    let most = limits.payload;
                    let why = format!("its payload has {size} bytes, the limit is {most}");
                    self.refused.push((id, why));
                } else {
                    bytes += size;
                    if bytes > limits.bytes && !ids.is_empty() {
                        break;
                    }
                    ids.push(id);
                }
                seen += 1;
                if is_next && these.is_none() {
                    self.last = Some((row.try_get(1)?, id));
                }
            }
            let is_cut = seen < found.len();
            self.more |= is_next && (is_cut || found.len() >= limits.rows);
            let given = [(&ids as _, Type::UUID_ARRAY), (&KEEP_SALT as _, Type::INT8)];
            let claimed = savepoint.query_typed(self.statements.claim, &given).await?;
            let claimed = claimed.iter().map(|row| row.try_get(0));
            let claimed: Vec<Uuid> = claimed.collect::<Result<_, _>>()?;
            if !is_cut && claimed.len() == ids.len() {
                savepoint.commit().await?;
                break ids;
            }
            savepoint.rollback().await?;
            ids.retain(|id| !claimed.contains(id));
            self.elsewhere.append(&mut ids);
            if claimed.is_empty() {
                return Ok(());
            }
            these = Some(claimed);
        };
        if !ids.is_empty() {
            let given = [(&ids as _, Type::UUID_ARRAY)];
            let answer = self.transaction.query_typed(&self.statements.read, &given);
            let rows = answer.await?;
            self.rows = rows.iter().map(read).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// After a failure that was a row's: finds whose by reading them one by one, refuses those, and
    /// takes none.
    async fn blame(&mut self, wanted: &Wanted, limits: &Limits) -> Result<(), Error> {
        // Out of the transaction that failed.
        self.transaction.batch_execute("rollback; begin").await?;
        self.rows.clear();
        self.refused.clear();
        self.elsewhere.clear();
        let places: Vec<(Uuid, Option<String>)> = match wanted {
            Wanted::These(these) => these.iter().map(|id| (*id, None)).collect(),
            Wanted::Next { .. } => {
                let found = find(&self.transaction, self.statements, wanted, limits, false).await?;
                let places = found
                    .iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                places.collect::<Result<_, Error>>()?
            }
        };
        for (id, at) in places {
            let one = self.transaction.savepoint("row").await?;
            let given = [(&vec![id] as _, Type::UUID_ARRAY)];
            let Err(error) = one.query_typed(&self.statements.probe, &given).await else {
                one.commit().await?;
                continue;
            };
            let Some(server) = error.as_db_error() else {
                return Err(error);
            };
            self.refused
                .push((id, format!("the server says {}", said(server))));
            one.rollback().await?;
            self.more |= at.is_some();
            self.last = at.map(|at| (at, id));
        }
        Ok(())
    }

    /// Keeps these rows from other relays, longer than the transaction.
    pub(super) async fn keep(&self, rows: &[Uuid]) -> Result<(), SinkError> {
        keep(self.transaction.client(), rows).await
    }

    /// Marks these as sent, and ends the transaction.
    pub(super) async fn mark(self, sent: &[Uuid]) -> Result<(), SinkError> {
        let tried = |error: Error| failed("marking rows as sent", &error);
        if !sent.is_empty() {
            let given = [(&sent as _, Type::UUID_ARRAY)];
            let marked = self
                .transaction
                .execute_typed(&self.statements.mark, &given);
            let marked = marked.await.map_err(tried)?;
            if marked < sent.len() as u64 {
                return Err(SinkError::halt(
                    "not_marked",
                    format!(
                        "of {} rows that were sent the table lets {marked} be marked",
                        sent.len()
                    ),
                )
                .with_hint(
                    "a trigger or a policy of row-level security is in the way: let the relay's user \
                     set `sent_at` in every row",
                ));
            }
        }
        self.transaction.commit().await.map_err(tried)
    }

    /// Lets go of the rows; these are kept from other relays all the same.
    pub(super) async fn give_back(self, kept: &[Uuid]) -> Result<(), SinkError> {
        keep(self.transaction.client(), kept).await?;
        let done = self.transaction.rollback().await;
        done.map_err(|error| failed("letting go of rows", &error))
    }
}

/// The rows that are wanted, in their order; `locked`, and with their sizes, or as they are.
async fn find(
    transaction: &Transaction<'_>,
    statements: &Statements,
    wanted: &Wanted,
    limits: &Limits,
    locked: bool,
) -> Result<Vec<tokio_postgres::Row>, Error> {
    let (except, after) = match wanted {
        Wanted::Next { except, after } => (except, after),
        Wanted::These(these) => return lock(transaction, statements, these, limits).await,
    };
    let limit = limits.rows();
    let given = [(except as _, Type::UUID_ARRAY), (&limit as _, Type::INT8)];
    let (first, behind) = if locked {
        (&statements.lock, &statements.lock_after)
    } else {
        (&statements.first, &statements.first_after)
    };
    let Some((at, id)) = after else {
        return transaction.query_typed(first, &given).await;
    };
    let [except, limit] = given;
    let given = [except, limit, (at as _, Type::TEXT), (id as _, Type::UUID)];
    transaction.query_typed(behind, &given).await
}

/// Those of these rows that are unsent and not locked by others, locked, with their sizes.
async fn lock(
    transaction: &Transaction<'_>,
    statements: &Statements,
    these: &Vec<Uuid>,
    limits: &Limits,
) -> Result<Vec<tokio_postgres::Row>, Error> {
    let limit = limits.rows();
    let given = [(these as _, Type::UUID_ARRAY), (&limit as _, Type::INT8)];
    transaction
        .query_typed(&statements.lock_these, &given)
        .await
}

async fn keep(client: &Client, rows: &[Uuid]) -> Result<(), SinkError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.to_vec();
    let kept = client
        .query_typed(
            "select pg_try_advisory_lock(hashtextextended(id::text, $2)) from unnest($1) as id",
            &[(&rows, Type::UUID_ARRAY), (&KEEP_SALT, Type::INT8)],
        )
        .await;
    kept.map(drop)
        .map_err(|error| failed("keeping rows", &error))
}

/// Whether the columns are there, and of types that can be read.
async fn look(client: &Client, statements: &Statements) -> Result<(), SinkError> {
    let statement = client.prepare(&statements.look).await;
    let statement = statement.map_err(|error| failed("looking at the table", &error))?;
    let uuid = [Type::UUID];
    let any: [Type; 0] = [];
    let json = [Type::JSONB, Type::JSON, Type::TEXT, Type::VARCHAR];
    let time = [Type::TIMESTAMPTZ, Type::TIMESTAMP];
    let integer = [Type::INT4, Type::INT2, Type::INT8];
    let wanted: [&[Type]; 7] = [&uuid, &uuid, &any, &json, &time, &integer, &time];
    for (column, wanted) in statement.columns().iter().zip(wanted) {
        if let (false, Some(best)) = (wanted.contains(column.type_()), wanted.first()) {
            let message = format!(
                "looking at the table: the column {:?} is {}, where {best} is needed",
                column.name(),
                column.type_(),
            );
            return Err(SinkError::halt("wrong_type", message).with_hint(NAMES_HINT));
        }
    }
    Ok(())
}

fn read(row: &tokio_postgres::Row) -> Result<Row, Error> {
    Ok(Row {
        id: row.try_get(0)?,
        aggregate_id: row.try_get(1)?,
        event_type: row.try_get(2)?,
        payload: row.try_get(3)?,
        occurred_at: row.try_get(4)?,
        is_never: row.try_get(5)?,
        version: row.try_get(6)?,
    })
}

/// What it means that the server did not do something. Whatever it is, another connection is tried.
fn failed(tried: &str, error: &Error) -> SinkError {
    let Some(server) = error.as_db_error() else {
        return SinkError::retry("database", format!("{tried}: {}", in_full(error)));
    };
    let message = format!("{tried}: the server says {}", said(server));
    // Syntax, names and rights; no such database, schema or role.
    match server.code().code().get(..2) {
        Some("42" | "3D" | "3F" | "28" | "0A") => {
            SinkError::halt("database", message).with_hint(NAMES_HINT)
        }
        _ => SinkError::retry("database", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_are() {
        let options = Options {
            table: "out\"; drop table x; --".into(),
            columns: Columns {
                id: "Event Id".into(),
                ..Columns::default()
            },
            ..Options::default()
        };
        let statements = Statements::new(&options, Some("My \"schema"));
        assert_eq!(
            statements.may_mark,
            "update \"My \"\"schema\".\"out\"\"; drop table x; --\" set \"sent_at\" = \"sent_at\" \
             where false"
        );
        assert!(statements.lock.contains("\"Event Id\" <> all($1)"));
    }
}
