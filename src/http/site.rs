//! The paths, and what each of them does.

use std::{borrow::Cow, path::Path};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    http::request::Parts,
};
use serde::Serialize;

#[cfg(feature = "carry")]
use super::carry;
use super::{
    answer::{self, Body},
    erase, events,
    guard::{self, Admitted, Entrance, Guard},
    letters::{self, Place},
    metrics,
    options::HttpOptions,
    page,
    problem::{Kind, Problem},
    socket::Unread,
    stopping::Stopping,
    upload::{Arriving, Uploads},
};
use crate::{
    outbox::Outbox,
    status::{DiskStatus, JournalState},
};

/// Everything that the connections of a listener share.
pub(super) struct Site {
    outbox: Outbox,
    guard: Guard,
    uploads: Uploads,
    /// What the listener was set to.
    pub(super) options: HttpOptions,
    /// Ends what would go on for ever.
    pub(super) stopping: Stopping,
}

/// What there is to ask for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    Page,
    Events,
    Event(&'p str),
    Sink(&'p str),
    Letters,
    Letter(Place<'p>),
    LetterRetry(Place<'p>),
    Erase,
    #[cfg(feature = "carry")]
    Export,
    #[cfg(feature = "carry")]
    Receipts,
    Status,
    Metrics,
    History,
    Health,
}

/// The answer of `/healthz`.
#[derive(Serialize)]
struct Health {
    status: JournalState,
}

impl Site {
    pub(super) fn new(outbox: Outbox, options: HttpOptions, stopping: Stopping) -> Self {
        let (guard, uploads) = (Guard::new(&options), Uploads::new(&options));
        Self {
            outbox,
            guard,
            uploads,
            options,
            stopping,
        }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(
        &self,
        entrance: Entrance,
        unread: &Unread,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut body = Arriving::new(body);
        let (mut response, origin) = match self.guard.admit(entrance, &head) {
            Ok(admitted) => {
                let response = self.serve(entrance, &head, &mut body, &admitted).await;
                (
                    response.unwrap_or_else(Problem::into_response),
                    admitted.origin,
                )
            }
            Err(problem) => (problem.into_response(), None),
        };
        let headers = response.headers_mut();
        if !body.has_ended() {
            unread.set();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static("retry-after");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        response
    }

    async fn serve(
        &self,
        entrance: Entrance,
        head: &Parts,
        body: &mut Arriving,
        admitted: &Admitted,
    ) -> Result<Response<Body>, Problem> {
        if let Some(headers) = guard::preflight(head, admitted) {
            let mut response = answer::with(StatusCode::NO_CONTENT, Body::empty());
            *response.headers_mut() = headers;
            return Ok(response);
        }
        let path = decode(head.uri.path());
        let route = path.as_deref().and_then(Route::find);
        // Whether the outbox is well is no secret, and what asks for it often holds none. The page
        // holds nothing, and asks for the token.
        if !matches!(route, Some(Route::Health | Route::Page)) {
            self.guard.check_token(entrance, &head.headers)?;
        }
        let Some(route) = route else {
            return Err(
                Problem::new(Kind::NotFound, "there is nothing at this path").hint(
                    "there are POST /v1/events, GET /v1/events?from=SEQ, GET /v1/events/{id}, \
                     GET /v1/status, GET /v1/history, DELETE /v1/sinks/{name}, POST /v1/erase, \
                     GET /v1/dead-letters, GET and DELETE /v1/dead-letters/{sink}/{seq}, \
                     POST /v1/dead-letters/{sink}/{seq}/retry, GET /metrics, \
                     GET /healthz, and GET / with a page for people",
                ),
            );
        };
        match (&head.method, &route) {
            (&Method::OPTIONS, _) => {
                let mut response = answer::with(StatusCode::NO_CONTENT, Body::empty());
                let allow = HeaderValue::from_static(route.methods());
                response.headers_mut().insert(header::ALLOW, allow);
                Ok(response)
            }
            (&Method::POST, Route::Events) => {
                let mode = events::mode(&head.headers)?;
                let upload = self.uploads.read(body).await?;
                events::append(&self.outbox, mode, &head.headers, upload).await
            }
            (&Method::POST, Route::Erase) => {
                erase::check_type(&head.headers)?;
                let upload = self.uploads.read(body).await?;
                erase::erase(&self.outbox, upload).await
            }
            #[cfg(feature = "carry")]
            (&Method::POST, Route::Export) => {
                carry::check(head, admitted)?;
                // Read, so that the connection goes on: the events are asked for on it.
                drop(self.uploads.read(body).await?);
                carry::export(&self.outbox, self.options.carried.as_ref()).await
            }
            #[cfg(feature = "carry")]
            (&Method::POST, Route::Receipts) => {
                carry::check(head, admitted)?;
                let upload = self.uploads.read(body).await?;
                carry::receipts(self.options.carried.as_ref(), upload).await
            }
            (&Method::DELETE, Route::Sink(name)) => {
                let forgotten = self.outbox.forget(name).await?;
                Ok(answer::json(StatusCode::OK, &forgotten))
            }
            (&Method::POST, Route::LetterRetry(place)) => {
                letters::retry(&self.outbox, place, head, admitted).await
            }
            (&Method::DELETE, Route::Letter(place)) => letters::discard(&self.outbox, place).await,
            // The answer to HEAD is that to GET; the connection leaves the body out.
            (&Method::GET | &Method::HEAD, _) => match route {
                Route::Events => {
                    events::stream(&self.outbox, head.uri.query(), self.stopping.clone())
                }
                Route::Event(id) => events::find(&self.outbox, id).await,
                Route::Letters => letters::list(&self.outbox, head.uri.query()),
                Route::Letter(place) => letters::show(&self.outbox, &place),
                Route::Sink(_) | Route::LetterRetry(_) | Route::Erase => {
                    Err(Problem::method_not_allowed(route.methods()))
                }
                #[cfg(feature = "carry")]
                Route::Export | Route::Receipts => {
                    Err(Problem::method_not_allowed(route.methods()))
                }
                Route::Page => Ok(page::answer(&head.headers)),
                Route::Status => Ok(self.status()),
                Route::Metrics => Ok(metrics::answer(&self.outbox, &head.headers)),
                Route::History => Ok(answer::json(StatusCode::OK, &self.outbox.history())),
                Route::Health => Ok(health(self.outbox.status().borrow().journal.state)),
            },
            _ => Err(Problem::method_not_allowed(route.methods())),
        }
    }

    fn status(&self) -> Response<Body> {
        let mut status = self.outbox.status().borrow().clone();
        status.journal.disk = disk(&status.journal.dir);
        answer::json(StatusCode::OK, &status)
    }
}

/// The disk that holds this directory.
fn disk(dir: &Path) -> Option<DiskStatus> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(DiskStatus {
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
    })
}

/// Well is a journal that takes appends.
fn health(state: JournalState) -> Response<Body> {
    let status = match state {
        JournalState::Open => StatusCode::OK,
        JournalState::Full | JournalState::Reopening | JournalState::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    answer::json(status, &Health { status: state })
}

impl<'p> Route<'p> {
    fn find(path: &'p str) -> Option<Self> {
        match path {
            page::PATH => Some(Self::Page),
            "/v1/events" => Some(Self::Events),
            "/v1/erase" => Some(Self::Erase),
            #[cfg(feature = "carry")]
            "/v1/export" => Some(Self::Export),
            #[cfg(feature = "carry")]
            "/v1/receipts" => Some(Self::Receipts),
            "/v1/status" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            "/v1/history" => Some(Self::History),
            "/healthz" => Some(Self::Health),
            "/v1/dead-letters" => Some(Self::Letters),
            _ => {
                let below = |parent| {
                    let name = path.strip_prefix(parent)?;
                    (!name.is_empty() && !name.contains('/')).then_some(name)
                };
                let event = below("/v1/events/").map(Self::Event);
                let letter = || {
                    let rest = path.strip_prefix("/v1/dead-letters/")?;
                    match rest.strip_suffix("/retry") {
                        Some(rest) => Place::find(rest).map(Self::LetterRetry),
                        None => Place::find(rest).map(Self::Letter),
                    }
                };
                let sink = || below("/v1/sinks/").map(Self::Sink);
                event.or_else(sink).or_else(letter)
            }
        }
    }

    const fn methods(&self) -> &'static str {
        match self {
            Self::Events => "GET, HEAD, OPTIONS, POST",
            Self::Sink(_) => "DELETE, OPTIONS",
            Self::Letter(_) => "DELETE, GET, HEAD, OPTIONS",
            Self::LetterRetry(_) => "OPTIONS, POST",
            Self::Erase => "OPTIONS, POST",
            #[cfg(feature = "carry")]
            Self::Export | Self::Receipts => "OPTIONS, POST",
            Self::Page
            | Self::Event(_)
            | Self::Letters
            | Self::Status
            | Self::History
            | Self::Metrics
            | Self::Health => "GET, HEAD, OPTIONS",
        }
    }
}

/// Undoes the percent-encoding of a path; `None` where it is wrong. An encoded slash is no
/// separator, and no path here has one.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?)
                    .ok()
                    .filter(|byte| *byte != b'/')?
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_percent_encoded_but_a_slash_in_it_is_none() {
        let route = |path: &str| decode(path).map(|path| format!("{:?}", Route::find(&path)));
        assert_eq!(route("/v1/events").unwrap(), "Some(Events)");
        assert_eq!(
            route("/%76%31/events/%61%2D1").unwrap(),
            "Some(Event(\"a-1\"))"
        );
        assert_eq!(route("/v1%2Fevents"), None);
        assert_eq!(route("/%"), None);
        assert_eq!(route("/%7"), None);
        assert_eq!(route("/%zz"), None);
        assert_eq!(route("/%ff"), None);
    }

    #[test]
    fn health_is_503_while_no_appends_are_taken() {
        let code = |state| health(state).status().as_u16();
        assert_eq!(code(JournalState::Open), 200);
        assert_eq!(code(JournalState::Full), 503);
        assert_eq!(code(JournalState::Reopening), 503);
    }

    #[test]
    fn only_whole_paths_are_routes() {
        for path in [
            "//",
            "",
            "*",
            "/v1/events/",
            "/v1/events/a/b",
            "/v1/sinks",
            "/v1/sinks/",
            "/v1/sinks/a/b",
            "/v1",
            "/v1/status/",
            "/V1/status",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }
}
