//! Rows of events, in the tables of a Postgres sink or in the hub's own, as the envelopes that they
//! stand for, byte for byte.

use std::error::Error;

use tokio_postgres::{
    Row,
    types::{FromSql, Type, accepts},
};
use uuid::Uuid;

use super::{
    error::HubError,
    rows::{get, read_digest},
};
use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{Epoch, Kind, Path, Private, Record, Statement},
    seq::Seq,
    signing::{KeyId, Signature},
};

/// The columns of an event, in the order in which [`envelope`] reads them.
pub(super) const COLUMNS: &str = "t.device, t.epoch, t.seq, t.digest, t.id, t.original_id, \
    t.event_type, t.event_version, t.source, t.occurred_at, t.clock_wall, t.clock_sync, t.boot_id, \
    t.boottime_us, t.kind, t.prev, t.private_digest, t.key_id, t.signature, t.leaf, t.size, t.path, \
    t.redelivered, t.aggregate_id, t.subject_id, t.salt, t.payload";
/// How many there are: what follows them in a row begins here.
pub(super) const COUNT: usize = 27;

/// Seconds from 1970 to 2000, where the server's clock begins, in microseconds.
const SERVER_EPOCH_US: i64 = 946_684_800_000_000;

/// A moment as the server has it; `None` where that is none that an event can have.
struct Moment(Option<Timestamp>);

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let micros = micros.checked_add(SERVER_EPOCH_US);
        Ok(Self(micros.and_then(|it| Timestamp::from_micros(it).ok())))
    }

    accepts!(TIMESTAMPTZ);
}

/// The envelope of a row whose columns begin with [`COLUMNS`]; `None` where what they hold is no
/// event's. Nothing is proven by that.
///
/// # Errors
/// The columns are of other types.
pub(super) fn envelope(row: &Row) -> Result<Option<Vec<u8>>, HubError> {
    let salt: Option<&[u8]> = get(row, 25)?;
    let private = match (
        get::<Option<Uuid>>(row, 23)?,
        get::<Option<&str>>(row, 24)?,
        salt.and_then(|salt| <[u8; 16]>::try_from(salt).ok()),
        get::<Option<&[u8]>>(row, 26)?,
    ) {
        (Some(aggregate_id), Some(subject_id), Some(salt), Some(payload)) => Some(Private {
            salt,
            aggregate_id,
            subject_id,
            payload,
        }),
        _ => None,
    };
    let nodes: Vec<_> = get::<&[u8]>(row, 21)?
        .chunks(32)
        .map(read_digest)
        .collect::<Option<_>>()
        .unwrap_or_default();
    let record = || {
        let number = |at| u64::try_from(get::<i64>(row, at).ok()?).ok();
        let digest = |at| read_digest(get(row, at).ok()?);
        let moment = |at| get::<Moment>(row, at).ok()?.0;
        let small = |at| u8::try_from(get::<i16>(row, at).ok()?).ok();
        Some(Record {
            statement: Statement {
                kind: match get(row, 14).ok()? {
                    "program" => Kind::Program,
                    "ledger" => Kind::Ledger,
                    _ => return None,
                },
                key_id: KeyId(digest(17)?.0),
                device: get(row, 0).ok()?,
                epoch: Epoch::from_uuid(get(row, 1).ok()?),
                seq: Seq::new(number(2)?),
                id: get(row, 4).ok()?,
                original_id: get(row, 5).ok()?,
                event_type: get(row, 6).ok()?,
                event_version: u16::try_from(get::<i32>(row, 7).ok()?).ok()?,
                source: get(row, 8).ok()?,
                occurred_at: moment(9)?,
                clock: Stamp {
                    wall: moment(10)?,
                    sync: match get(row, 11).ok()? {
                        "yes" => ClockSync::Yes,
                        "no" => ClockSync::No,
                        "unknown" => ClockSync::Unknown,
                        _ => return None,
                    },
                    boot_id: get(row, 12).ok()?,
                    boottime_us: number(13)?,
                },
                prev: digest(15)?,
                private_digest: digest(16)?,
            },
            digest: digest(3)?,
            private,
            signature: Signature(get::<&[u8]>(row, 18).ok()?.try_into().ok()?),
            leaf: small(19)?,
            size: small(20)?,
            path: Path::from_nodes(&nodes)?,
        })
    };
    let Some(record) = record() else {
        return Ok(None);
    };
    let mut wire = Vec::with_capacity(1_024 + record.private.map_or(0, |it| it.payload.len()));
    record.render(get(row, 22)?, false, &mut wire);
    Ok(Some(wire))
}
