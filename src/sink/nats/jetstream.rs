//! A session with JetStream: pipelined, each event answered by the stream.

use std::{collections::VecDeque, sync::Arc};

use async_nats::{Message, jetstream};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    envelope::{DeviceName, Digest},
    seq::Seq,
    sink::{
        ErrorKind, InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError,
        nats::{
            core::until,
            flight::{Flight, Sent},
            letter::{Letterhead, not_taken},
            link::{self, Arrival, Link, Token, Unanswered},
            options::NatsOptions,
            refusal::{self, Notice},
            stored::{LastMessage, NextMessage, question_subject},
            stream::{self, StreamState},
            walk,
        },
    },
    status::{Guarantee, GuaranteeLevel},
};

/// What questions to JetStream begin with.
const API_PREFIX: &str = "$JS.API.";

/// How JetStream answers an event.
#[derive(Deserialize)]
struct Answer {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<jetstream::Error>,
}

/// Whether reading back is known to find what is stored.
pub(super) enum Proof {
    /// It cannot, for the reason that is among the unmet conditions.
    Impossible,
    /// Nothing of this device was seen in the stream yet.
    Open,
    /// The first confirmed event of this session is being looked for. Until that is answered no
    /// outcome is told, so that whoever hears of the first one also sees the guarantee that holds.
    Asked {
        token: Token,
        position: Position,
        digest: Digest,
        deadline: Instant,
    },
    /// It was found. `checked`: in this session, after it was confirmed.
    Shown { checked: bool },
}

pub(super) struct JetStreamSession {
    pub(super) link: Link,
    letterhead: Letterhead,
    options: Arc<NatsOptions>,
    device: DeviceName,
    /// `None` where nothing can be known of it.
    stream: Option<StreamState>,
    /// Where the stream ended at connect. What is stored since lies behind it, or the stream is
    /// another one.
    last_at_connect: Position,
    /// What passes the device's messages alone.
    filter: Option<String>,
    unmet: Vec<String>,
    proof: Proof,
    flight: Flight,
    ready: VecDeque<Outcome>,
}

impl JetStreamSession {
    /// Finds the stream and checks the conditions of exactly once.
    ///
    /// # Errors
    /// Nothing can be delivered as things are, or the session is lost.
    pub(super) async fn open(
        mut link: Link,
        options: &Arc<NatsOptions>,
        device: &DeviceName,
    ) -> Result<Self, SinkError> {
        let located = stream::locate(&mut link, options, device).await?;
        let filter = options.subject.own_filter(device);
        let mut unmet = located.unmet;
        if filter.is_none() {
            unmet.push(not_told_apart(options));
        }
        let proof = match (&located.stream, &filter) {
            (Some(stream), Some(filter)) => probe(&mut link, stream, filter, device).await?,
            _ => Proof::Impossible,
        };
        if let (Proof::Impossible, Some(stream), Some(_)) = (&proof, &located.stream, &filter) {
            unmet.push(read_back_denied(&stream.name));
        }
        // A stream that is only named, because nothing may be asked, is expected all the same.
        let name = located
            .stream
            .as_ref()
            .map(|stream| &stream.name)
            .or(options.stream.as_ref());
        Ok(Self {
            letterhead: Letterhead::new(
                &options.subject,
                device,
                options.format,
                name.map(String::as_str),
            ),
            flight: Flight::new(options.ack_timeout),
            options: options.clone(),
            device: device.clone(),
            last_at_connect: located
                .stream
                .as_ref()
                .map_or_else(Position::default, |s| s.last),
            stream: located.stream,
            filter,
            unmet,
            proof,
            ready: VecDeque::new(),
            link,
        })
    }

    pub(super) fn guarantee(&self) -> Guarantee {
        let mut unmet = self.unmet.clone();
        if let (Proof::Open | Proof::Asked { .. }, Some(stream)) = (&self.proof, &self.stream) {
            unmet.push(format!(
                "deliver a first event: none of this device was found in stream {} yet",
                stream.name
            ));
        }
        let level = if unmet.is_empty() {
            GuaranteeLevel::ExactlyOnce
        } else {
            GuaranteeLevel::AtLeastOnce
        };
        Guarantee { level, unmet }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.stream
            .as_ref()
            .map_or_else(Incarnation::default, |stream| stream.incarnation)
    }

    pub(super) fn head(&self) -> Position {
        self.stream
            .as_ref()
            .map_or_else(Position::default, |stream| stream.last)
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.options.max_in_flight
    }

