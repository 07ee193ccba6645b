//! Events as rows, and the one statement that stores a batch of them.

use std::{collections::HashSet, error::Error as StdError, pin::pin, sync::Arc};

use bytes::{BufMut as _, BytesMut};
use futures_util::TryStreamExt as _;
use tokio_postgres::{
    Client, Error, RowStream,
    types::{IsNull, ToSql, Type, accepts, to_sql_checked},
};
use uuid::Uuid;

use crate::{
    clock::{ClockSync, Timestamp},
    sink::{
        Beside, Columns, Parcel, PrivateColumns, SinkError,
        postgres::{json::fits_jsonb, tables::Tables},
    },
};

/// 2000-01-01T00:00:00Z in microseconds since 1970, from which the server counts.
const SERVER_EPOCH_US: i64 = 946_684_800_000_000;
/// What a row takes on the wire beside its payload, roughly, in bytes.
const ROW_BYTES: usize = 512;
/// What an array takes on the wire beside its elements, in bytes.
const HEADER_BYTES: usize = 20;
/// What stands before each element of an array: its length, in bytes.
const LENGTH_BYTES: usize = 4;

/// One event on its way into the table.
pub(super) struct Row {
    pub(super) parcel: Parcel,
    columns: Box<Columns>,
    seq: i64,
    boottime_us: i64,
    /// Whether the payload is tried as `jsonb`, too.
    json: bool,
}

impl Row {
    /// # Errors
    /// The parcel was not rendered for columns, which is a mistake of ours; or a number in it is
    /// beyond what the server counts to.
    pub(super) fn new(mut parcel: Parcel) -> Result<Self, SinkError> {
        let beside = std::mem::replace(&mut parcel.beside, Beside::Nothing);
        let Beside::Columns(columns) = beside else {
            return Err(SinkError::halt(
                "not_columns",
                format!("event {} came without its columns", parcel.seq),
            ));
        };
        let number = |what: &str, number: u64| {
            i64::try_from(number).map_err(|_| {
                SinkError::reject("out_of_range", format!("{what} {number} fits no bigint"))
            })
        };
        Ok(Self {
            seq: number("seq", parcel.seq.get())?,
            boottime_us: number("boottime_us", columns.clock.boottime_us)?,
            json: columns.private.is_some() && fits_jsonb(&parcel.body),
            parcel,
            columns,
        })
    }

    /// Rows are stored in this order, so that two statements wait for each other and never in a
    /// circle.
    pub(super) fn place(&self) -> (Uuid, i64) {
        (*self.parcel.epoch.as_uuid(), self.seq)
    }

    /// Whose event it is.
    pub(super) fn device(&self) -> &Arc<str> {
        &self.columns.device
    }

    /// Roughly what it takes on the wire.
    pub(super) fn bytes(&self) -> usize {
        ROW_BYTES + self.parcel.body.len()
    }

    /// Gives the payload as `jsonb` up; false where that was so already.
    pub(super) fn give_up_json(&mut self) -> bool {
        std::mem::replace(&mut self.json, false)
    }

    fn private(&self) -> Option<&PrivateColumns> {
        self.columns.private.as_ref()
    }

    fn payload(&self) -> Option<&[u8]> {
        self.private().map(|_| &*self.parcel.body)
    }

    fn path(&self) -> Vec<u8> {
        self.columns
            .path
            .iter()
            .flat_map(|node| node.as_bytes().iter().copied())
            .collect()
    }
}

/// A moment as the server counts it, to the microsecond.
#[derive(Debug)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl ToSql for Moment {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The years 1 to 9998 are far from either end.
        out.put_i64(self.0.as_micros() - SERVER_EPOCH_US);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// The statement that stores a batch; each parameter is a column of it. A row whose key is there
/// already, digest and all, is stored already. Any other unique index refuses it.
///
/// Its answer is the keys under which it stored rows: a trigger may throw one away or change it, and
/// the server's own count of them would not tell. Counting them there takes it longer than sending
/// them.
fn statement(tables: &Tables) -> String {
    format!(
        "insert into {} (device, epoch, seq, digest, id, original_id, event_type, event_version, source, \
         occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, \
         key_id, signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, \
         payload, payload_json) \
         select device, epoch, seq, digest, id, original_id, event_type, event_version, source, occurred_at, \
         clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, key_id, \
         signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, payload, \
         case when is_json then convert_from(payload, 'UTF8')::jsonb end \
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28) \
         as batch (device, epoch, seq, digest, id, original_id, event_type, event_version, source, \
         occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, \
         key_id, signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, \
         payload, is_json) \
         on conflict (device, epoch, seq, digest) do nothing \
         returning device, epoch, seq, digest",
        tables.events
    )
}

