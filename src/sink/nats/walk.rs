//! Reading back: the walk over the device's messages in a stream.

use std::collections::{BTreeMap, HashMap};

use async_nats::Message;

use crate::{
    envelope::{DeviceName, Digest},
    seq::Seq,
    sink::{
        InDoubt, MAX_FOREIGN, Position, SinkError,
        nats::{
            link::{Link, Unanswered},
            refusal,
            stored::{MessageAnswer, NextMessage, StoredMessage, question_subject},
        },
    },
};

/// Questions that are on their way at once, at most.
const MAX_LOOKAHEAD: u64 = 64;
/// Answers that are in memory at once, about, in bytes.
const ANSWER_BYTES: usize = 1024 * 1024;

/// What of an in-doubt range was found in the stream.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) found: BTreeMap<Seq, Position>,
    pub(super) foreign: Vec<(Seq, Digest)>,
}

/// Walks over every message after `doubt.floor` that passes `filter`.
///
/// One question gives the first message at or after a position, so asking for one at a time costs
/// a round trip each. Instead the positions `p, p+1, … p+n−1` are asked for at once: whatever lies
/// among them is the answer to its own position, so nothing is missed, and the walk goes on behind
/// the answer to the last. Where the device's messages lie close together that is `n` messages a
/// round trip; where they do not, `n` shrinks to 1.
///
/// # Errors
/// [`Unanswered`], also where the stream went away meanwhile.
pub(super) async fn walk(
    link: &mut Link,
    stream: &str,
    filter: &str,
    device: &DeviceName,
    doubt: &InDoubt,
) -> Result<Walked, Unanswered> {
    let subject = question_subject(stream);
    let ours: HashMap<Seq, Digest> = doubt.events.iter().copied().collect();
    let mut walked = Walked::default();
    let mut last = doubt.floor;
    let mut lookahead = 1;
    loop {
        let questions: Vec<_> = (1..=lookahead)
            .map(|step| NextMessage {
                from: last.0.saturating_add(step),
                filter,
            })
            .collect();
        let answers = link.ask_all(&subject, &questions).await?;
        let mut met = 0;
        for answer in &answers {
            let Some(answer) = read(answer, stream).map_err(Unanswered::Lost)? else {
                return Ok(walked);
            };
            if answer.position() > last {
                last = answer.position();
                met += 1;
                walked.note(&answer, device, doubt, &ours);
            }
        }
        if met == 0 {
            // It would go on for ever.
            let message = format!("reading back from stream {stream}: an answer out of order");
            return Err(Unanswered::Lost(SinkError::retry("bad_answer", message)));
        }
        lookahead = next_lookahead(lookahead, met, answers.iter().map(|a| a.length).max());
    }
}

impl Walked {
    fn note(
        &mut self,
        message: &StoredMessage<'_>,
        device: &DeviceName,
        doubt: &InDoubt,
        ours: &HashMap<Seq, Digest>,
    ) {
        let Some(event) = message.event() else { return };
        if event.device != *device || event.seq <= doubt.acked {
            return;
        }
        // The digest covers the epoch: what is in doubt may be older than the current one.
        if ours.get(&event.seq) == Some(&event.digest) {
            self.found.entry(event.seq).or_insert(message.position());
        } else if event.epoch == doubt.epoch {
            // The journal may know the first ones after all; the last one tells how far it is behind.
            self.foreign.truncate(MAX_FOREIGN - 1);
            self.foreign.push((event.seq, event.digest));
        }
    }
}

/// A message, or `None` behind the last one.
pub(super) fn read<'a>(
    answer: &'a Message,
    stream: &str,
) -> Result<Option<StoredMessage<'a>>, SinkError> {
    let what = || format!("reading back from stream {stream}");
    match serde_json::from_slice::<MessageAnswer<'_>>(&answer.payload) {
        Ok(answer) if answer.is_end() => Ok(None),
        Ok(MessageAnswer {
            error: Some(error), ..
        }) => Err(refusal::of_jetstream(&what(), &error)),
        Ok(MessageAnswer {
            message: Some(message),
            ..
        }) => Ok(Some(message)),
        Ok(_) => Err(SinkError::retry(
            "bad_answer",
            format!("{}: an empty answer", what()),
        )),
        Err(error) => Err(SinkError::retry(
            "bad_answer",
            format!("{}: {error}", what()),
        )),
    }
}

fn next_lookahead(lookahead: u64, met: u64, largest: Option<usize>) -> u64 {
    let wanted = if met * 2 > lookahead {
        lookahead * 2
    } else {
        lookahead / 2
    };
    let room = ANSWER_BYTES / largest.unwrap_or(1).max(1);
    wanted
        .min(u64::try_from(room).unwrap_or(MAX_LOOKAHEAD))
        .clamp(1, MAX_LOOKAHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_looks_further_ahead_where_it_pays_and_within_memory() {
        assert_eq!(next_lookahead(1, 1, Some(100)), 2);
        assert_eq!(next_lookahead(64, 64, Some(100)), MAX_LOOKAHEAD);
        assert_eq!(next_lookahead(64, 3, Some(100)), 32);
        assert_eq!(next_lookahead(1, 1, Some(ANSWER_BYTES)), 1);
        assert_eq!(next_lookahead(64, 64, Some(ANSWER_BYTES / 3)), 3);
        assert_eq!(next_lookahead(8, 8, Some(ANSWER_BYTES * 2)), 1);
    }
}
