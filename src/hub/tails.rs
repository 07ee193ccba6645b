//! Tails: how far devices say that their journals go, so that what is withheld at the end shows.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    rows::{get, number},
    settle::{self, Chain},
};
use crate::{seq::Seq, signing::KeyId, tail::Tail};

/// A tail that its key signed.
pub(super) struct ProvenTail {
    pub(super) tail: Tail,
    pub(super) key_id: KeyId,
}

/// Epochs of a device, the last that were heard of, that a tail is answered about: what is missing of
/// one that has ended is told by nobody else any more.
const ANSWERED_EPOCHS: i64 = 8;

/// What tails were good for.
pub(super) struct Told {
    /// How many of them count.
    pub(super) taken: usize,
    /// What their devices want to be told about. With the seq of a tail of an epoch that nothing is
    /// held of.
    pub(super) chains: BTreeMap<Chain, Option<Seq>>,
}

/// Takes the tails of epochs that are their keys'. One of an epoch of which no event was taken yet
/// says nothing that could be held against anybody: the next one will. But its device is answered.
pub(super) async fn take(
    transaction: &Transaction<'_>,
    tails: Vec<ProvenTail>,
) -> Result<Told, HubError> {
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
    let mut furthest: BTreeMap<Chain, Tail> = BTreeMap::new();
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
    let mut chains: BTreeMap<Chain, Option<Seq>> = BTreeMap::new();
    chains.extend(furthest.keys().map(|chain| (chain.clone(), None)));
    let taken = answer.len();
    settle::reach(transaction, furthest).await?;
    if taken < tails.len() {
        // Asked by a key that the device has, about an epoch that nobody has.
        let unheld = transaction
            .query_typed(
                "select batch.device, batch.epoch, max(batch.seq) \
                 from unnest($1, $2, $3, $4) as batch (device, epoch, seq, key_id) \
                 join edge_outbox_hub.device_keys k on k.device = batch.device \
                 and k.key_id = batch.key_id and k.revoked_at is null \
                 where not exists (select from edge_outbox_hub.epochs e \
                 where e.device = batch.device and e.epoch = batch.epoch) group by 1, 2",
                &[
                    (&device, Type::TEXT_ARRAY),
                    (&epoch, Type::UUID_ARRAY),
                    (&seq, Type::INT8_ARRAY),
                    (&key_id, Type::BYTEA_ARRAY),
                ],
            )
            .await
            .tried("asking who asks in these tails")?;
        for row in &unheld {
            let seq = get::<i64>(row, 2)?.try_into().unwrap_or(0);
            chains.insert((get(row, 0)?, get(row, 1)?), Some(Seq::new(seq)));
        }
    }
    let asking: BTreeSet<&str> = chains.keys().map(|(device, _)| &**device).collect();
    let asking: Vec<&str> = asking.into_iter().collect();
    let others = transaction
        .query_typed(
            "select d.device, e.epoch from unnest($1) as d (device) cross join lateral (select epoch \
             from edge_outbox_hub.epochs where device = d.device \
             order by last_contact desc limit $2) e",
            &[(&asking, Type::TEXT_ARRAY), (&ANSWERED_EPOCHS, Type::INT8)],
        )
        .await
        .tried("asking for the epochs of who sent tails")?;
    let others: Vec<Chain> = others
        .iter()
        .map(|row| Ok((get(row, 0)?, get(row, 1)?)))
        .collect::<Result<_, HubError>>()?;
    for chain in others {
        chains.entry(chain).or_default();
    }
    Ok(Told { taken, chains })
}