/// The question which rows of a batch are not in the table, by their places in it from 1.
fn question(tables: &Tables) -> String {
    format!(
        "select place from unnest($1, $2, $3, $4) with ordinality \
         as batch (device, epoch, seq, digest, place) \
         where not exists (select from {} as held where held.device = batch.device \
         and held.epoch = batch.epoch and held.seq = batch.seq and held.digest = batch.digest)",
        tables.events
    )
}

/// What the server is told and asked about a batch.
pub(super) struct Texts {
    statement: String,
    question: String,
}

impl Texts {
    pub(super) fn new(tables: &Tables) -> Self {
        Self {
            statement: statement(tables),
            question: question(tables),
        }
    }
}

/// Which rows of a batch, by their places from 0, the server has not, though it reported no error.
pub(super) type Absent = HashSet<usize>;

/// Stores a batch. Where the server stored fewer rows than it was given, it is asked which of
/// them it has: a repeat was there before, and what is not there was thrown away in silence.
pub(super) async fn store(
    client: Arc<Client>,
    texts: Arc<Texts>,
    rows: &[Row],
    parameters: Parameters,
) -> Result<Absent, Error> {
    let stored = insert(&client, &texts.statement, rows, parameters).await?;
    if stored == rows.len() {
        return Ok(Absent::new());
    }
    absent(&client, &texts.question, rows).await
}

async fn absent(client: &Client, question: &str, rows: &[Row]) -> Result<Absent, Error> {
    let of = &Column(rows);
    let places = client
        .query_typed(
            question,
            &[
                (&of.each(|row| &*row.columns.device), Type::TEXT_ARRAY),
                (
                    &of.each(|row| *row.parcel.epoch.as_uuid()),
                    Type::UUID_ARRAY,
                ),
                (&of.each(|row| row.seq), Type::INT8_ARRAY),
                (
                    &of.each(|row| row.parcel.digest.as_bytes().as_slice()),
                    Type::BYTEA_ARRAY,
                ),
            ],
        )
        .await?;
    let mut absent = Absent::new();
    for row in &places {
        let place: i64 = row.try_get(0)?;
        absent.extend(usize::try_from(place - 1));
    }
    Ok(absent)
}

/// Has the server plan the statement for no rows at all: it looks at rights, columns and the unique
/// index, and executes nothing, so that not even a trigger runs.
#[cfg(feature = "cli")]
pub(super) async fn rehearse(client: &Client, tables: &Tables) -> Result<(), Error> {
    let statement = format!("explain {}", statement(tables));
    let plan = run(client, &statement, parameters(&[])).await?;
    plan.try_for_each(|_| std::future::ready(Ok(()))).await
}

/// Runs the statement, and gives how many rows the server stored under the keys they were given.
async fn insert(
    client: &Client,
    statement: &str,
    rows: &[Row],
    parameters: Parameters,
) -> Result<usize, Error> {
    let mut answer = pin!(run(client, statement, parameters).await?);
    let mut given = rows.iter();
    let mut stored = 0;
    while let Some(key) = answer.try_next().await? {
        let device: &str = key.try_get(0)?;
        let epoch: Uuid = key.try_get(1)?;
        let seq: i64 = key.try_get(2)?;
        let digest: &[u8] = key.try_get(3)?;
        // They come in the order of the batch; in another one fewer would be found, and the server
        // asked.
        let found = given.any(|row| {
            *row.columns.device == *device
                && *row.parcel.epoch.as_uuid() == epoch
                && row.seq == seq
                && row.parcel.digest.as_bytes() == digest
        });
        stored += usize::from(found);
    }
    Ok(stored)
}

/// Rows of one statement, and its parameters as they go over the wire. Encoding them takes a while:
/// it is done while the server works on the statement before.
pub(super) struct Batch {
    rows: Vec<Row>,
    parameters: Parameters,
}

impl Batch {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let parameters = parameters(&rows);
        Self { rows, parameters }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn into_parts(self) -> (Vec<Row>, Parameters) {
        (self.rows, self.parameters)
    }
}

/// The columns of a batch, each with its type.
pub(super) type Parameters = Vec<(Parameter, Type)>;

/// A column as the server reads it, or why it cannot be written so.
#[derive(Debug)]
pub(super) struct Parameter(Result<BytesMut, String>);

impl Parameter {
    /// One that takes about so many bytes: a large one is not copied again and again as it grows.
    fn with_room(bytes: usize, values: &dyn ToSql, of: Type) -> (Self, Type) {
        let mut encoded = BytesMut::with_capacity(bytes);
        let written = values.to_sql_checked(&of, &mut encoded);
        let encoded = written.map(|_| encoded).map_err(|error| error.to_string());
        (Self(encoded), of)
    }
}

/// One of any size.
fn column(values: &dyn ToSql, of: Type) -> (Parameter, Type) {
    Parameter::with_room(0, values, of)
}

