//! Tails: how far devices say that their journals go, so that what is withheld at the end shows.

use std::collections::BTreeMap;

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    rows::{get, number},
    settle,
};
use crate::{signing::KeyId, tail::Tail};

/// A tail that its key signed.
pub(super) struct ProvenTail {
    pub(super) tail: Tail,
    pub(super) key_id: KeyId,
}

/// Takes the tails of epochs that are their keys'; gives how many. One of an epoch of which no event
/// was taken yet says nothing that could be held against anybody: the next one will.
pub(super) async fn take(
    transaction: &Transaction<'_>,
    tails: Vec<ProvenTail>,
) -> Result<usize, HubError> {
    let device: Vec<&str> = tails.iter().map(|it| it.tail.device.as_str()).collect();
    let epoch: Vec<Uuid> = tails.iter().map(|it| *it.tail.epoch.as_uuid()).collect();
    let seq: Vec<i64> = tails.iter().map(|it| number(it.tail.seq.get())).collect();
    let key_id: Vec<&[u8]> = tails.iter().map(|it| &it.key_id.as_bytes()[..]).collect();
    let answer = transaction
        .query_typed(
            "select batch.place from unnest($1, $2, $3, $4) with ordinality \
             as batch (device, epoch, seq, key_id, place) \
             join edge_outbox_hub.epochs e on e.device = batch.device \
             and e.epoch = batch.epoch and e.key_id = batch.key_id \
             join edge_outbox_hub.device_keys k on k.device = batch.device \
             and k.key_id = batch.key_id \
             where k.revoked_at is null or batch.epoch = any(k.epochs_before) \
             or batch.epoch = k.revoked_epoch and batch.seq <= k.revoked_seq",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("asking whose tails these are")?;
    // Of one epoch the furthest counts.
    let mut furthest: BTreeMap<settle::Chain, Tail> = BTreeMap::new();
    for row in &answer {
        let place = usize::try_from(get::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        let Some(ProvenTail { tail, .. }) = tails.get(place) else {
            continue;
        };
        let chain = (tail.device.as_str().to_owned(), *tail.epoch.as_uuid());
        match furthest.get(&chain) {
            Some(held) if held.seq >= tail.seq => {}
            _ => drop(furthest.insert(chain, tail.clone())),
        }
    }
    let taken = answer.len();
    settle::reach(transaction, furthest).await?;
    Ok(taken)
}
