//! `POST /v1/export` and `POST /v1/receipts`: what somebody carries to the hub, and back.

use hyper::{Response, StatusCode, http::request::Parts};

use super::{
    answer::{self, Body},
    events,
    guard::Admitted,
    problem::{Kind, Problem},
    upload::Upload,
};
use crate::{
    carry::ReceiptLine,
    forwarder::{Carried, set_out},
    outbox::Outbox,
};

/// Refuses what a page of another site can send, and whatever comes from one.
pub(super) fn check(head: &Parts, admitted: &Admitted) -> Result<(), Problem> {
    if admitted.origin.is_some() {
        let detail = "pages of other sites may not carry anything to the hub";
        return Err(Problem::new(Kind::OriginNotAllowed, detail));
    }
    events::mode(&head.headers).map(drop)
}

/// Says what may be carried away.
pub(super) async fn export(
    outbox: &Outbox,
    carried: Option<&Carried>,
) -> Result<Response<Body>, Problem> {
    let outgoing = set_out(outbox, carried).await?;
    Ok(answer::json(StatusCode::OK, &outgoing))
}

/// Takes in receipts, one a line as in the hub's file.
pub(super) async fn receipts(
    carried: Option<&Carried>,
    upload: Upload<'_>,
) -> Result<Response<Body>, Problem> {
    let carried = carried.ok_or_else(|| {
        Problem::new(Kind::BadRequest, "no sink of type carried is configured")
            .hint("add a section [sinks.NAME] with type = \"carried\"")
    })?;
    let lines = upload.bytes.split(|byte| *byte == b'\n');
    let messages: Vec<Vec<u8>> = lines
        .filter_map(|line| ReceiptLine::parse(line)?.message())
        .collect();
    drop(upload);
    let brought = carried.take(&messages).await?;
    Ok(answer::json(StatusCode::OK, &brought))
}