    pub(super) async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        let (Some(stream), Some(filter)) = (&self.stream, &self.filter) else {
            return Ok(ReadBack::default());
        };
        // Positions of another incarnation mean nothing in this one.
        let recreated =
            doubt.incarnation != Incarnation::default() && doubt.incarnation != stream.incarnation;
        if recreated || matches!(self.proof, Proof::Impossible) {
            return Ok(ReadBack::default());
        }
        let name = stream.name.clone();
        let walked = walk::walk(&mut self.link, &name, filter, &self.device, doubt).await;
        let walked = match walked {
            Ok(walked) => walked,
            Err(Unanswered::Lost(error)) => return Err(error),
            Err(Unanswered::NoResponders) => return Err(nobody_answers(&self.link)),
            Err(Unanswered::Denied) => {
                self.proof = Proof::Impossible;
                self.unmet.push(read_back_denied(&name));
                return Ok(ReadBack::default());
            }
        };
        let complete = walked.found.len() == doubt.events.len()
            || self.still_holds(&name, doubt.floor).await?;
        let highest = walked.found.values().copied().max().unwrap_or_default();
        self.raise_head(highest);
        if let Proof::Open = self.proof
            && !walked.found.is_empty()
        {
            self.proof = Proof::Shown { checked: false };
        }
        Ok(ReadBack {
            found: walked.found.into_iter().collect(),
            foreign: walked.foreign,
            complete,
        })
    }

    /// Whether the stream holds everything it ever held behind a position. Asked after the walk,
    /// so that what was removed during it counts.
    async fn still_holds(&mut self, name: &str, floor: Position) -> Result<bool, SinkError> {
        let holds = match stream::look(&mut self.link, name).await? {
            Some(now) => now.first.0 <= floor.0.saturating_add(1),
            None => false,
        };
        if !holds {
            self.unmet.push(format!(
                "let stream {name} hold events longer (`max_age`, `max_bytes`, `max_msgs`; no \
                 purge): what was in doubt at this connection may have been removed",
            ));
        }
        Ok(holds)
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        let subject = self.letterhead.subject(&parcel.event_type);
        let headers = self.letterhead.headers(&parcel);
        let sent = Sent {
            seq: parcel.seq,
            digest: parcel.digest,
            bytes: parcel.body.len(),
        };
        let token = Token::Event(sent.seq);
        match self
            .link
            .publish(subject, token, headers, parcel.body)
            .await
        {
            Ok(()) => self.flight.push(sent),
            Err(error) => {
                let max = self.link.max_payload();
                let error = not_taken(&error, sent.bytes, max, self.link.server())?;
                self.ready.push_back(Outcome::Refused {
                    seq: sent.seq,
                    error,
                });
            }
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            // Answers that are here count, even where the connection is already gone.
            while let Some((token, message)) = self.link.answer_at_hand() {
                self.take(token, &message);
            }
            if !matches!(self.proof, Proof::Asked { .. })
                && let Some(outcome) = self.ready.pop_front().or_else(|| self.link.heard())
            {
                return outcome;
            }
            let patience = self.flight.deadline();
            let proof_due = match &self.proof {
                Proof::Asked { deadline, .. } => Some(*deadline),
                _ => None,
            };
            tokio::select! {
                biased;
                arrival = self.link.arrival() => {
                    match arrival {
                        Arrival::Answer(token, message) => self.take(token, &message),
                        Arrival::Receipt(message) => return Outcome::Receipt(message),
                        Arrival::Notice(notice) => self.heed(notice),
                    }
                }
                () = until(proof_due) => self.disproved(),
                () = until(patience) => return Outcome::Lost(SinkError::retry(
                    "no_answer",
                    format!(
                        "{} left {} events unanswered for {:?}",
                        self.link.server(), self.flight.len(), self.options.ack_timeout
                    ),
                )),
            }
        }
    }

    fn take(&mut self, token: Token, message: &Message) {
        match token {
            Token::Event(seq) => self.take_answer(seq, message),
            Token::Question(_) => self.take_proof(token, message),
        }
    }

    fn take_answer(&mut self, seq: Seq, message: &Message) {
        let Some(sent) = self.flight.answered(seq) else {
            return;
        };
        if link::is_no_responders(message) {
            // Gone, or between two leaders: the next connect tells which.
            let error = format!(
                "publishing to {}: nobody answers for a stream",
                self.link.server()
            );
            return self.lose(SinkError::retry("no_responders", error));
        }
        match serde_json::from_slice(&message.payload) {
            Ok(Answer {
                error: Some(error), ..
            }) => {
                let what = format!("publishing an event to {}", self.link.server());
                let error = refusal::of_jetstream(&what, &error);
                if error.kind == ErrorKind::Halt {
                    self.lose(error);
                } else {
                    self.ready.push_back(Outcome::Refused { seq, error });
                }
            }
            Ok(Answer {
                seq: Some(position),
                duplicate,
                ..
            }) => {
                let position = Position(position);
                self.ready.push_back(Outcome::Stored { seq, position });
                self.raise_head(position);
                if matches!(self.proof, Proof::Open | Proof::Shown { checked: false }) {
                    self.ask_for_proof(position, sent.digest);
                }
                if position <= self.last_at_connect && !duplicate {
                    let error = "positions began again: the stream was created anew";
                    self.lose(SinkError::retry("stream_recreated", error));
                }
            }
            Ok(Answer { .. }) | Err(_) => {
                let error = format!(
                    "{} answers an event with what is no answer",
                    self.link.server()
                );
                self.lose(SinkError::retry("bad_answer", error));
            }
        }
    }

    /// Everything that was told before stays told; an open proof is no reason to wait any more.
    fn lose(&mut self, error: SinkError) {
        if let Proof::Asked { .. } = self.proof {
            self.proof = Proof::Open;
        }
        self.ready.push_back(Outcome::Lost(error));
    }

    fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Nothing => {}
            Notice::Lost(error) => self.lose(error),
            Notice::PublishDenied { subject, .. } if subject.starts_with(API_PREFIX) => {
                self.disproved();
            }
            Notice::PublishDenied { subject, said } => {
                self.lose(refusal::publish_denied(self.link.server(), &subject, &said));
            }
        }
    }

    fn raise_head(&mut self, position: Position) {
        if let Some(stream) = &mut self.stream {
            stream.last = stream.last.max(position);
        }
    }

    fn ask_for_proof(&mut self, position: Position, digest: Digest) {
        let (Some(stream), Some(filter)) = (&self.stream, &self.filter) else {
            return;
        };
        let subject = question_subject(&stream.name);
        let question = NextMessage {
            from: position.0,
            filter,
        };
        let deadline = Instant::now() + self.options.ack_timeout;
        // A queue that is full is a client that is wedged, which shows by itself.
        if let Some(token) = self.link.ask_ahead(&subject, &question) {
            self.proof = Proof::Asked {
                token,
                position,
                digest,
                deadline,
            };
        }
    }

    fn take_proof(&mut self, token: Token, message: &Message) {
        let (
            Proof::Asked {
                token: asked,
                position,
                digest,
                ..
            },
            Some(stream),
        ) = (&self.proof, &self.stream)
        else {
            return;
        };
        if token != *asked {
            return;
        }
        let found = matches!(
            walk::read(message, &stream.name),
            Ok(Some(found)) if found.position() == *position
                && found.event().is_some_and(|event| event.digest == *digest)
        );
        if found {
            self.proof = Proof::Shown { checked: true };
        } else {
            self.disproved();
        }
    }

    fn disproved(&mut self) {
        let (Proof::Asked { .. }, Some(stream)) = (&self.proof, &self.stream) else {
            return;
        };
        self.unmet.push(format!(
            "make the events of `subject` readable under their own subjects in stream {} (no \
             subject mapping, no purge, and leave to publish to `{}`): one that was confirmed \
             could not be found again",
            stream.name,
            question_subject(&stream.name)
        ));
        self.proof = Proof::Impossible;
    }
}

