//! What devices are told: how far their chains are safe, and what is missing.

use tokio_postgres::{Row, Transaction, types::Type};
use uuid::Uuid;

use super::{
    Chains,
    error::{HubError, Tried as _},
    rows::{get, read_digest},
    settle::Chain,
};
use crate::{
    digest::Digest,
    envelope::Epoch,
    receipt::{MAX_MISSING, Receipt},
    seq::{Seq, SeqRange},
};

/// The receipts of these chains. Their devices stay locked until the end of the transaction, so of two
/// receipts for one chain the one with the higher generation says the later thing, whichever hub
/// makes it. The database's name is read with the rest: it changes while hubs run.
pub(super) async fn make(
    transaction: &Transaction<'_>,
    chains: &Chains,
) -> Result<Vec<Receipt>, HubError> {
    let device: Vec<&str> = chains.keys().map(|(device, _)| &**device).collect();
    let epoch: Vec<Uuid> = chains.keys().map(|(_, epoch)| *epoch).collect();
    transaction
        .query_typed(
            "select device from edge_outbox_hub.devices where device = any($1) order by device \
             for no key update",
            &[(&device, Type::TEXT_ARRAY)],
        )
        .await
        .tried("locking devices")?;
    let most = MAX_MISSING as i64;
    let answer = transaction
        .query_typed(
            "select asked.device, asked.epoch, nextval('edge_outbox_hub.receipt_generation'), \
             e.complete_to, coalesce(e.complete_digest, \
             case when e.tail_seq = e.complete_to then e.tail_digest end, \
             (select s.previous_digest from edge_outbox_hub.epochs s where s.device = e.device \
             and s.previous_epoch = e.epoch and s.previous_seq = e.complete_to limit 1)), \
             (select count(*) from edge_outbox_hub.quarantine q \
             where q.device = asked.device and q.epoch = asked.epoch), g.first_seqs, g.last_seqs, \
             (select hub from edge_outbox_hub.schema_version), b.seq, b.digest from unnest($1, $2) as asked (device, epoch) \
             left join edge_outbox_hub.epochs e \
             on e.device = asked.device and e.epoch = asked.epoch \
             left join lateral (select array_agg(first_seq order by first_seq) as first_seqs, \
             array_agg(last_seq order by first_seq) as last_seqs from ( \
             select greatest(first_seq, e.complete_to + 1) as first_seq, last_seq \
             from edge_outbox_hub.gap_rows where device = e.device and epoch = e.epoch \
             and declared is null and last_seq > e.complete_to order by 1 limit $3) as open) g \
             on true \
             left join lateral (select p.seq, p.digest from edge_outbox_hub.positions p \
             where e.complete_digest is null and p.device = e.device and p.epoch = e.epoch \
             and p.seq < e.complete_to order by p.seq desc, p.received_at, p.digest limit 1) b \
             on true",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&most, Type::INT8),
            ],
        )
        .await
        .tried("reading what devices may be told")?;
    answer.iter().map(|row| receipt(row, chains)).collect()
}

fn receipt(row: &Row, chains: &Chains) -> Result<Receipt, HubError> {
    let chain: Chain = (get(row, 0)?, get(row, 1)?);
    let unreadable = || HubError::Table("epochs");
    let accounted_to = get::<Option<i64>>(row, 3)?.map(seq);
    let digest = get::<Option<&[u8]>>(row, 4)?.and_then(read_digest);
    let missing = match accounted_to {
        Some(_) => {
            let firsts: Option<Vec<i64>> = get(row, 6)?;
            let lasts: Option<Vec<i64>> = get(row, 7)?;
            ranges(firsts.unwrap_or_default(), lasts.unwrap_or_default())
        }
        // Nothing is held: all that its tail speaks of is missing.
        None => {
            let asked = chains.get(&chain).copied().flatten();
            let whole = asked.and_then(|last| SeqRange::new(Seq::FIRST, last));
            whole.into_iter().collect()
        }
    };
    let mut accounted_to = accounted_to.unwrap_or(Seq::NONE);
    let digest = match (accounted_to, digest) {
        (Seq::NONE, _) => Digest::ZERO,
        (_, Some(digest)) => digest,
        // The last that is accounted for was declared lost, and nobody has told its digest: then it is
        // the last before the loss that the device can compare.
        (_, None) => {
            let before = get::<Option<i64>>(row, 9)?.map(seq);
            let digest = get::<Option<&[u8]>>(row, 10)?.and_then(read_digest);
            let before = before.zip(digest);
            accounted_to = before.map_or(Seq::NONE, |(seq, _)| seq);
            before.map_or(Digest::ZERO, |(_, digest)| digest)
        }
    };
    Ok(Receipt {
        hub: get(row, 8)?,
        generation: get::<i64>(row, 2)?.try_into().unwrap_or(0),
        device: chain.0.parse().map_err(|_| unreadable())?,
        epoch: Epoch::from_uuid(chain.1),
        accounted_to,
        digest,
        quarantined: get::<i64>(row, 5)?.try_into().unwrap_or(0),
        missing,
    })
}

/// Gaps that ascend, as ranges that do not touch.
fn ranges(firsts: Vec<i64>, lasts: Vec<i64>) -> Vec<SeqRange> {
    let mut ranges: Vec<SeqRange> = Vec::with_capacity(firsts.len());
    for (first, last) in firsts.into_iter().zip(lasts) {
        let (mut first, last) = (seq(first), seq(last));
        if let Some(before) = ranges.last().copied()
            && first <= before.last().next()
        {
            first = before.first();
            ranges.pop();
        }
        ranges.extend(SeqRange::new(first, last));
    }
    ranges
}

fn seq(number: i64) -> Seq {
    Seq::new(number.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_that_touch_are_one_missing_range() {
        let told = |gaps: &[(i64, i64)]| -> Vec<(u64, u64)> {
            let (firsts, lasts) = gaps.iter().copied().unzip();
            let ranges = ranges(firsts, lasts).into_iter();
            ranges
                .map(|it| (it.first().get(), it.last().get()))
                .collect()
        };
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[(3, 4), (6, 6)]), [(3, 4), (6, 6)]);
        assert_eq!(told(&[(3, 4), (5, 6), (8, 8)]), [(3, 6), (8, 8)]);
    }
}