impl ToSql for Parameter {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_slice(self.0.as_deref().map_err(String::as_str)?);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Runs the statement, unnamed and with its types given: nothing of it stays at the server, so
/// that a pooler may give each one another connection. It is on its way after the first poll, and the
/// parameters are gone then.
async fn run(client: &Client, statement: &str, parameters: Parameters) -> Result<RowStream, Error> {
    client.query_typed_raw(statement, parameters).await
}

/// The columns that the statement takes.
fn parameters(rows: &[Row]) -> Parameters {
    let of = &Column(rows);
    let text = |value: fn(&Row) -> &str| of.each(value);
    let bytes = |value: fn(&Row) -> &[u8]| of.each(value);
    let small = |value: fn(&Row) -> u8| of.each(move |row| i16::from(value(row)));

    let device = text(|row| &row.columns.device);
    let epoch = of.each(|row| *row.parcel.epoch.as_uuid());
    let seq = of.each(|row| row.seq);
    let digest = bytes(|row| row.parcel.digest.as_bytes());
    let id = of.each(|row| row.parcel.id);
    let original_id = of.each(|row| row.columns.original_id.as_deref());
    let event_type = text(|row| &row.parcel.event_type);
    let event_version = of.each(|row| i32::from(row.columns.event_version));
    let source = text(|row| &row.columns.source);
    let occurred_at = of.each(|row| Moment(row.columns.occurred_at));
    let clock_wall = of.each(|row| Moment(row.columns.clock.wall));
    let clock_sync = text(|row| word(row.columns.clock.sync));
    let boot_id = of.each(|row| row.columns.clock.boot_id);
    let boottime_us = of.each(|row| row.boottime_us);
    let kind = text(|row| row.columns.kind.as_str());
    let prev = bytes(|row| row.columns.prev.as_bytes());
    let private_digest = bytes(|row| row.columns.private_digest.as_bytes());
    let key_id = bytes(|row| row.columns.key_id.as_bytes());
    let signature = bytes(|row| row.columns.signature.as_bytes());
    let leaf = small(|row| row.columns.leaf);
    let size = small(|row| row.columns.size);
    let path = of.each(Row::path);
    let redelivered = of.each(|row| row.parcel.redelivered);
    let aggregate_id = of.each(|row| row.private().map(|private| private.aggregate_id));
    let subject_id = of.each(|row| row.private().map(|private| &*private.subject_id));
    let salt = of.each(|row| row.private().map(|private| private.salt.as_slice()));
    let payload = of.each(Row::payload);
    let is_json = of.each(|row| row.json);
    let bodies = rows.iter().map(|row| LENGTH_BYTES + row.parcel.body.len());
    let bodies = HEADER_BYTES + bodies.sum::<usize>();

    vec![
        column(&device, Type::TEXT_ARRAY),
        column(&epoch, Type::UUID_ARRAY),
        column(&seq, Type::INT8_ARRAY),
        column(&digest, Type::BYTEA_ARRAY),
        column(&id, Type::UUID_ARRAY),
        column(&original_id, Type::TEXT_ARRAY),
        column(&event_type, Type::TEXT_ARRAY),
        column(&event_version, Type::INT4_ARRAY),
        column(&source, Type::TEXT_ARRAY),
        column(&occurred_at, Type::TIMESTAMPTZ_ARRAY),
        column(&clock_wall, Type::TIMESTAMPTZ_ARRAY),
        column(&clock_sync, Type::TEXT_ARRAY),
        column(&boot_id, Type::UUID_ARRAY),
        column(&boottime_us, Type::INT8_ARRAY),
        column(&kind, Type::TEXT_ARRAY),
        column(&prev, Type::BYTEA_ARRAY),
        column(&private_digest, Type::BYTEA_ARRAY),
        column(&key_id, Type::BYTEA_ARRAY),
        column(&signature, Type::BYTEA_ARRAY),
        column(&leaf, Type::INT2_ARRAY),
        column(&size, Type::INT2_ARRAY),
        column(&path, Type::BYTEA_ARRAY),
        column(&redelivered, Type::BOOL_ARRAY),
        column(&aggregate_id, Type::UUID_ARRAY),
        column(&subject_id, Type::TEXT_ARRAY),
        column(&salt, Type::BYTEA_ARRAY),
        Parameter::with_room(bodies, &payload, Type::BYTEA_ARRAY),
        column(&is_json, Type::BOOL_ARRAY),
    ]
}

/// Makes columns of rows.
struct Column<'a>(&'a [Row]);

impl<'a> Column<'a> {
    fn each<T>(&self, value: impl Fn(&'a Row) -> T) -> Vec<T> {
        self.0.iter().map(value).collect()
    }
}

/// The word in the table.
const fn word(sync: ClockSync) -> &'static str {
    match sync {
        ClockSync::No => "no",
        ClockSync::Yes => "yes",
        ClockSync::Unknown => "unknown",
    }
}