/// Looks for any event of this device, to see whether reading back is permitted and works.
pub(super) async fn probe(
    link: &mut Link,
    stream: &StreamState,
    filter: &str,
    device: &DeviceName,
) -> Result<Proof, SinkError> {
    let question = LastMessage { filter };
    match link.ask(&question_subject(&stream.name), &question).await {
        Ok(answer) => {
            let event = walk::read(&answer, &stream.name)?.and_then(|message| message.event());
            Ok(match event {
                Some(event) if event.device == *device => Proof::Shown { checked: false },
                _ => Proof::Open,
            })
        }
        Err(Unanswered::Denied) => Ok(Proof::Impossible),
        Err(Unanswered::NoResponders) => Err(nobody_answers(link)),
        Err(Unanswered::Lost(error)) => Err(error),
    }
}

fn nobody_answers(link: &Link) -> SinkError {
    let message = format!("nobody on {} answers for JetStream", link.server());
    SinkError::retry("no_responders", message)
}

/// The device's messages cannot be told from those of others by their subjects.
pub(super) fn not_told_apart(options: &NatsOptions) -> String {
    format!(
        "make `{{device}}` a token of its own and `{{event_type}}` the last one in `subject`, \
         which is {}",
        options.subject
    )
}

pub(super) fn read_back_denied(stream: &str) -> String {
    format!(
        "allow this user to publish to `{}`",
        question_subject(stream)
    )
}
