//! A session with a broker: pipelined, each event answered by it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::{
    envelope::DeviceName,
    seq::Seq,
    sink::{
        Beside, ErrorKind, Outcome, Parcel, Position, SinkError,
        mqtt::{
            failure::{self, Loss},
            flight::{Flight, Mismatch, Sent},
            letter::{Letter, Letterhead},
            link::{Link, News},
            options::{MqttOptions, MqttQos, MqttVersion},
            reason::{Moment, NO_MATCHING_SUBSCRIBERS, Reason, SUCCESS},
        },
    },
    status::{Guarantee, GuaranteeLevel},
};

/// So many connections in a row that end without a word, and before anything has passed, may be
/// due to an event rather than to the network.
const FRUITLESS_ROW: u32 = 3;

/// Receipts that wait to be asked for; the oldest goes.
const MAX_RECEIPTS: usize = 64;

/// Stands for a tail among the events that are unanswered. No event has this seq.
const TAIL: Seq = Seq::NONE;

/// Whether the next session has to find out which event a broker will not have.
///
/// Some brokers end the connection over one event without saying which. Then events are sent one at
/// a time until that one is found, or until as many as were on the wire have passed. Some do not
/// even say that it is an event. Then, after a few connections, the first is sent alone, so that at
/// least it can be named.
#[derive(Default)]
pub(super) struct Suspicion {
    /// The broker said that it will not have one of those on the wire.
    refused_one: AtomicBool,
    /// Connections in a row that ended without a word before anything had passed.
    fruitless: AtomicU32,
}

impl Suspicion {
    /// How many have to pass one at a time where so many may be under way.
    fn wary_of(&self, window: usize) -> usize {
        if self.refused_one.load(Ordering::Relaxed) {
            window
        } else {
            usize::from(self.fruitless.load(Ordering::Relaxed) >= FRUITLESS_ROW)
        }
    }
}

pub(super) struct MqttSession {
    link: Link,
    letterhead: Letterhead,
    options: Arc<MqttOptions>,
    /// How many may be unanswered, counted from the oldest.
    window: usize,
    /// How many have to pass one at a time yet.
    wary_of: usize,
    suspicion: Arc<Suspicion>,
    flight: Flight,
    /// Given to the session, and not to the client yet. The forwarder keeps to the window in
    /// number, so it holds a window's worth at most.
    waiting: VecDeque<(Seq, usize, Letter)>,
    ready: VecDeque<Outcome>,
    receipts: VecDeque<Bytes>,
}

impl MqttSession {
    pub(super) fn new(
        link: Link,
        options: &Arc<MqttOptions>,
        device: &DeviceName,
        suspicion: &Arc<Suspicion>,
    ) -> Self {
        let receive_maximum = usize::from(link.welcome().receive_maximum);
        let window = options.max_in_flight.min(receive_maximum);
        Self {
            letterhead: Letterhead::new(options, device),
            flight: Flight::new(options.ack_timeout),
            options: options.clone(),
            window,
            wary_of: suspicion.wary_of(window),
            suspicion: suspicion.clone(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            receipts: VecDeque::new(),
            link,
        }
    }

    pub(super) fn guarantee(&self) -> Guarantee {
        let mut unmet = vec![
            "use a sink of type nats or postgres for exactly once: MQTT cannot be asked what \
             arrived before a connection was lost"
                .to_owned(),
        ];
        if self.options.version == MqttVersion::V3_1_1 {
            unmet.push(
                "set `version = \"5\"` where the broker speaks it: under 3.1.1 it may acknowledge \
                 what it throws away"
                    .into(),
            );
        } else if self.options.accept_no_subscribers {
            unmet.push(
                "set `accept_no_subscribers = false`: what nobody has subscribed to counts as \
                 delivered"
                    .into(),
            );
        }
        if self.link.qos() != self.options.qos {
            unmet.push("set `qos = 1`: the broker takes no QoS 2".into());
        }
        Guarantee {
            level: GuaranteeLevel::AtLeastOnce,
            unmet,
        }
    }

    pub(super) const fn max_in_flight(&self) -> usize {
        self.window
    }

    pub(super) fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        let seq = parcel.seq;
        if self.options.version == MqttVersion::V3_1_1
            && matches!(parcel.beside, Beside::Attributes(_))
        {
            let error = "MQTT 3.1.1 has no place for what is beside the body";
            return Err(SinkError::halt("format_not_carried", error)
                .with_hint("set `version = \"5\"`, or another `format`"));
        }
        let mut letter = self.letterhead.letter(parcel);
        let (size, most) = (self.link.size(&mut letter), self.link.welcome().max_packet);
        if size > most {
            let error = self.too_large(size, most);
            self.ready.push_back(Outcome::Refused { seq, error });
            return Ok(());
        }
        self.waiting.push_back((seq, size, letter));
        self.hand_over();
        Ok(())
    }

