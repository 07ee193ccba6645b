//! A hub's receipts, and the tails that it is sent.
//!
//! Receipts are listened for as they are published, and the newest for each epoch is fetched at the
//! beginning, from the stream that keeps the last of each subject. Whoever may not ask it, or where
//! there is none, hears the next one.

use async_nats::{HeaderMap, StatusCode};

use crate::{
    envelope::DeviceName,
    sink::{
        Outcome, SinkError, WayBack,
        nats::{
            link::{Link, Unanswered},
            stored::NextMessage,
        },
    },
};

/// The stream that keeps the newest receipt and tail of each subject.
const HUB_STREAM: &str = "EDUPULSE_HUB";

/// Receipts that are fetched at most, one for each epoch of which the stream knows.
const MAX_FETCHED: usize = 16;

/// The header that says where in the stream a message stands.
const POSITION: &str = "Nats-Sequence";

/// Begins to listen, and gives what the stream keeps.
///
/// # Errors
/// The session is lost.
pub(super) async fn open(
    link: &mut Link,
    way_back: &WayBack,
    device: &DeviceName,
) -> Result<Vec<Outcome>, SinkError> {
    let receipts = format!("{}.{device}.*", way_back.receipts);
    let tails = format!("{}.{device}", way_back.tails);
    // First, so that nothing falls between the two.
    link.open_way_back(receipts.clone(), tails).await?;
    let subject = format!("$JS.API.DIRECT.GET.{HUB_STREAM}");
    let mut kept = Vec::new();
    let mut from = 1;
    while kept.len() < MAX_FETCHED {
        let question = NextMessage {
            from,
            filter: &receipts,
        };
        let answer = match link.ask(&subject, &question).await {
            Ok(answer) => answer,
            Err(Unanswered::Denied | Unanswered::NoResponders) => break,
            Err(Unanswered::Lost(error)) => return Err(error),
        };
        let position = answer.headers.as_ref().and_then(position);
        // A status: there is no further one, or the question is not understood.
        let Some(position) =
            position.filter(|_| answer.status.is_none_or(|it| it == StatusCode::OK))
        else {
            break;
        };
        kept.push(Outcome::Receipt(answer.payload));
        from = position.saturating_add(1);
    }
    Ok(kept)
}

fn position(headers: &HeaderMap) -> Option<u64> {
    headers.get(POSITION)?.as_str().parse().ok()
}
