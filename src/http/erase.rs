//! `POST /v1/erase`: erasing a person.

use hyper::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    answer::{self, Body},
    events::{self, Mode},
    problem::{Kind, Problem},
    upload::Upload,
};
use crate::{ingest::body::Format, outbox::Outbox};

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The person: the aggregate or the subject of events.
    id: Uuid,
}

/// Refuses what a page of another site can send without a preflight.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    match events::mode(headers)? {
        Mode::Body(Format::Json | Format::NdJson) => Ok(()),
        Mode::Body(_) | Mode::Binary => Err(Problem::new(
            Kind::UnsupportedContentType,
            "another content type than is taken",
        )
        .hint("send application/json")),
    }
}

/// Erases a person. The answer says so only once nothing of it is left in the journal's file.
pub(super) async fn erase(outbox: &Outbox, upload: Upload<'_>) -> Result<Response<Body>, Problem> {
    let request: Request = serde_json::from_slice(&upload.bytes).map_err(|error| {
        Problem::new(Kind::BadRequest, format!("the body names nobody: {error}"))
            .hint("send {\"id\":\"…\"} with the UUID of the person")
    })?;
    // Erasing takes its time, and others want to upload.
    drop(upload);
    let erased = outbox.erase(request.id).await?;
    Ok(answer::json(StatusCode::OK, &erased))
}