    /// Hands over a tail before the events that wait. It is retained, so that a hub that comes later
    /// finds it; a broker that has no room for it now gets the next one.
    pub(super) fn tell(&mut self, tail: Bytes) -> Result<(), SinkError> {
        let retain = self.link.welcome().retains;
        if let Some(mut letter) = self.letterhead.tail(tail, retain) {
            let size = self.link.size(&mut letter);
            self.waiting.push_front((TAIL, size, letter));
            self.hand_over();
        }
        Ok(())
    }

    fn too_large(&self, size: usize, most: usize) -> SinkError {
        let message = format!(
            "publishing an event in a packet of {size} bytes: {} takes {most}",
            self.link.server()
        );
        SinkError::reject("payload_too_large", message)
            .by_limit()
            .with_hint(match self.options.version {
                MqttVersion::V5 => "raise the broker's maximum packet size",
                MqttVersion::V3_1_1 => "raise `max_packet`, if the broker takes larger packets",
            })
    }

    /// Gives the client what the window has room for.
    fn hand_over(&mut self) {
        let room = if self.wary_of > 0 { 1 } else { self.window };
        while self.flight.span() < room
            && let Some((seq, bytes, letter)) = self.waiting.pop_front()
        {
            self.flight.push(seq, letter.topic.clone(), bytes);
            self.link.publish(letter);
        }
    }

    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            while let Some(news) = self.link.news_at_hand() {
                self.take(news);
            }
            self.hand_over();
            let receipt = || self.receipts.pop_front().map(Outcome::Receipt);
            if let Some(outcome) = self.ready.pop_front().or_else(receipt) {
                return outcome;
            }
            let deadline = self.flight.deadline();
            tokio::select! {
                biased;
                news = self.link.news() => self.take(news),
                () = until(deadline) => return Outcome::Lost(SinkError::retry(
                    "no_answer",
                    format!(
                        "{} left {} events unanswered for {:?}",
                        self.link.server(), self.flight.len(), self.options.ack_timeout
                    ),
                )),
            }
        }
    }

    fn take(&mut self, news: News) {
        let taken = match news {
            News::Left(packet_id) => self.flight.left(packet_id),
            News::Acknowledged(packet_id, reason) => self.acknowledged(packet_id, &reason),
            News::Received(packet_id, reason) => self.received(packet_id, &reason),
            News::Completed(packet_id, reason) => self.completed(packet_id, &reason),
            News::Receipt(message) => {
                // Whoever floods the topic shall not cost memory.
                if self.receipts.len() == MAX_RECEIPTS {
                    self.receipts.pop_front();
                }
                self.receipts.push_back(message);
                Ok(())
            }
            News::Unheard => {
                let topics = self
                    .options
                    .way_back
                    .as_ref()
                    .map(|it| it.receipts.as_str());
                let error = failure::not_subscribed(self.link.server(), topics.unwrap_or_default());
                self.lose(error);
                Ok(())
            }
            News::Over(loss) => {
                self.over(loss);
                Ok(())
            }
        };
        if taken == Err(Mismatch) {
            let error = failure::bad_answer(self.link.server(), "a packet id that is not in use");
            self.lose(error);
        }
    }

    /// RabbitMQ answers so at QoS 2 as well: it takes the event at QoS 1.
    fn acknowledged(&mut self, packet_id: u16, reason: &Reason) -> Result<(), Mismatch> {
        let sent = self.flight.answered(packet_id)?;
        self.conclude(&sent, reason);
        Ok(())
    }

    fn received(&mut self, packet_id: u16, reason: &Reason) -> Result<(), Mismatch> {
        if self.link.qos() != MqttQos::ExactlyOnce {
            return Err(Mismatch);
        }
        if reason.is_error() {
            let sent = self.flight.answered(packet_id)?;
            self.conclude(&sent, reason);
            return Ok(());
        }
        let unheard = reason.code == NO_MATCHING_SUBSCRIBERS;
        self.flight.received(packet_id, unheard)
    }

    fn completed(&mut self, packet_id: u16, reason: &Reason) -> Result<(), Mismatch> {
        if reason.is_error() {
            // It took the event and has forgotten it: what became of it is not known.
            let what = format!("publishing an event to {}", self.link.server());
            self.lose(reason.error(Moment::Publish, &what));
            return Ok(());
        }
        let (sent, unheard) = self.flight.completed(packet_id)?;
        let code = if unheard {
            NO_MATCHING_SUBSCRIBERS
        } else {
            SUCCESS
        };
        self.conclude(&sent, &Reason::of(code));
        Ok(())
    }

    /// The broker's last word on an event.
    fn conclude(&mut self, sent: &Sent, reason: &Reason) {
        let seq = sent.seq;
        if seq == TAIL {
            let error = self.refusal(sent, reason);
            if reason.is_error() && error.kind == ErrorKind::Halt {
                self.lose(failure::tail_refused(error));
            }
            return;
        }
        let accepted = match reason.code {
            NO_MATCHING_SUBSCRIBERS => self.options.accept_no_subscribers,
            _ => !reason.is_error(),
        };
        if accepted {
            let position = Position::default();
            self.ready.push_back(Outcome::Stored { seq, position });
            self.passed();
            return;
        }
        let error = self.refusal(sent, reason);
        if error.kind == ErrorKind::Halt {
            self.lose(error);
        } else {
            self.ready.push_back(Outcome::Refused { seq, error });
        }
    }

    fn refusal(&self, sent: &Sent, reason: &Reason) -> SinkError {
        let what = format!("publishing to {} at {}", sent.topic, self.link.server());
        reason.error(Moment::Publish, &what)
    }

    /// One more that the broker had nothing against.
    fn passed(&mut self) {
        self.suspicion.fruitless.store(0, Ordering::Relaxed);
        if self.wary_of > 0 {
            self.wary_of -= 1;
            if self.wary_of == 0 {
                self.suspicion.refused_one.store(false, Ordering::Relaxed);
            }
        }
    }

    fn over(&mut self, loss: Loss) {
        let refused_one = &self.suspicion.refused_one;
        if let Some(reason) = &loss.refused_one {
            // With only one on the wire there is no doubt which one is meant.
            if let Some(sent) = self.flight.only().cloned() {
                let (seq, error) = (sent.seq, self.refusal(&sent, reason));
                if seq == TAIL {
                    return self.lose(failure::tail_refused(error));
                }
                self.ready.push_back(Outcome::Refused { seq, error });
                refused_one.store(false, Ordering::Relaxed);
            } else {
                refused_one.store(true, Ordering::Relaxed);
            }
        }
        let mut error = loss.error;
        if loss.is_unexplained && self.flight.is_on_wire() {
            self.suspicion.fruitless.fetch_add(1, Ordering::Relaxed);
            let (alone, version) = (self.flight.only(), self.options.version);
            error = match alone {
                Some(Sent { seq: TAIL, .. }) => failure::disconnected_over_tail(error),
                _ => failure::disconnected_over(error, alone, version),
            };
        }
        self.lose(error);
    }

    /// Everything that was told before stays told.
    fn lose(&mut self, error: SinkError) {
        self.ready.push_back(Outcome::Lost(error));
    }
}

/// Sleeps until the deadline, or for ever without one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
