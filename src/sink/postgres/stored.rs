//! Reading back: what of an in-doubt range the table holds.

use std::collections::HashMap;

use tokio::time::timeout;
use tokio_postgres::{Client, Error, types::Type};

use crate::{
    envelope::{DeviceName, Digest},
    seq::Seq,
    sink::{
        InDoubt, MAX_FOREIGN, Position, ReadBack, SinkError,
        postgres::{link::Site, refusal},
    },
};

/// Looks at everything of the epoch beyond what is settled, in the order of the key. Another
/// journal's events (a cloned card) can be many, so the answer is bounded; where it is cut off, it
/// says that it is not complete.
///
/// # Errors
/// The session is lost.
pub(super) async fn read_back(
    client: &Client,
    site: &Site,
    device: &DeviceName,
    doubt: &InDoubt,
) -> Result<ReadBack, SinkError> {
    let tried = format!("reading back from {}", site.server);
    let failed = |error: Error| refusal::of_question(&tried, &error, &site.tables);
    let question = format!(
        "select seq, digest from {} where device = $1 and epoch = $2 and seq > $3 \
         order by seq, digest limit $4",
        site.tables.events
    );
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let limit = doubt.events.len() + MAX_FOREIGN;
    let (name, epoch) = (device.as_str(), *doubt.epoch.as_uuid());
    let (acked, most) = (number(doubt.acked.get()), number(limit as u64));
    let answer = timeout(
        site.options.ack_timeout,
        client.query_typed(
            &question,
            &[
                (&name, Type::TEXT),
                (&epoch, Type::UUID),
                (&acked, Type::INT8),
                (&most, Type::INT8),
            ],
        ),
    )
    .await;
    let Ok(answer) = answer else {
        let error = format!("{tried}: no answer within {:?}", site.options.ack_timeout);
        return Err(SinkError::retry("no_answer", error));
    };
    let rows = answer.map_err(failed)?;
    let wanted: HashMap<Seq, Digest> = doubt.events.iter().copied().collect();
    let mut back = ReadBack {
        complete: rows.len() < limit,
        ..ReadBack::default()
    };
    for row in &rows {
        let seq: i64 = row.try_get(0).map_err(failed)?;
        let digest: &[u8] = row.try_get(1).map_err(failed)?;
        // Neither is of our making where it does not fit: somebody else wrote it.
        let (Ok(seq), Ok(digest)) = (u64::try_from(seq), <[u8; 32]>::try_from(digest)) else {
            continue;
        };
        let (seq, digest) = (Seq::new(seq), Digest::from_bytes(digest));
        if wanted.get(&seq) == Some(&digest) {
            back.found.push((seq, Position::default()));
        } else if back.foreign.len() < MAX_FOREIGN {
            back.foreign.push((seq, digest));
        }
    }
    back.complete |= back.found.len() == doubt.events.len();
    Ok(back)
}
