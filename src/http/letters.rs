//! Dead letters: listed, shown, sent again, discarded.

use hyper::{Response, StatusCode, http::request::Parts};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{
    answer::{self, Body},
    events,
    guard::Admitted,
    problem::{Kind, Problem},
};
use crate::{
    outbox::{Chosen, DeadLetter, Outbox},
    seq::Seq,
};

/// Which dead letters a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'p> {
    sink: &'p str,
    chosen: Chosen,
}

/// The answer to the list.
#[derive(Serialize)]
struct List {
    dead_letters: Vec<DeadLetter>,
}

/// One with its event.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    letter: DeadLetter,
    /// Absent once it is not held any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Line>,
}

/// An envelope, byte for byte.
struct Line(Vec<u8>);

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'p> Place<'p> {
    /// Reads `SINK` or `SINK/SEQ`.
    pub(super) fn find(rest: &'p str) -> Option<Self> {
        let (sink, chosen) = match rest.split_once('/') {
            None => (rest, Chosen::All),
            Some((sink, seq)) => {
                let is_plain = seq.bytes().all(|byte| byte.is_ascii_digit());
                let seq = seq.parse().ok().filter(|_| is_plain)?;
                (sink, Chosen::One(Seq::new(seq)))
            }
        };
        (!sink.is_empty()).then_some(Self { sink, chosen })
    }
}

/// Those of every sink, or of the one that `sink=NAME` asks for.
pub(super) fn list(outbox: &Outbox, query: Option<&str>) -> Result<Response<Body>, Problem> {
    let sink = match query {
        None | Some("") => None,
        Some(query) => {
            let sink = query.strip_prefix("sink=");
            Some(sink.filter(|name| !name.contains('&')).ok_or_else(|| {
                Problem::new(Kind::BadRequest, "a query parameter other than sink")
                    .hint("ask for /v1/dead-letters, or /v1/dead-letters?sink=NAME")
            })?)
        }
    };
    let dead_letters = outbox.dead_letters(sink)?;
    Ok(answer::json(StatusCode::OK, &List { dead_letters }))
}

/// Those of a sink, or one of them with its event.
pub(super) fn show(outbox: &Outbox, place: &Place<'_>) -> Result<Response<Body>, Problem> {
    let mut dead_letters = outbox.dead_letters(Some(place.sink))?;
    let Chosen::One(seq) = place.chosen else {
        return Ok(answer::json(StatusCode::OK, &List { dead_letters }));
    };
    dead_letters.retain(|letter| letter.seq == seq);
    let letter = dead_letters.pop().ok_or_else(|| {
        let detail = format!("event {seq} is no dead letter of sink {:?}", place.sink);
        Problem::new(Kind::DeadLetterUnknown, detail)
    })?;
    let envelope = outbox.dead_letter_envelope(seq)?.map(Line);
    Ok(answer::json(StatusCode::OK, &Whole { letter, envelope }))
}

/// Has them sent again. No page of another site may ask for it, whatever its origin.
pub(super) async fn retry(
    outbox: &Outbox,
    place: &Place<'_>,
    head: &Parts,
    admitted: &Admitted,
) -> Result<Response<Body>, Problem> {
    if admitted.origin.is_some() {
        let detail = "pages of other sites may not have dead letters sent again";
        return Err(Problem::new(Kind::OriginNotAllowed, detail));
    }
    // Not what a form can send.
    events::mode(&head.headers)?;
    let changed = outbox.retry_dead_letters(place.sink, place.chosen).await?;
    Ok(answer::json(StatusCode::OK, &changed))
}

/// Takes them off the list.
pub(super) async fn discard(outbox: &Outbox, place: &Place<'_>) -> Result<Response<Body>, Problem> {
    let changed = outbox
        .discard_dead_letters(place.sink, place.chosen)
        .await?;
    Ok(answer::json(StatusCode::OK, &changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_or_all_of_a_sink() {
        let place = |sink, chosen| Some(Place { sink, chosen });
        assert_eq!(Place::find("hub"), place("hub", Chosen::All));
        let one = Chosen::One(Seq::new(17));
        assert_eq!(Place::find("hub/17"), place("hub", one));
        for path in [
            "",
            "/",
            "/17",
            "hub/",
            "hub/+1",
            "hub/17/",
            "hub/17/retry",
            "hub/x",
        ] {
            assert_eq!(Place::find(path), None, "{path}");
        }
    }
}
