//! A session with core NATS: nobody stores, nobody confirms.
//!
//! The one thing that can be known is that the server has read an event: after a run of them an
//! empty message goes to the session's own inbox, and as the server works in order, everything
//! sent before it has been read when it comes back. Whether anybody was listening stays unknown.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::{Instant, sleep_until};

use crate::{
    envelope::DeviceName,
    seq::Seq,
    sink::{
        Outcome, Parcel, Position, SinkError,
        nats::{
            letter::{Letterhead, not_taken},
            link::{Arrival, Link, Token},
            options::NatsOptions,
            refusal::{self, Notice},
        },
    },
    status::{Guarantee, GuaranteeLevel},
};

pub(super) struct CoreSession {
    pub(super) link: Link,
    letterhead: Letterhead,
    options: Arc<NatsOptions>,
    ready: VecDeque<Outcome>,
    /// Sent, and not covered by an echo under way.
    sent: VecDeque<Seq>,
    echo: Option<Echo>,
}

/// A message to ourselves, under way.
struct Echo {
    token: Token,
    covers: VecDeque<Seq>,
    deadline: Instant,
}

impl CoreSession {
    pub(super) fn new(link: Link, options: &Arc<NatsOptions>, device: &DeviceName) -> Self {
        Self {
            link,
            letterhead: Letterhead::new(&options.subject, device, options.format, None),
            options: options.clone(),
            ready: VecDeque::new(),
            sent: VecDeque::new(),
            echo: None,
        }
    }

    pub(super) fn guarantee() -> Guarantee {
        Guarantee {
            level: GuaranteeLevel::AtMostOnce,
            unmet: vec!["set `mode = \"jetstream\"`: core NATS stores nothing".into()],
        }
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.options.max_in_flight
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        let subject = self.letterhead.subject(&parcel.event_type);
        let headers = self.letterhead.headers(&parcel);
        let (seq, bytes) = (parcel.seq, parcel.body.len());
        match self
            .link
            .publish_unanswered(subject, headers, parcel.body)
            .await
        {
            Ok(()) => self.sent.push_back(seq),
            Err(error) => {
                let max = self.link.max_payload();
                let error = not_taken(&error, bytes, max, self.link.server())?;
                self.ready.push_back(Outcome::Refused { seq, error });
            }
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.ready.pop_front().or_else(|| self.link.heard()) {
                return outcome;
            }
            if self.echo.is_none() && !self.sent.is_empty() {
                let Some(token) = self.link.echo() else {
                    return Outcome::Lost(refusal::disconnected(self.link.server()));
                };
                let covers = std::mem::take(&mut self.sent);
                let deadline = Instant::now() + self.options.ack_timeout;
                self.echo = Some(Echo {
                    token,
                    covers,
                    deadline,
                });
            }
            let deadline = self.echo.as_ref().map(|echo| echo.deadline);
            let arrival = tokio::select! {
                arrival = self.link.arrival() => arrival,
                () = until(deadline) => return Outcome::Lost(SinkError::retry(
                    "no_answer",
                    format!("{} read nothing for {:?}", self.link.server(), self.options.ack_timeout),
                )),
            };
            match arrival {
                Arrival::Answer(token, _) => {
                    if let Some(echo) = self.echo.take_if(|echo| echo.token == token) {
                        let stored = |seq| Outcome::Stored {
                            seq,
                            position: Position::default(),
                        };
                        self.ready.extend(echo.covers.into_iter().map(stored));
                    }
                }
                Arrival::Receipt(message) => return Outcome::Receipt(message),
                Arrival::Notice(Notice::Nothing) => {}
                Arrival::Notice(Notice::Lost(error)) => return Outcome::Lost(error),
                Arrival::Notice(Notice::PublishDenied { subject, said }) => {
                    let server = self.link.server();
                    return Outcome::Lost(refusal::publish_denied(server, &subject, &said));
                }
            }
        }
    }
}

/// Sleeps until the deadline, or for ever without one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
