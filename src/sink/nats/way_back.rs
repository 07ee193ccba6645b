//! A hub's receipts, and the tails that it is sent.
//!
//! Receipts are listened for as they are published, and the newest for each epoch is fetched at the
//! beginning, from the stream that keeps the last of each subject. Whoever may not ask it, or where
//! there is none, hears the next one.

use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::{
    envelope::DeviceName,
    sink::{
        SinkError, WayBack,
        nats::{
            link::{Link, MAX_HEARD, Unanswered},
            stored::NextMessage,
        },
    },
};

/// The stream that keeps the newest receipt and tail of each subject.
const HUB_STREAM: &str = "EDUPULSE_HUB";

/// Receipts that are fetched at most, one for each epoch of which the stream knows.
const MAX_FETCHED: usize = MAX_HEARD;

/// The header that says where in the stream a message stands.
const POSITION: &str = "Nats-Sequence";

/// Begins to listen, and asks for what the stream keeps, for so long at most: the link tells what
/// it heard. Without an answer the next receipt is waited for, as events wait for none of it.
///
/// # Errors
/// The session is lost.
pub(super) async fn open(
    link: &mut Link,
    way_back: &WayBack,
    device: &DeviceName,
    patience: Duration,
) -> Result<(), SinkError> {
    let receipts = format!("{}.{device}.*", way_back.receipts);
    let tails = format!("{}.{device}", way_back.tails);
    // First, so that nothing falls between the two.
    link.open_way_back(receipts.clone(), tails).await?;
    timeout(patience, fetch(link, &receipts))
        .await
        .unwrap_or(Ok(()))
}

async fn fetch(link: &mut Link, receipts: &str) -> Result<(), SinkError> {
    let subject = format!("$JS.API.DIRECT.GET.{HUB_STREAM}");
    let mut from = 1;
    for _ in 0..MAX_FETCHED {
        let question = NextMessage {
            from,
            filter: receipts,
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
        link.hear(answer.payload);
        from = position.saturating_add(1);
    }
    Ok(())
}

fn position(headers: &HeaderMap) -> Option<u64> {
    headers.get(POSITION)?.as_str().parse().ok()
}
